// Writes small GGUF and safetensors files for tests, right or wrong as asked.
// It shares no code with the readers, so that both cannot be wrong in the same way.

type GgufValue = readonly [type: number, write: (out: Bytes) => void];

export class Bytes {
  private readonly parts: Uint8Array[] = [];
  length = 0;

  raw(bytes: Uint8Array): this {
    this.parts.push(bytes);
    this.length += bytes.length;
    return this;
  }
  u8(value: number): this {
    return this.raw(Uint8Array.of(value));
  }
  u32(value: number): this {
    return this.raw(new Uint8Array(Uint32Array.of(value).buffer));
  }
  u64(value: number | bigint): this {
    return this.raw(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }
  string(text: string | Uint8Array): this {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    return this.u64(bytes.length).raw(bytes);
  }
  pad(alignment: number): this {
    return this.raw(new Uint8Array((alignment - (this.length % alignment)) % alignment));
  }
  done(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(Buffer.concat(this.parts));
  }
}

export const gguf = {
  u8: (value: number): GgufValue => [0, (out) => out.u8(value)],
  u32: (value: number): GgufValue => [4, (out) => out.u32(value)],
  bool: (value: number): GgufValue => [7, (out) => out.u8(value)],
  string: (text: string | Uint8Array): GgufValue => [8, (out) => out.string(text)],
  u64: (value: bigint): GgufValue => [10, (out) => out.u64(value)],
  array: (type: number, count: number | bigint, write: (out: Bytes) => void): GgufValue => [
    9,
    (out) => write(out.u32(type).u64(count)),
  ],
};

export interface GgufTensor {
  readonly name: string;
  /** GGUF's order: innermost first. */
  readonly dimensions: readonly (number | bigint)[];
  readonly type: number;
  readonly offset: number | bigint;
}

export interface GgufFile {
  readonly version?: number;
  readonly metadata?: readonly (readonly [key: string, value: GgufValue])[];
  readonly tensors?: readonly GgufTensor[];
  readonly metadataCount?: bigint;
  readonly tensorCount?: bigint;
  readonly alignment?: number;
  readonly data?: Uint8Array;
}

export function ggufBytes(file: GgufFile): Uint8Array<ArrayBuffer> {
  const { version = 3, metadata = [], tensors = [], alignment = 32, data } = file;
  const out = new Bytes().raw(new TextEncoder().encode("GGUF")).u32(version);
  out.u64(file.tensorCount ?? tensors.length).u64(file.metadataCount ?? metadata.length);
  for (const [key, [type, write]] of metadata) write(out.string(key).u32(type));
  for (const { name, dimensions, type, offset } of tensors) {
    out.string(name).u32(dimensions.length);
    for (const size of dimensions) out.u64(size);
    out.u32(type).u64(offset);
  }
  if (data) out.pad(alignment).raw(data);
  return out.done();
}

/** `header` as an object or as JSON text. */
export function safetensorsBytes(header: object | string, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  return new Bytes().u64(text.length).raw(text).raw(data).done();
}

/** A valid GGUF file of under 500 bytes: three tensors, metadata of several kinds. */
export function smallGguf(): Uint8Array<ArrayBuffer> {
  return ggufBytes({
    metadata: [
      ["general.architecture", gguf.string("llama")],
      ["囲炉裏", gguf.string("\ufeff火 \ufffd")],
      ["tokens", gguf.array(8, 3, (out) => out.string("a").string("").string("Ġé"))],
      ["ints", gguf.array(5, 2, (out) => out.u32(1).u32(0xffffffff))],
      ["flags", gguf.array(7, 2, (out) => out.u8(1).u8(0))],
      ["big", gguf.u64(2n ** 60n)],
    ],
    tensors: [
      { name: "a", dimensions: [3, 2], type: 0, offset: 0 },
      { name: "b", dimensions: [32], type: 2, offset: 32 },
      { name: "c", dimensions: [2, 1, 2], type: 1, offset: 64 },
    ],
    data: Uint8Array.from({ length: 72 }, (_, i) => i),
  });
}

/** A valid safetensors file of under 300 bytes. */
export function smallSafetensors(): Uint8Array<ArrayBuffer> {
  const header = {
    __metadata__: { format: "pt" },
    a: { dtype: "F32", shape: [2, 2], data_offsets: [0, 16] },
    b: { dtype: "BF16", shape: [3], data_offsets: [16, 22] },
    empty: { dtype: "F16", shape: [0, 4], data_offsets: [22, 22] },
  };
  return safetensorsBytes(
    header,
    Uint8Array.from({ length: 22 }, (_, i) => i),
  );
}
