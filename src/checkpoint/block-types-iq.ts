// ggml's types whose integers come from tables: the IQ grids, IQ4's and FP4's levels, and the ternary TQ types.
// A grid type's value is scale·(±entry): all products fit float32 exactly, so all have an exact form.

import { float16Table } from "../base/mod.ts";
import { type BlockType, quantized } from "./block-type.ts";
import { crumbs, halfAt } from "./block-types-q.ts";
import { fp4Levels, iq4Levels, iqGrid, iqSigns } from "./iq-tables.ts";

const super256 = { blockSize: 256, hasMin: false } as const;
const signed8 = { bits: 8, zero: 128 } as const;

/** `width` entries of a grid row, negated where the sign bit (from `firstBit` on) is set. */
function signedRow(
  grid: Int8Array,
  row: number,
  width: number,
  signs: number,
  firstBit: number,
  q: Int8Array,
  to: number,
) {
  for (let i = 0; i < width; i++) {
    const entry = grid[row * width + i]!;
    q[to + i] = (signs >> (firstBit + i)) & 1 ? -entry : entry;
  }
}

const nibbleAt = (source: Uint8Array, at: number, index: number) =>
  (source[at + (index >> 1)]! >> (4 * (index & 1))) & 15;
const uint16At = (source: Uint8Array, at: number) => source[at]! | (source[at + 1]! << 8);
const uint32At = (source: Uint8Array, at: number) =>
  (source[at]! | (source[at + 1]! << 8) | (source[at + 2]! << 16) | (source[at + 3]! << 24)) >>> 0;

/** Low nibbles of `count` bytes through a table, then their high nibbles. */
function levels(source: Uint8Array, at: number, count: number, table: Int8Array, q: Int8Array, to: number): void {
  for (let i = 0; i < count; i++) {
    const byte = source[at + i]!;
    q[to + i] = table[byte & 15]!;
    q[to + count + i] = table[byte >> 4]!;
  }
}

/** Base-3 digits of `count` bytes, most significant first: digit n of a byte is (byte·3^n mod 256)·3 >> 8. */
function trits(source: Uint8Array, at: number, count: number, digits: number, q: Int8Array, to: number): void {
  for (let n = 0, power = 1; n < digits; n++, power *= 3)
    for (let i = 0; i < count; i++) q[to + n * count + i] = ((((source[at + i]! * power) & 255) * 3) >> 8) - 1;
}

// Half of the FP8 scale, because the FP4 levels are doubled; 0x7f (NaN) counts as 0, as in ggml.
function halfUnsignedE4M3(byte: number): number {
  if (byte === 0 || byte === 0x7f) return 0;
  const exponent = (byte >> 3) & 15;
  const fraction = byte & 7;
  return exponent === 0 ? fraction * 2 ** -10 : (8 + fraction) * 2 ** (exponent - 11);
}

