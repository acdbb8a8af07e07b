// Half-precision floats: bits to float32 and back, round to nearest even.
// It knows numbers only, no files and no tensors.

const bits = new DataView(new ArrayBuffer(4));

/** IEEE binary16 bits to a number; exact. */
export function float16ToNumber(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >> 10) & 0x1f;
  const fraction = h & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** bfloat16 bits to a number; exact. */
export function bfloat16ToNumber(b: number): number {
  bits.setUint32(0, (b & 0xffff) << 16);
  return bits.getFloat32(0);
}

/** A table of all 65,536 binary16 values: one lookup per element where a whole tensor is converted. */
export function float16Table(): Float32Array {
  table ??= Float32Array.from({ length: 65536 }, (_, h) => float16ToNumber(h));
  return table;
}
let table: Float32Array | undefined;
