// ONNX bytes of a Graph: nodes in topological order, equal subexpressions once, weights as external data.
// It does not know any op: each op's literal emits itself through the Emitter.
import { type Dim, dimTerms } from "./dim.ts";
import { type Graph, inputsOf, nodesOf, sortedOutputs, valueHash } from "./graph.ts";
import { ProtoWriter } from "./protobuf.ts";
import type { DType, Emitter, Node, OnnxAttr, TensorType, Value } from "./value.ts";

/** ONNX TensorProto.DataType. */
const DATA_TYPE: Readonly<Record<DType, number>> = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, bool: 9 };

/** Where the bytes of a weight are: ONNX external-data entries (location, offset, length and the runtime's own). */
export type WeightLocation = Readonly<Record<string, string>>;

export interface OnnxOptions {
  /** External-data entries of a weight by name. */
  readonly locate?: (name: string) => WeightLocation | undefined;
}

interface OnnxNode {
  readonly opType: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attrs: Readonly<Record<string, OnnxAttr>>;
  readonly domain: string;
}

class OnnxEmitter implements Emitter {
  readonly #nodes: OnnxNode[] = [];
  readonly #initializers = new Map<string, Uint8Array>();
  readonly #weights = new Map<string, TensorType>();
  readonly #constants = new Map<string, string>();
  readonly #shared = new Map<string, readonly string[]>();
  readonly #symbols = new Map<string, { name: string; axis: number }>();
  readonly #options: OnnxOptions;
  readonly #types = new Map<string, TensorType>();
  #count = 0;