export const iqTypes: readonly BlockType[] = [
  quantized({
    ...{ name: "IQ2_XXS", id: 16, blockBytes: 66, block: 32, ...super256, ...signed8 },
    unpack(source, at, { q, scales }) {
      const d = halfAt(source, at);
      const grid = iqGrid("IQ2_XXS");
      const signs = iqSigns();
      for (let g = 0; g < 8; g++) {
        const from = at + 2 + g * 8;
        const packed = uint32At(source, from + 4);
        scales[g] = (d * (2 * (packed >>> 28) + 1)) / 8;
        for (let k = 0; k < 4; k++)
          signedRow(grid, source[from + k]!, 8, signs[(packed >>> (7 * k)) & 127]!, 0, q, g * 32 + k * 8);
      }
    },
  }),
  quantized({
    ...{ name: "IQ2_XS", id: 17, blockBytes: 74, block: 16, ...super256, ...signed8 },
    unpack(source, at, { q, scales }) {
      const d = halfAt(source, at);
      const grid = iqGrid("IQ2_XS");
      const signs = iqSigns();
      for (let g = 0; g < 16; g++) scales[g] = (d * (2 * nibbleAt(source, at + 66, g) + 1)) / 8;
      for (let k = 0; k < 32; k++) {
        const packed = uint16At(source, at + 2 + 2 * k);
        signedRow(grid, packed & 511, 8, signs[packed >> 9]!, 0, q, k * 8);
      }
    },
  }),
  quantized({
    ...{ name: "IQ2_S", id: 22, blockBytes: 82, block: 16, ...super256, ...signed8 },
    unpack(source, at, { q, scales }) {
      const d = halfAt(source, at);
      const grid = iqGrid("IQ2_S");
      for (let g = 0; g < 16; g++) scales[g] = (d * (2 * nibbleAt(source, at + 74, g) + 1)) / 8;
      for (let k = 0; k < 32; k++) {
        const row = source[at + 2 + k]! | (((source[at + 66 + (k >> 2)]! >> (2 * (k & 3))) & 3) << 8);
        signedRow(grid, row, 8, source[at + 34 + k]!, 0, q, k * 8);
      }
    },
  }),
  quantized({
    ...{ name: "IQ3_XXS", id: 18, blockBytes: 98, block: 32, ...super256, ...signed8 },
    unpack(source, at, { q, scales }) {
      const d = halfAt(source, at);
      const grid = iqGrid("IQ3_XXS");
      const signs = iqSigns();
      for (let g = 0; g < 8; g++) {
        const packed = uint32At(source, at + 66 + g * 4);
        scales[g] = (d * (2 * (packed >>> 28) + 1)) / 4;
        for (let k = 0; k < 8; k++) {
          const row = source[at + 2 + g * 8 + k]!;
          signedRow(grid, row, 4, signs[(packed >>> (7 * (k >> 1))) & 127]!, 4 * (k & 1), q, g * 32 + k * 4);
        }
      }
    },
  }),
  quantized({
    ...{ name: "IQ3_S", id: 21, blockBytes: 110, block: 32, ...super256, ...signed8 },
    unpack(source, at, { q, scales }) {
      const d = halfAt(source, at);
      const grid = iqGrid("IQ3_S");
      for (let g = 0; g < 8; g++) scales[g] = d * (2 * nibbleAt(source, at + 106, g) + 1);
      for (let k = 0; k < 64; k++) {
        const row = source[at + 2 + k]! | (((source[at + 66 + (k >> 3)]! >> (k & 7)) & 1) << 8);
        signedRow(grid, row, 4, source[at + 74 + (k >> 1)]!, 4 * (k & 1), q, k * 4);
      }
    },
  }),
  // IQ1: value = d·(2s+1)·(entry ± 1/8), written as d·(2s+1)/8 · (8·entry ± 1).
  quantized({
    ...{ name: "IQ1_S", id: 19, blockBytes: 50, block: 32, ...super256, ...signed8 },
    unpack(source, at, { q, scales }) {
      const d = halfAt(source, at);
      const grid = iqGrid("IQ1");
      for (let g = 0; g < 8; g++) {
        const high = uint16At(source, at + 34 + 2 * g);
        const delta = high & 0x8000 ? -1 : 1;
        scales[g] = (d * (2 * ((high >> 12) & 7) + 1)) / 8;
        for (let k = 0; k < 4; k++) {
          const row = source[at + 2 + g * 4 + k]! | (((high >> (3 * k)) & 7) << 8);
          for (let i = 0; i < 8; i++) q[g * 32 + k * 8 + i] = 8 * grid[row * 8 + i]! + delta;
        }
      }
    },
  }),
  quantized({
    ...{ name: "IQ1_M", id: 29, blockBytes: 56, block: 16, ...super256, ...signed8 },
    unpack(source, at, { q, scales }) {
      // The half-precision scale lies in the top nibbles of the four scale words.
      const s = at + 48;
      const low = (source[s + 1]! >> 4) | (source[s + 3]! & 0xf0);
      const d = float16Table()[low | ((source[s + 5]! & 0xf0) << 4) | ((source[s + 7]! & 0xf0) << 8)]!;
      const grid = iqGrid("IQ1");
      for (let g = 0; g < 16; g++)
        scales[g] = (d * (2 * ((uint16At(source, s + 2 * (g >> 2)) >> (3 * (g & 3))) & 7) + 1)) / 8;
      for (let k = 0; k < 32; k++) {
        const high = nibbleAt(source, at + 32, k);
        const row = source[at + k]! | ((high & 7) << 8);
        const delta = high & 8 ? -1 : 1;
        for (let i = 0; i < 8; i++) q[k * 8 + i] = 8 * grid[row * 8 + i]! + delta;
      }
    },
  }),
  quantized({
    ...{ name: "IQ4_NL", id: 20, blockSize: 32, blockBytes: 18, block: 32, hasMin: false, ...signed8 },
    unpack(source, at, { q, scales }) {
      scales[0] = halfAt(source, at);
      levels(source, at + 2, 16, iq4Levels, q, 0);
    },
  }),
  quantized({
    ...{ name: "IQ4_XS", id: 23, blockBytes: 136, block: 32, ...super256, ...signed8 },
    unpack(source, at, { q, scales }) {
      const d = halfAt(source, at);
      const high = uint16At(source, at + 2);
      for (let g = 0; g < 8; g++) {
        scales[g] = d * ((nibbleAt(source, at + 4, g) | (((high >> (2 * g)) & 3) << 4)) - 32);
        levels(source, at + 8 + g * 16, 16, iq4Levels, q, g * 32);
      }
    },
  }),
  quantized({
    ...{ name: "MXFP4", id: 39, blockSize: 32, blockBytes: 17, block: 32, hasMin: false, ...signed8 },
    unpack(source, at, { q, scales }) {
      scales[0] = 2 ** (source[at]! - 128); // half of 2^(e − 127): the levels are doubled
      levels(source, at + 1, 16, fp4Levels, q, 0);
    },
  }),
  quantized({
    ...{ name: "NVFP4", id: 40, blockSize: 64, blockBytes: 36, block: 16, hasMin: false, ...signed8 },
    unpack(source, at, { q, scales }) {
      for (let g = 0; g < 4; g++) {
        scales[g] = halfUnsignedE4M3(source[at + g]!);
        levels(source, at + 4 + g * 8, 8, fp4Levels, q, g * 16);
      }
    },
  }),
  quantized({
    ...{ name: "TQ1_0", id: 34, blockBytes: 54, block: 256, ...super256, bits: 4, zero: 8 },
    unpack(source, at, { q, scales }) {
      scales[0] = halfAt(source, at + 52);
      trits(source, at, 32, 5, q, 0);
      trits(source, at + 32, 16, 5, q, 160);
      trits(source, at + 48, 4, 4, q, 240);
    },
  }),
  quantized({
    ...{ name: "TQ2_0", id: 35, blockBytes: 66, block: 256, ...super256, bits: 4, zero: 8 },
    unpack(source, at, { q, scales }) {
      scales[0] = halfAt(source, at + 64);
      crumbs(source, at, q, 1);
    },
  }),
];
