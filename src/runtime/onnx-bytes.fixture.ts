// A tiny writer of ONNX bytes for this folder's tests: nodes, initializers (also in external files), ports.
// It checks nothing. The numbers are the field numbers of onnx.proto.

type Field = Uint8Array;
const utf8 = new TextEncoder();

function varint(value: number | bigint): number[] {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return bytes;
}
const int = (field: number, value: number | bigint): Field =>
  Uint8Array.from([...varint(field << 3), ...varint(value)]);
const bytes = (field: number, value: Uint8Array): Field =>
  Buffer.concat([Uint8Array.from([...varint((field << 3) | 2), ...varint(value.length)]), value]);
const text = (field: number, value: string): Field => bytes(field, utf8.encode(value));
const message = (field: number, fields: readonly Field[]): Field => bytes(field, Buffer.concat(fields));
const float = (field: number, value: number): Field =>
  Buffer.concat([Uint8Array.from(varint((field << 3) | 5)), new Uint8Array(Float32Array.of(value).buffer)]);

const types = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, bool: 9 } as const;
type TypeName = keyof typeof types;
export type Attribute = string | number | { readonly float: number } | readonly number[];
export type Entry = { readonly key: string; readonly value: string };

export class OnnxBytes {
  readonly #nodes: Field[] = [];
  readonly #initializers: Field[] = [];
  readonly #inputs: Field[] = [];
  readonly #outputs: Field[] = [];
  #count = 0;

  input(name: string, type: TypeName, shape: readonly (number | string)[]): string {
    this.#inputs.push(port(11, name, type, shape));
    return name;
  }

  output(name: string, type: TypeName, shape: readonly (number | string)[]): void {
    this.#outputs.push(port(12, name, type, shape));
  }

  constant(name: string, type: TypeName, dims: readonly number[], data: ArrayBufferView | readonly Entry[]): string {
    const stored = ArrayBuffer.isView(data)
      ? [bytes(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength))]
      : [...data.map(({ key, value }) => message(13, [text(1, key), text(2, value)])), int(14, 1)];
    this.#initializers.push(
      message(5, [...dims.map((size) => int(1, size)), int(2, types[type]), text(8, name), ...stored]),
    );
    return name;
  }

  /** Adds a node with one output and returns that output's name. */
  op(type: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}, output?: string): string {
    const name = output ?? `t${this.#count}`;
    const domain = /^(MatMulNBits|GroupQueryAttention|GatherBlockQuantized)$/.test(type) ? "com.microsoft" : "";
    this.#nodes.push(
      message(1, [
        ...inputs.map((input) => text(1, input)),
        text(2, name),
        text(3, `${type}_${this.#count++}`),
        text(4, type),
        ...Object.entries(attributes).map(([key, value]) => message(5, [text(1, key), ...attribute(value)])),
        text(7, domain),
      ]),
    );
    return name;
  }

  build(): Uint8Array {
    const graph = [...this.#nodes, text(2, "g"), ...this.#initializers, ...this.#inputs, ...this.#outputs];
    const opset = (domain: string, version: number) => message(8, [text(1, domain), int(2, version)]);
    return new Uint8Array(Buffer.concat([int(1, 9), message(7, graph), opset("", 21), opset("com.microsoft", 1)]));
  }
}

function attribute(value: Attribute): Field[] {
  if (typeof value === "string") return [text(4, value), int(20, 3)];
  if (typeof value === "number") return [int(3, value), int(20, 2)];
  if ("float" in value) return [float(2, value.float), int(20, 1)];
  return [...value.map((one) => int(8, one)), int(20, 7)];
}

function port(field: number, name: string, type: TypeName, shape: readonly (number | string)[]): Field {
  const dims = shape.map((size) => message(1, [typeof size === "string" ? text(2, size) : int(1, size)]));
  return message(field, [text(1, name), message(2, [message(1, [int(1, types[type]), message(2, dims)])])]);
}
