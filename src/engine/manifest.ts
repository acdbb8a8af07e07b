// What a prepared model is on disk: one file of weights in one form, a tokenizer, and this manifest that describes them.
// It does not know how they came to be (prepare.ts) nor how they are run (resident.ts).
import type { Config } from "../models/mod.ts";
import type { BlockFormat, WeightLocation } from "../tensor/mod.ts";

/**
 * "f32": every weight dequantised (lab, training). For serving: "blocks" keeps the checkpoint's quantised blocks bit for bit and
 * the rest as float32; "q8" and "q4" make blocks of their own of what has more bits.
 */
export type Form = "f32" | "blocks" | "q8" | "q4";

/** Bytes of one array in the weights file. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

export type StoredTensor = {
  readonly shape: readonly number[];
  /** What is stored is the weight's transpose: its blocks lie along the weight's columns. */
  readonly isTransposed?: boolean;
} & (
  | { readonly values: Extent }
  | { readonly format: BlockFormat; readonly codes: Extent; readonly scales: Extent; readonly mins?: Extent }
);

/** What became of the tensors of one type of the checkpoint. */
export interface FormReport {
  readonly type: string;
  readonly tensors: number;
  readonly parameters: number;
  /** "4 bit, blocks of 32", "float32" … */
  readonly form: string;
  readonly isExact: boolean;
  readonly bytes: number;
  /** What the choice costs, where there was one. */
  readonly note?: string;
  /** Of blocks of our own making: √(sum of squares of differences / of values), of all and of the worst block. */
  readonly error?: { readonly whole: number; readonly worstBlock: number };
}

/** How the hidden states of a text's tokens become one vector. */
export type Pooling = "mean" | "cls" | "max" | "last";

/** What a checkpoint of sentence-transformers says of its vectors, or which part of it is not run. */
export type Sentence =
  | {
      readonly pooling: Pooling;
      readonly isNormalized: boolean;
      /** What stands in front of texts, by what they are ("query", "passage"). */
      readonly prompts: Readonly<Record<string, string>>;
      readonly defaultPrompt?: string;
    }
  | { readonly notRun: string };

/** Changes when prepared models of before cannot be read: they are prepared anew. */
export const MANIFEST_FORMAT = 5;

export interface Manifest {
  readonly format: typeof MANIFEST_FORMAT;
  readonly family: string;
  /** It predicts tokens. */
  readonly isDecoder: boolean;
  readonly form: Form;
  readonly config: Config;
  readonly tensors: Readonly<Record<string, StoredTensor>>;
  readonly weightBytes: number;
  readonly weightSha256: string;
  readonly chatTemplate?: string;
  /** Why there is no tokenizer: texts cannot be used, token ids can. */
  readonly noTokenizer?: string;
  /** Absent where the checkpoint does not say how a text becomes a vector. */
  readonly sentence?: Sentence;
  readonly report: readonly FormReport[];
}

export const FILES = {
  manifest: "manifest.sealed",
  weights: "weights.bin",
  tokenizer: "tokenizer.bin",
  kvScales: "kv-scales.sealed",
} as const;

/** Where each array of the weights file lies, by name: `NAME`, `NAME#codes`, `NAME#scales`, `NAME#mins`. */
export function extentsOf(manifest: Manifest): ReadonlyMap<string, Extent> {
  const all = new Map<string, Extent>();
  for (const [name, stored] of Object.entries(manifest.tensors)) {
    if ("values" in stored) all.set(name, stored.values);
    else {
      all.set(`${name}#codes`, stored.codes).set(`${name}#scales`, stored.scales);
      if (stored.mins) all.set(`${name}#mins`, stored.mins);
    }
  }
  return all;
}

/** Where an array of the weights file lies, relative to the prepared folder; undefined for names there are none of. */
export function locateIn(manifest: Manifest): (name: string) => WeightLocation | undefined {
  const extents = extentsOf(manifest);
  return (name) => {
    const extent = extents.get(name);
    return extent && { location: FILES.weights, offset: String(extent.offset), length: String(extent.length) };
  };
}
