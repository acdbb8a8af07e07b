// How a tensor is written in the weights file: as float32, as blocks that keep those of the checkpoint bit for bit, or as blocks
// of our own making.
// A coding turns whole rows of the checkpoint into arrays, so that a tensor of any size is converted piece by piece.
// It does not know files or families.
import type { BlockType } from "../checkpoint/mod.ts";
import type { BlockFormat } from "../tensor/mod.ts";
import type { Extent, StoredTensor } from "./manifest.ts";
import { type BlockError, noError, quantize4, quantize8, rotate } from "./own-blocks.ts";

/** Arrays that are used again for the next piece: what is allocated anew for each waits for the collector. */
export class Scratch {
  readonly #bytes = new Map<string, Uint8Array<ArrayBuffer>>();

  bytes(use: string, length: number): Uint8Array<ArrayBuffer> {
    const known = this.#bytes.get(use);
    if (known !== undefined && known.length >= length) return known.subarray(0, length);
    const made = new Uint8Array(length);
    this.#bytes.set(use, made);
    return made;
  }

  floats(use: string, length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.bytes(use, length * 4).buffer, 0, length);
  }
}

/** One of the arrays that a tensor becomes. */
export interface CodedArray {
  readonly part: "values" | "codes" | "scales" | "mins";
  readonly bytesPerElement: number;
}

export interface Coding {
  readonly arrays: readonly CodedArray[];
  /** What became of the values, for the report: "float32", "4 bit, blocks of 32" … */
  readonly form: string;
  readonly isExact: boolean;
  /** What the choice costs, where there was one. */
  readonly note?: string | undefined;
  /** How far the blocks are from the values that were encoded so far. */
  readonly error?: BlockError;
  /** The arrays of whole rows, in the order of `arrays`; they lie in `scratch`. */
  encode(rows: Uint8Array, elements: number, scratch: Scratch): readonly (Uint8Array | Float32Array)[];
  /** How the manifest notes a tensor whose arrays lie in `extents`. */
  stored(shape: readonly number[], extents: readonly Extent[]): StoredTensor;
}

/** Numbers as they are in memory. */
export const float32: BlockType = {
  ...{ name: "F32", id: 0, blockSize: 1, blockBytes: 4 },
  dequantize: (source, target) => new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(source),
};

/** Values as float32, plus `offset`. */
export function floatCoding(type: BlockType, offset = 0): Coding {
  return {
    arrays: [{ part: "values", bytesPerElement: 4 }],
    form: "float32",
    isExact: !(type.isRounded ?? false),
    encode: (rows, elements, scratch) => {
      const values = scratch.floats("values", elements);
      type.dequantize(rows, values);
      if (offset !== 0) for (let i = 0; i < elements; i++) values[i] = (values[i] as number) + offset;
      return [values];
    },
    stored: (shape, [values]) => ({ shape, values: values as Extent }),
  };
}

/** Blocks of a type that has an exact integer form. */
export function exactCoding(type: BlockType): Coding {
  const { bits, block, zero, hasMin, split } = type.exact as NonNullable<BlockType["exact"]>;
  return {
    ...blockArrays({ bits, block, zero }, hasMin),
    isExact: true,
    note: bits === 8 && block < 32 ? "exact, about 2.5 times slower than blocks of 32" : undefined,
    encode: (rows, elements, scratch) => {
      const codes = scratch.bytes("codes", (elements * bits) / 8);
      const scales = scratch.floats("scales", elements / block);
      const mins = hasMin ? scratch.floats("mins", elements / block) : undefined;
      split(rows, codes, scales, mins);
      return mins === undefined ? [codes, scales] : [codes, scales, mins];
    },
  };
}

/**
 * Blocks of 32 by rounding, of whatever numbers the checkpoint has: 8-bit ones of the rotated rows, 4-bit ones with a min of the rows
 * as they are (numbers that were quantised before lie on grids of few steps, which a rotation would lose).
 */
export function ownCoding(type: BlockType, bits: 4 | 8): Coding {
  const floats = floatCoding(type);
  const error = noError();
  const block = 32;
  const isRotated = bits === 8;
  return {
    ...blockArrays({ bits, block, ...(isRotated ? { zero: 128, isRotated } : { zero: 0 }) }, !isRotated),
    isExact: false,
    error,
    encode: (rows, elements, scratch) => {
      const [values] = floats.encode(rows, elements, scratch) as [Float32Array];
      const codes = scratch.bytes("codes", (elements * bits) / 8);
      const scales = scratch.floats("scales", elements / block);
      if (isRotated) {
        rotate(values);
        quantize8(values, codes, scales, error);
        return [codes, scales];
      }
      const mins = scratch.floats("mins", elements / block);
      quantize4(values, codes, scales, mins, error);
      return [codes, scales, mins];
    },
  };
}

/** What all codings of blocks have in common. */
function blockArrays(format: BlockFormat, hasMin: boolean): Pick<Coding, "arrays" | "form" | "stored"> {
  const { bits, block, isRotated } = format;
  const scale = 4 / block;
  return {
    arrays: [
      { part: "codes", bytesPerElement: bits / 8 },
      { part: "scales", bytesPerElement: scale },
      ...(hasMin ? [{ part: "mins", bytesPerElement: scale } as const] : []),
    ],
    form: `${bits} bit, ${isRotated ? "rotated " : ""}blocks of ${block}${hasMin ? " with a min" : ""}`,
    stored: (shape, [codes, scales, mins]) => ({
      ...{ shape, format, codes: codes as Extent, scales: scales as Extent },
      ...(mins !== undefined && { mins }),
    }),
  };
}

export const bytesPerElement = ({ arrays }: Coding): number =>
  arrays.reduce((sum, each) => sum + each.bytesPerElement, 0);
