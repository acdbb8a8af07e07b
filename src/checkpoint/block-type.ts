// One weight type of a model file: how a block of bytes becomes float32, and the integer form that is bit-equal to it.
// A quantised type is written once, as `unpack`; dequantize and split both follow from it. No files are known here.

import { IroriError } from "../base/mod.ts";

export interface BlockType {
  /** GGUF's spelling: "F32", "Q4_1", "BF16" … */
  readonly name: string;
  /** GGUF's type number; -1 for a type that only safetensors has. */
  readonly id: number;
  /** Elements in a block. */
  readonly blockSize: number;
  readonly blockBytes: number;
  /** `source` holds whole blocks; `target` exactly their elements. */
  dequantize(source: Uint8Array, target: Float32Array): void;
  /** Values are wider than float32 and get rounded. */
  readonly isRounded?: boolean;
  /** Present where every value is exactly scale·integer (+ min). */
  readonly exact?: ExactForm;
}

/**
 * value = fl32(scale·(code − zero) [+ min]), bit-equal to `dequantize`, per `block` consecutive elements: the product is
 * exact in float32, so only the sum rounds, once. 4-bit codes: byte j holds element 2j low, 2j+1 high; 8-bit: a byte each.
 */
export interface ExactForm {
  readonly bits: 4 | 8;
  readonly block: 16 | 32 | 64 | 128 | 256;
  readonly zero: number;
  readonly hasMin: boolean;
  /** `source` holds whole GGUF blocks; codes bits/8 bytes an element; scales and mins (only if hasMin) one a `block`. */
  split(source: Uint8Array, codes: Uint8Array, scales: Float32Array, mins: Float32Array | undefined): void;
}

/** Where `unpack` leaves a block: integers around zero, one scale and one min per `block` elements. */
export interface Unpacked {
  readonly q: Int8Array;
  readonly scales: Float32Array;
  readonly mins: Float32Array;
}

export interface QuantizedLayout {
  readonly name: string;
  readonly id: number;
  readonly blockSize: number;
  readonly blockBytes: number;
  readonly bits: 4 | 8;
  /** Elements that share a scale. */
  readonly block: ExactForm["block"];
  /** Code of the integer 0: chosen so that codes lie around the kernel's centre (8 or 128). */
  readonly zero: number;
  readonly hasMin: boolean;
  /** Reads the block at byte `at`: value = scales·q (+ mins). */
  unpack(source: Uint8Array, at: number, out: Unpacked): void;
}

export function quantized(layout: QuantizedLayout): BlockType {
  const { name, id, blockSize, blockBytes, bits, block, zero, hasMin } = layout;
  const scratch = (): Unpacked => ({
    q: new Int8Array(blockSize),
    scales: new Float32Array(blockSize / block),
    mins: new Float32Array(blockSize / block),
  });
  const dequantize = (source: Uint8Array, target: Float32Array) => {
    const blocks = wholeBlocks(name, blockBytes, source);
    sameLength(name, "values", target.length, blocks * blockSize);
    dequantizeBlocks(layout, source, target, blocks, scratch());
  };
  const split: ExactForm["split"] = (source, codes, scales, mins) => {
    const blocks = wholeBlocks(name, blockBytes, source);
    sameLength(name, "code bytes", codes.length, (blocks * blockSize * bits) / 8);
    sameLength(name, "scales", scales.length, (blocks * blockSize) / block);
    sameLength(name, "mins", mins?.length ?? 0, hasMin ? scales.length : 0);
    splitBlocks(layout, source, codes, scales, mins, blocks, scratch());
  };
  return { name, id, blockSize, blockBytes, dequantize, exact: { bits, block, zero, hasMin, split } };
}

// Sums are taken in float64 and rounded once by the store: for float32 terms that equals the float32 sum.
function dequantizeBlocks(
  { blockSize, blockBytes, block, hasMin, unpack }: QuantizedLayout,
  source: Uint8Array,
  target: Float32Array,
  blocks: number,
  out: Unpacked,
): void {
  const { q, scales, mins } = out;
  for (let b = 0; b < blocks; b++) {
    unpack(source, b * blockBytes, out);
    const base = b * blockSize;
    for (let start = 0, g = 0; start < blockSize; start += block, g++) {
      const scale = scales[g]!;
      const end = start + block;
      if (hasMin) {
        const min = mins[g]!;
        for (let i = start; i < end; i++) target[base + i] = scale * q[i]! + min;
      } else for (let i = start; i < end; i++) target[base + i] = scale * q[i]!;
    }
  }
}

function splitBlocks(
  { blockSize, blockBytes, bits, block, zero, unpack }: QuantizedLayout,
  source: Uint8Array,
  codes: Uint8Array,
  scales: Float32Array,
  mins: Float32Array | undefined,
  blocks: number,
  out: Unpacked,
): void {
  const { q } = out;
  const groups = blockSize / block;
  for (let b = 0; b < blocks; b++) {
    unpack(source, b * blockBytes, out);
    for (let g = 0; g < groups; g++) scales[b * groups + g] = out.scales[g]!;
    if (mins) for (let g = 0; g < groups; g++) mins[b * groups + g] = out.mins[g]!;
    if (bits === 8) {
      const base = b * blockSize;
      for (let i = 0; i < blockSize; i++) codes[base + i] = q[i]! + zero;
    } else {
      const base = (b * blockSize) / 2;
      for (let i = 0, j = base; i < blockSize; i += 2, j++) codes[j] = (q[i]! + zero) | ((q[i + 1]! + zero) << 4);
    }
  }
}

export function wholeBlocks(name: string, blockBytes: number, source: Uint8Array): number {
  const blocks = source.length / blockBytes;
  if (Number.isInteger(blocks)) return blocks;
  const got = `${source.length} bytes`;
  throw new IroriError("bad-input", { what: `${name} needs whole blocks`, got, wanted: `a multiple of ${blockBytes}` });
}

export function sameLength(name: string, what: string, got: number, wanted: number): void {
  if (got !== wanted) throw new IroriError("bad-input", { what: `${name}: number of ${what}`, got, wanted });
}