  constructor(g: Graph, options: OnnxOptions) {
    this.#options = options;
    for (const { name, node } of inputsOf(g))
      (node.types[0] as TensorType).shape.forEach((dim, axis) => {
        if (typeof dim === "string" && !this.#symbols.has(dim)) this.#symbols.set(dim, { name, axis });
      });
  }

  get nodes(): readonly OnnxNode[] {
    return this.#nodes;
  }
  /** Types of results by name, for the runtime's memory planner. */
  get types(): ReadonlyMap<string, TensorType> {
    return this.#types;
  }
  /** Literals, and the weights among `read`: a kernel may carry a weight inside another. */
  initializers(read: ReadonlySet<string>): readonly Uint8Array[] {
    const weights = [...this.#weights].filter(([name]) => read.has(name));
    return [...this.#initializers.values(), ...weights.map(([name, type]) => this.#located(name, type))];
  }

  node(
    opType: string,
    inputs: readonly string[],
    attrs: Readonly<Record<string, OnnxAttr>> = {},
    results: number | readonly boolean[] = 1,
    domain = "",
  ): readonly string[] {
    const key = `${opType}(${inputs.join()})${JSON.stringify(attrs)}${domain}${results}`;
    const known = this.#shared.get(key);
    if (known !== undefined) return known;
    const wanted = typeof results === "number" ? Array<boolean>(results).fill(true) : results;
    const outputs = wanted.map((kept) => (kept ? `v${this.#count++}` : ""));
    this.#nodes.push({ opType, inputs, outputs, attrs, domain });
    this.#shared.set(key, outputs);
    return outputs;
  }
  one(opType: string, inputs: readonly string[], attrs: Readonly<Record<string, OnnxAttr>> = {}, domain = ""): string {
    return this.node(opType, inputs, attrs, 1, domain)[0] as string;
  }

  describe(name: string, type: TensorType): string {
    this.#types.set(name, type);
    return name;
  }

  input(node: Node): string {
    return node.attrs.name as string;
  }
  weight(node: Node): string {
    const name = node.attrs.name as string;
    this.#weights.set(name, node.types[0] as TensorType);
    return name;
  }
  #located(name: string, type: TensorType): Uint8Array {
    const located = this.#options.locate?.(name);
    if (located === undefined)
      throw new Error(`weight "${name}" has no bytes: the compiler was not told where they are`);
    const writer = tensorHeader(name, type);
    for (const [key, value] of Object.entries(located))
      writer.message(13, (entry) => entry.string(1, key).string(2, value));
    return writer.int(14, 1).finish();
  }
  constant(node: Node): string {
    return this.literal(node.types[0] as TensorType, node.attrs.data as Uint8Array);
  }
  literal(type: TensorType, data: Uint8Array): string {
    const key = `${type.dtype}[${type.shape}]${data.length < 256 ? data.join() : `#${this.#constants.size}`}`;
    let name = this.#constants.get(key);
    if (name === undefined) {
      name = `c${this.#constants.size}`;
      this.#constants.set(key, name);
      this.#initializers.set(name, tensorHeader(name, type).bytes(9, data).finish());
    }
    return name;
  }
  ints(...values: readonly number[]): string {
    const data = BigInt64Array.from(values, BigInt);
    return this.literal({ dtype: "int64", shape: [values.length] }, new Uint8Array(data.buffer));
  }
  float(value: number): string {
    return this.literal({ dtype: "float32", shape: [] }, new Uint8Array(Float32Array.of(value).buffer));
  }

  dim(dim: Dim): string {
    if (typeof dim === "number") return this.ints(dim);
    let sum: string | undefined;
    for (const [coefficient, symbols] of dimTerms(dim)) {
      let product: string | undefined = coefficient === 1 && symbols.length > 0 ? undefined : this.ints(coefficient);
      for (const symbol of symbols) {
        const at = this.#symbols.get(symbol);
        if (at === undefined) throw new Error(`dimension ${symbol} of "${dim}" appears in no input of the graph`);
        const value = this.one("Shape", [at.name], { start: at.axis, end: at.axis + 1 });
        product = product === undefined ? value : this.one("Mul", [product, value]);
      }
      sum = sum === undefined ? product : this.one("Add", [sum, product as string]);
    }
    return sum as string;
  }
  shape(dims: readonly Dim[]): string {
    if (dims.every((dim) => typeof dim === "number")) return this.ints(...(dims as number[]));
    return this.one(
      "Concat",
      dims.map((dim) => this.dim(dim)),
      { axis: 0 },
    );
  }

  /** Names of a Graph value's results, emitting what it needs. */
  emitAll(g: Graph): Map<string, string> {
    const byHash = new Map<string, string>();
    const nameOf = (value: Value): string => byHash.get(valueHash(value)) as string;
    for (const node of nodesOf(sortedOutputs(g).map(([, value]) => value))) {
      const values = node.types.map((_, index) => ({ node, index }) as unknown as Value);
      if (values.every((value) => byHash.has(valueHash(value)))) continue;
      if (node.op.emit === undefined) throw new Error(`op ${node.op.name} has neither a kernel nor a body to emit`);
      const names = node.op.emit(this, node.inputs.map(nameOf), node);
      values.forEach((value, i) => {
        byHash.set(valueHash(value), names[i] as string);
        if (node.inputs.length > 0) this.describe(names[i] as string, node.types[i] as TensorType);
      });
    }
    return new Map(sortedOutputs(g).map(([name, value]) => [name, nameOf(value)]));
  }
}

const tensorHeader = (name: string, type: TensorType): ProtoWriter => {
  const writer = new ProtoWriter();
  for (const dim of type.shape) {
    if (typeof dim !== "number") throw new Error(`tensor "${name}" has the symbolic dimension ${dim}: wanted numbers`);
    writer.int(1, dim);
  }
  return writer.int(2, DATA_TYPE[type.dtype]).string(8, name);
};

function writeAttribute(writer: ProtoWriter, name: string, value: OnnxAttr): void {
  writer.string(1, name);
  if (typeof value === "number") writer.int(3, value).int(20, 2);
  else if (typeof value === "string") writer.string(4, value).int(20, 3);
  else if ("float" in value) writer.float(2, value.float).int(20, 1);
  else {
    for (const each of value) writer.int(8, each);
    writer.int(20, 7);
  }
}

/** Lets nodes write graph outputs under their names; what is no node's own result (or is asked for twice) gets an Identity. */
function nameOutputs(nodes: readonly OnnxNode[], outputs: readonly (readonly [string, string])[]) {
  const produced = new Set(nodes.flatMap((node) => node.outputs));
  const rename = new Map<string, string>();
  const copies: OnnxNode[] = [];
  for (const [name, value] of outputs)
    if (produced.has(value) && !rename.has(value)) rename.set(value, name);
    else copies.push({ opType: "Identity", inputs: [value], outputs: [name], attrs: {}, domain: "" });
  return { nodes: [...nodes, ...copies], rename };
}

function writeNode(writer: ProtoWriter, node: OnnxNode, rename: ReadonlyMap<string, string>): void {
  const named = (value: string): string => rename.get(value) ?? value;
  for (const input of node.inputs) writer.string(1, named(input));
  for (const output of node.outputs) writer.string(2, named(output));
  writer
    .string(3, `${node.opType}_${named(node.outputs.find((output) => output !== "") ?? "")}`)
    .string(4, node.opType);
  for (const [name, value] of Object.entries(node.attrs)) writer.message(5, (w) => writeAttribute(w, name, value));
  if (node.domain !== "") writer.string(7, node.domain);
}

function writePort(writer: ProtoWriter, name: string, type: TensorType): void {
  writer.string(1, name).message(2, (t) =>
    t.message(1, (tensor) =>
      tensor.int(1, DATA_TYPE[type.dtype]).message(2, (shape) => {
        for (const dim of type.shape)
          shape.message(1, (d) => (typeof dim === "number" ? d.int(1, dim) : d.string(2, dim)));
      }),
    ),
  );
}

/** The Graph as ONNX ModelProto bytes (IR 10, opset 21 and com.microsoft 1). Deterministic in the Graph's structure. */
export function onnxBytes(g: Graph, options: OnnxOptions = {}): Uint8Array {
  const emitter = new OnnxEmitter(g, options);
  const names = emitter.emitAll(g);
  const outputs = sortedOutputs(g);
  const { nodes, rename } = nameOutputs(
    emitter.nodes,
    outputs.map(([name]) => [name, names.get(name) as string]),
  );
  const read = new Set(nodes.flatMap((node) => node.inputs));
  return new ProtoWriter()
    .int(1, 10)
    .string(2, "irori")
    .message(7, (body) => {
      for (const node of nodes) body.message(1, (writer) => writeNode(writer, node, rename));
      body.string(2, "irori");
      for (const initializer of emitter.initializers(read)) body.bytes(5, initializer);
      for (const { name, node } of inputsOf(g))
        body.message(11, (port) => writePort(port, name, node.types[0] as TensorType));
      for (const [name, value] of outputs) body.message(12, (port) => writePort(port, name, value.type));
      for (const [name, type] of emitter.types)
        if (!rename.has(name)) body.message(13, (port) => writePort(port, name, type));
    })
    .message(8, (opset) => opset.string(1, "").int(2, 21))
    .message(8, (opset) => opset.string(1, "com.microsoft").int(2, 1))
    .finish();
}
