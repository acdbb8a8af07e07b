// Angles of rotary embeddings: inverse frequencies with their scalings, and the tables a Graph gathers from.
// It does not know families; formulas follow transformers' modeling_rope_utils.
import { IroriError } from "../base/mod.ts";
import { arange, cast, constant, cos, mul, reshape, sin } from "../tensor/mod.ts";
import type { RotaryTables } from "./family.ts";

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
  /** Divisors of each frequency, as GGUF's rope_freqs.weight stores them. */
  | { readonly type: "factors"; readonly factors: readonly number[] };

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
          what: "rope_freqs.weight does not fit the rotary size",
          got: scaling.factors.length,
          wanted: plain.length,
        });
      return plain.map((f, i) => f / (scaling.factors[i] as number));
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

/** cos and sin of position · frequency for `positions` rows (one more than a context: the attention kernel's spare token). */
export function rotaryTables(frequencies: Float32Array, positions: number): RotaryTables {
  const rows = reshape(cast(arange(positions), "float32"), [positions, 1]);
  const angles = mul(rows, constant(frequencies, [1, frequencies.length]));
  return { cos: cos(angles), sin: sin(angles) };
}
