// Values, nodes and ops: an immutable traced tensor program. A Value is one result of one Node; a Node applies one Op.
// It does not know gradients, ONNX or what any op computes: all that is true of an op stands in the op's own literal.
import { IroriError } from "../base/mod.ts";
import type { Dim } from "./dim.ts";

export type DType = "float32" | "int64" | "int32" | "uint8" | "int8" | "bool";

export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

export type Attr = number | string | boolean | Uint8Array | readonly Dim[] | undefined;
export type Attrs = { readonly [name: string]: Attr };

export type OnnxAttr = number | string | readonly number[] | { readonly float: number };

/** What an op's `emit` writes with: ONNX nodes and initializers, by the names of ONNX values. */
export interface Emitter {
  /** A node with `results` outputs (false drops one); their names. */
  node(
    opType: string,
    inputs: readonly string[],
    attrs?: Readonly<Record<string, OnnxAttr>>,
    results?: number | readonly boolean[],
    domain?: string,
  ): readonly string[];
  /** A node with one result. */
  one(opType: string, inputs: readonly string[], attrs?: Readonly<Record<string, OnnxAttr>>, domain?: string): string;
  /** Tells the runtime the type of a value that its own shape inference cannot see; returns the name. */
  describe(name: string, type: TensorType): string;
  input(node: Node): string;
  weight(node: Node): string;
  constant(node: Node): string;
  /** An initializer with its bytes inside the model; equal ones are shared. */
  literal(type: TensorType, data: Uint8Array): string;
  /** int64[n]. */
  ints(...values: readonly number[]): string;
  /** float32 scalar. */
  float(value: number): string;
  /** An int64[1] with the run-time value of a dimension. */
  dim(dim: Dim): string;
  /** An int64[n] with the run-time values of dimensions. */
  shape(dims: readonly Dim[]): string;
}

/**
 * One operation. A *primitive* has `emit` and (where it is differentiable) `vjp`.
 * A *function* has a `body` in terms of other ops; it may also have `emit` (a kernel that equals the body) and `vjp` (a better form than the body's).
 */
export interface Op {
  readonly name: string;
  infer(inputs: readonly TensorType[], attrs: Attrs): readonly TensorType[];
  /** ONNX nodes for it: names of the inputs in, names of the results out. */
  emit?(emitter: Emitter, inputs: readonly string[], node: Node): readonly string[];
  /** Cotangents of the inputs from those of the results (undefined = zero). */
  vjp?(cotangents: readonly (Value | undefined)[], node: Node): readonly (Value | undefined)[];
  body?(inputs: readonly Value[], attrs: Attrs): readonly Value[];
  /** Names of the HookPoints inside, under the `hook` attribute. */
  readonly hooks?: readonly string[];
  /** The body with its HookPoints, where the plain one has none. */
  opened?(inputs: readonly Value[], attrs: Attrs): readonly Value[];
  /**
   * Whether it works on each position (all axes but the last) by itself: "all" of its inputs by position, or only the "first"
   * while the others are the same for all.
   */
  rowwise?(attrs: Attrs): "all" | "first" | undefined;
  /** A shorter expression with equal results, or undefined; tried whenever the op is applied. */
  simplify?(inputs: readonly Value[], attrs: Attrs): readonly Value[] | undefined;
}

export interface Node {
  readonly op: Op;
  readonly inputs: readonly Value[];
  readonly attrs: Attrs;
  readonly types: readonly TensorType[];
}

export class Value {
  readonly node: Node;
  readonly index: number;
  constructor(node: Node, index: number) {
    this.node = node;
    this.index = index;
  }
  get type(): TensorType {
    return this.node.types[this.index] as TensorType;
  }
  get shape(): readonly Dim[] {
    return this.type.shape;
  }
  get dtype(): DType {
    return this.type.dtype;
  }
  get rank(): number {
    return this.type.shape.length;
  }
}

export const formatType = (type: TensorType): string => `${type.dtype}[${type.shape.join(",")}]`;

const table = new Map<string, Op>();
/** Every op there is, by name. */
export const opTable: ReadonlyMap<string, Op> = table;

