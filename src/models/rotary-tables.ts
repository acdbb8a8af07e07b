// Angles of rotary embeddings: inverse frequencies with their scalings, and the tables a Graph gathers from.
// It does not know families; formulas follow transformers' modeling_rope_utils.
import { IroriError } from "../base/mod.ts";
import { arange, cast, constant, cos, mul, reshape, scalar, sin, type Value } from "../tensor/mod.ts";
import type { RotaryTables } from "./family.ts";

/** How the tokens of a model are rotated. */
export interface Rotary {
  readonly theta: number;
  readonly scaling: RotaryScaling;
  /** Share of a head's channels that is rotated, the first ones. */
  readonly share: number;
}

export type RotaryScaling =
  | { readonly type: "default" }
  | { readonly type: "linear"; readonly factor: number }
  | {
      readonly type: "llama3";
      readonly factor: number;
      readonly lowFrequency: number;
      readonly highFrequency: number;
      readonly originalPositions: number;
    }
  | {
      readonly type: "yarn";
      readonly factor: number;
      readonly originalPositions: number;
      /** Turns within the original positions above which a frequency is kept, and below which it is divided. */
      readonly fast: number;
      readonly slow: number;
      readonly isTruncated: boolean;
      /** Factor of the tables. */
      readonly magnitude: number;
    }
  /** Divisors of each frequency (longrope's, or GGUF's rope_freqs.weight), and a factor of the tables. */
  | { readonly type: "factors"; readonly factors: readonly number[]; readonly magnitude?: number };

/** θ^(−2i/R) for i < R/2, scaled. */
export function inverseFrequencies(theta: number, size: number, scaling: RotaryScaling): Float32Array {
  const plain = Float32Array.from({ length: size / 2 }, (_, i) => 1 / theta ** ((2 * i) / size));
  switch (scaling.type) {
    case "default":
      return plain;
    case "linear":
      return plain.map((f) => f / scaling.factor);
    case "factors":
      if (scaling.factors.length !== plain.length)
        throw new IroriError("bad-file", {
          what: "divisors of rotary frequencies do not fit the rotary size",
          got: scaling.factors.length,
          wanted: plain.length,
        });
      return plain.map((f, i) => f / (scaling.factors[i] as number));
    case "yarn":
      return yarnFrequencies(plain, theta, size, scaling);
    case "llama3":
      return plain.map((f) => llama3Frequency(f, scaling));
  }
}

/** Long wavelengths are divided by the factor, short ones kept, those between blended. */
function llama3Frequency(f: number, s: Extract<RotaryScaling, { type: "llama3" }>): number {
  const wavelength = (2 * Math.PI) / f;
  if (wavelength > s.originalPositions / s.lowFrequency) return f / s.factor;
  if (wavelength < s.originalPositions / s.highFrequency) return f;
  const smooth = (s.originalPositions / wavelength - s.lowFrequency) / (s.highFrequency - s.lowFrequency);
  return ((1 - smooth) * f) / s.factor + smooth * f;
}

/** Fast frequencies kept, slow ones divided by the factor, a ramp over the channels between (transformers' find_correction_range). */
function yarnFrequencies(
  plain: Float32Array,
  theta: number,
  size: number,
  s: Extract<RotaryScaling, { type: "yarn" }>,
): Float32Array {
  const channel = (turns: number): number =>
    (size * Math.log(s.originalPositions / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const [from, to] = [channel(s.fast), channel(s.slow)];
  const low = Math.max(s.isTruncated ? Math.floor(from) : from, 0);
  const high = Math.min(s.isTruncated ? Math.ceil(to) : to, size - 1);
  const width = high === low ? 0.001 : high - low;
  return plain.map((f, i) => {
    const divided = Math.min(1, Math.max(0, (i - low) / width));
    return (f / s.factor) * divided + f * (1 - divided);
  });
}

/** cos and sin of position · frequency for `positions` rows (one more than a context: the attention kernel's spare token). */
export function rotaryTables(frequencies: Float32Array, positions: number, magnitude = 1): RotaryTables {
  const rows = reshape(cast(arange(positions), "float32"), [positions, 1]);
  const angles = mul(rows, constant(frequencies, [1, frequencies.length]));
  const scaled = (table: Value): Value => (magnitude === 1 ? table : mul(table, scalar(magnitude)));
  return { cos: scaled(cos(angles)), sin: scaled(sin(angles)) };
}

/** The tables of a model: its rotary settings, head size and context. */
export function tablesOf({ theta, scaling, share }: Rotary, headSize: number, positions: number): RotaryTables {
  const size = Math.floor(headSize * share);
  const magnitude = "magnitude" in scaling ? scaling.magnitude : 1;
  return rotaryTables(inverseFrequencies(theta, size, scaling), positions + 1, magnitude);
}
