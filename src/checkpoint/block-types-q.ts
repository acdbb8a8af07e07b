// ggml's Q types: blocks of 32 with one half-precision scale, and super-blocks of 256 with quantised scales (the K types).
// Each literal is the whole truth of its type: layout of the bytes, integer form, where the codes are centred.

import { float16Table } from "../base/mod.ts";
import { type BlockType, quantized, type Unpacked } from "./block-type.ts";

export function halfAt(source: Uint8Array, at: number): number {
  return float16Table()[source[at]! | (source[at + 1]! << 8)]!;
}

/** Low nibbles of `count` bytes, then their high nibbles. */
function nibbles(source: Uint8Array, at: number, count: number, q: Int8Array, to: number, minus: number): void {
  for (let i = 0; i < count; i++) {
    const byte = source[at + i]!;
    q[to + i] = (byte & 15) - minus;
    q[to + count + i] = (byte >> 4) - minus;
  }
}

/** 16 bytes of nibbles at `at`, whose fifth bits are the 32 bits at `high`. */
function fiveBits(source: Uint8Array, at: number, high: number, q: Int8Array, minus: number): void {
  for (let i = 0; i < 16; i++) {
    const byte = source[at + i]!;
    const shift = i & 7;
    q[i] = ((byte & 15) | (((source[high + (i >> 3)]! >> shift) & 1) << 4)) - minus;
    q[i + 16] = ((byte >> 4) | (((source[high + 2 + (i >> 3)]! >> shift) & 1) << 4)) - minus;
  }
}

/** 64 bytes of four 2-bit fields: [2 halves][4 fields][32 elements]. */
export function crumbs(source: Uint8Array, at: number, q: Int8Array, minus: number): void {
  for (let half = 0; half < 2; half++)
    for (let k = 0; k < 4; k++)
      for (let i = 0, to = half * 128 + k * 32; i < 32; i++)
        q[to + i] = ((source[at + half * 32 + i]! >> (2 * k)) & 3) - minus;
}

/** Q4_K, Q5_K: eight 6-bit scales and eight 6-bit mins in 12 bytes at `at + 4`, after d and dmin. */
function kScales(source: Uint8Array, at: number, { scales, mins }: Unpacked): void {
  const d = halfAt(source, at);
  const dmin = halfAt(source, at + 2);
  const s = at + 4;
  for (let j = 0; j < 4; j++) {
    scales[j] = d * (source[s + j]! & 63);
    mins[j] = -(dmin * (source[s + j + 4]! & 63));
    scales[j + 4] = d * ((source[s + j + 8]! & 15) | ((source[s + j]! >> 2) & 48));
    mins[j + 4] = -(dmin * ((source[s + j + 8]! >> 4) | ((source[s + j + 4]! >> 2) & 48)));
  }
}

const simple = { blockSize: 32, block: 32 } as const;
const symmetric4 = { bits: 4, zero: 8, hasMin: false } as const;
const symmetric8 = { bits: 8, zero: 128, hasMin: false } as const;
const fiveWithMin = { bits: 8, zero: 112, hasMin: true } as const; // 0…31 becomes 112…143, around 128