/** A new op. Its name is part of every hash of a Graph: one that is taken is refused. */
export function defineOp(op: Op): Op {
  if (table.has(op.name))
    throw new IroriError("bad-input", { what: "an op's name", got: op.name, wanted: "one that no other op has" });
  table.set(op.name, op);
  return op;
}

/** Applies an op: infers the types of its results or throws a sentence that names the op and the input types. */
export function applyAll(op: Op, inputs: readonly Value[], attrs: Attrs = {}): readonly Value[] {
  const simpler = op.simplify?.(inputs, attrs);
  if (simpler !== undefined) return simpler;
  let types: readonly TensorType[];
  const inputTypes = inputs.map((input) => input.type);
  try {
    types = op.infer(inputTypes, attrs);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (reason.startsWith("op ")) throw error;
    throw new Error(`op ${op.name} cannot take (${inputTypes.map(formatType).join(", ")}): ${reason}`, {
      cause: error,
    });
  }
  const node: Node = { op, inputs, attrs, types };
  return types.map((_, index) => new Value(node, index));
}

/** Applies an op with one result. */
export const apply = (op: Op, inputs: readonly Value[], attrs: Attrs = {}): Value =>
  applyAll(op, inputs, attrs)[0] as Value;

/** A function op: `body` says what it is; its types are the body's types. */
export function defineFunction(
  name: string,
  body: (inputs: readonly Value[], attrs: Attrs) => readonly Value[],
  better: Partial<Pick<Op, "emit" | "vjp" | "infer" | "simplify" | "hooks" | "opened" | "rowwise">> = {},
): Op {
  return defineOp({
    name,
    infer: (types, attrs) =>
      body(
        types.map((type, i) => placeholder(type, i)),
        attrs,
      ).map((value) => value.type),
    body,
    ...better,
  });
}

const placeholderOp: Op = { name: "placeholder", infer: () => [] };
const placeholder = (type: TensorType, index: number): Value =>
  new Value({ op: placeholderOp, inputs: [], attrs: { index }, types: [type] }, 0);

// ---- leaves

/** A named input of a Graph. Two inputs of one name are the same input. */
export const inputOp = defineOp({
  name: "input",
  infer: (_, attrs) => [leafType(attrs)],
  emit: (emitter, _, node) => [emitter.input(node)],
});
/** A named tensor whose bytes are bound when the Graph is compiled: a checkpoint's weight. */
export const weightOp = defineOp({
  name: "weight",
  infer: (_, attrs) => [leafType(attrs)],
  emit: (emitter, _, node) => [emitter.weight(node)],
});
/** A small tensor inside the Graph. */
export const constantOp = defineOp({
  name: "constant",
  infer: (_, attrs) => [leafType(attrs)],
  emit: (emitter, _, node) => [emitter.constant(node)],
});
const leafType = (attrs: Attrs): TensorType => ({ dtype: attrs.dtype as DType, shape: attrs.shape as readonly Dim[] });

export const input = (name: string, dtype: DType, shape: readonly Dim[]): Value =>
  apply(inputOp, [], { name, dtype, shape });
export const weight = (name: string, dtype: DType, shape: readonly Dim[]): Value =>
  apply(weightOp, [], { name, dtype, shape });

type TypedArray = Float32Array | BigInt64Array | Int32Array | Uint8Array;
const dtypeOf = (data: TypedArray): DType =>
  data instanceof Float32Array
    ? "float32"
    : data instanceof BigInt64Array
      ? "int64"
      : data instanceof Int32Array
        ? "int32"
        : "uint8";

/** A constant tensor; its shape defaults to [data.length]. */
export const constant = (data: TypedArray, shape: readonly Dim[] = [data.length]): Value =>
  apply(constantOp, [], {
    dtype: dtypeOf(data),
    shape,
    data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice(),
  });
export const scalar = (value: number): Value => constant(Float32Array.of(value), []);
export const int64 = (...values: number[]): Value => constant(BigInt64Array.from(values, BigInt));
