// Weight types without blocks: floats and integers, one number an element, little endian.
// They know no scales; reading them as float32 rounds where float32 cannot hold the number.

import { float16Table } from "../base/mod.ts";
import { type BlockType, sameLength, wholeBlocks } from "./block-type.ts";

type Convert = (source: Uint8Array, target: Float32Array) => void;

function plain(name: string, id: number, bytes: number, convert: Convert): BlockType {
  const dequantize: Convert = (source, target) => {
    sameLength(name, "values", target.length, wholeBlocks(name, bytes, source));
    convert(source, target);
  };
  return { name, id, blockSize: 1, blockBytes: bytes, dequantize };
}

function numbers(name: string, id: number, bytes: number, get: (view: DataView, at: number) => number): BlockType {
  return plain(name, id, bytes, (source, target) => {
    const view = new DataView(source.buffer, source.byteOffset, source.byteLength);
    for (let i = 0; i < target.length; i++) target[i] = get(view, i * bytes);
  });
}

/** Numbers that float32 cannot always hold. */
const wider = (...layout: Parameters<typeof numbers>): BlockType => ({ ...numbers(...layout), isRounded: true });

const copyFloats: Convert = (source, target) =>
  new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(source);

const widenFloat16: Convert = (source, target) => {
  const table = float16Table();
  for (let i = 0, at = 0; i < target.length; i++, at += 2) target[i] = table[source[at]! | (source[at + 1]! << 8)]!;
};

// bfloat16 is the upper half of a float32: written as bits, so that a NaN keeps its own.
const widenBfloat16: Convert = (source, target) => {
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0, at = 0; i < bits.length; i++, at += 2) bits[i] = (source[at]! << 16) | (source[at + 1]! << 24);
};

export const plainTypes: readonly BlockType[] = [
  plain("F32", 0, 4, copyFloats),
  plain("F16", 1, 2, widenFloat16),
  plain("BF16", 30, 2, widenBfloat16),
  wider("F64", 28, 8, (view, at) => view.getFloat64(at, true)),
  numbers("I8", 24, 1, (view, at) => view.getInt8(at)),
  numbers("I16", 25, 2, (view, at) => view.getInt16(at, true)),
  wider("I32", 26, 4, (view, at) => view.getInt32(at, true)),
  wider("I64", 27, 8, (view, at) => Number(view.getBigInt64(at, true))),
  numbers("U8", -1, 1, (view, at) => view.getUint8(at)),
  numbers("U16", -1, 2, (view, at) => view.getUint16(at, true)),
  wider("U32", -1, 4, (view, at) => view.getUint32(at, true)),
  wider("U64", -1, 8, (view, at) => Number(view.getBigUint64(at, true))),
  numbers("BOOL", -1, 1, (view, at) => (view.getUint8(at) === 0 ? 0 : 1)),
];