export const qTypes: readonly BlockType[] = [
  quantized({
    ...{ name: "Q4_0", id: 2, blockBytes: 18, ...simple, ...symmetric4 },
    unpack(source, at, { q, scales }) {
      scales[0] = halfAt(source, at);
      nibbles(source, at + 2, 16, q, 0, 8);
    },
  }),
  quantized({
    ...{ name: "Q4_1", id: 3, blockBytes: 20, ...simple, bits: 4, zero: 0, hasMin: true },
    unpack(source, at, { q, scales, mins }) {
      scales[0] = halfAt(source, at);
      mins[0] = halfAt(source, at + 2);
      nibbles(source, at + 4, 16, q, 0, 0);
    },
  }),
  quantized({
    ...{ name: "Q5_0", id: 6, blockBytes: 22, ...simple, ...symmetric8 },
    unpack(source, at, { q, scales }) {
      scales[0] = halfAt(source, at);
      fiveBits(source, at + 6, at + 2, q, 16);
    },
  }),
  quantized({
    ...{ name: "Q5_1", id: 7, blockBytes: 24, ...simple, ...fiveWithMin },
    unpack(source, at, { q, scales, mins }) {
      scales[0] = halfAt(source, at);
      mins[0] = halfAt(source, at + 2);
      fiveBits(source, at + 8, at + 4, q, 0);
    },
  }),
  quantized({
    ...{ name: "Q8_0", id: 8, blockBytes: 34, ...simple, ...symmetric8 },
    unpack(source, at, { q, scales }) {
      scales[0] = halfAt(source, at);
      for (let i = 0; i < 32; i++) q[i] = source[at + 2 + i]!;
    },
  }),
  quantized({
    ...{ name: "Q2_K", id: 10, blockSize: 256, blockBytes: 84, block: 16, bits: 4, zero: 6, hasMin: true }, // 6…9
    unpack(source, at, { q, scales, mins }) {
      const d = halfAt(source, at + 80);
      const dmin = halfAt(source, at + 82);
      for (let g = 0; g < 16; g++) {
        scales[g] = d * (source[at + g]! & 15);
        mins[g] = -(dmin * (source[at + g]! >> 4));
      }
      crumbs(source, at + 16, q, 0);
    },
  }),
  quantized({
    ...{ name: "Q3_K", id: 11, blockSize: 256, blockBytes: 110, block: 16, ...symmetric4 },
    unpack(source, at, { q, scales }) {
      const d = halfAt(source, at + 108);
      const s = at + 96;
      for (let g = 0; g < 16; g++) {
        const low = (source[s + (g & 7)]! >> (4 * (g >> 3))) & 15;
        const high = (source[s + 8 + (g & 3)]! >> (2 * (g >> 2))) & 3;
        scales[g] = d * ((low | (high << 4)) - 32);
      }
      crumbs(source, at + 32, q, 0);
      // A clear mask bit means 4 less.
      for (let row = 0; row < 8; row++)
        for (let i = 0; i < 32; i++) q[row * 32 + i]! -= (~(source[at + i]! >> row) & 1) << 2;
    },
  }),
  quantized({
    ...{ name: "Q4_K", id: 12, blockSize: 256, blockBytes: 144, block: 32, bits: 4, zero: 0, hasMin: true },
    unpack(source, at, out) {
      kScales(source, at, out);
      for (let pair = 0; pair < 4; pair++) nibbles(source, at + 16 + pair * 32, 32, out.q, pair * 64, 0);
    },
  }),
  quantized({
    ...{ name: "Q5_K", id: 13, blockSize: 256, blockBytes: 176, block: 32, ...fiveWithMin },
    unpack(source, at, out) {
      kScales(source, at, out);
      for (let pair = 0; pair < 4; pair++) nibbles(source, at + 48 + pair * 32, 32, out.q, pair * 64, 0);
      for (let row = 0; row < 8; row++)
        for (let i = 0; i < 32; i++) out.q[row * 32 + i]! |= ((source[at + 16 + i]! >> row) & 1) << 4;
    },
  }),
  quantized({
    ...{ name: "Q6_K", id: 14, blockSize: 256, blockBytes: 210, block: 16, ...symmetric8 },
    unpack(source, at, { q, scales }) {
      const d = halfAt(source, at + 208);
      for (let g = 0; g < 16; g++) scales[g] = d * ((source[at + 192 + g]! << 24) >> 24);
      for (let half = 0; half < 2; half++)
        for (let k = 0; k < 4; k++) {
          const low = at + half * 64 + (k & 1) * 32;
          const high = at + 128 + half * 32;
          const to = half * 128 + k * 32;
          for (let i = 0; i < 32; i++)
            q[to + i] =
              (((source[low + i]! >> (4 * (k >> 1))) & 15) | (((source[high + i]! >> (2 * k)) & 3) << 4)) - 32;
        }
    },
  }),
];
