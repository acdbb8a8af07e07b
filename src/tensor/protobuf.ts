// Writing and reading the protobuf wire format: varints, fixed32, length-delimited fields.
// It does not know ONNX's messages.

const utf8 = new TextEncoder();

/** Collects fields of one message; nested messages are written first and added as bytes. */
export class ProtoWriter {
  #chunks: Uint8Array[] = [];
  #small: number[] = [];

  #varint(value: number | bigint): void {
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest > 0x7fn) {
      this.#small.push(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    this.#small.push(Number(rest));
  }
  int(field: number, value: number | bigint): this {
    this.#small.push(...tag(field, 0));
    if (typeof value === "number" && value >= 0 && value < 128) this.#small.push(value);
    else this.#varint(value);
    return this;
  }
  float(field: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    this.#small.push(...tag(field, 5), ...bytes);
    return this;
  }
  bytes(field: number, value: Uint8Array): this {
    this.#small.push(...tag(field, 2));
    this.#varint(value.length);
    if (value.length < 256) for (const byte of value) this.#small.push(byte);
    else {
      this.#flush();
      this.#chunks.push(value);
    }
    return this;
  }
  string(field: number, value: string): this {
    return this.bytes(field, utf8.encode(value));
  }
  message(field: number, write: (nested: ProtoWriter) => void): this {
    const nested = new ProtoWriter();
    write(nested);
    return this.bytes(field, nested.finish());
  }
  #flush(): void {
    if (this.#small.length > 0) this.#chunks.push(Uint8Array.from(this.#small));
    this.#small = [];
  }
  finish(): Uint8Array {
    this.#flush();
    const whole = new Uint8Array(this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0));
    let at = 0;
    for (const chunk of this.#chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return whole;
  }
}

const tag = (field: number, wire: number): number[] => {
  const value = (field << 3) | wire;
  return value < 128 ? [value] : [(value & 0x7f) | 0x80, value >> 7];
};
