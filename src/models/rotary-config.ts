// Rotary settings of config.json, as transformers 5 writes them (rope_parameters) and as 4 did (rope_theta, rope_scaling).
// It does not know families; what it cannot do is an error that names the setting.
import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import type { Rotary, RotaryScaling } from "./rotary-tables.ts";

const positive = z.number().positive();
const settings = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: positive.optional(),
  partial_rotary_factor: positive.max(1).optional(),
  factor: positive.optional(),
  attention_factor: positive.nullish(),
  beta_fast: positive.nullish(),
  beta_slow: positive.nullish(),
  mscale: z.number().nullish(),
  mscale_all_dim: z.number().nullish(),
  truncate: z.boolean().nullish(),
  low_freq_factor: positive.optional(),
  high_freq_factor: positive.optional(),
  original_max_position_embeddings: z.number().int().positive().optional(),
  short_factor: z.array(positive).optional(),
  long_factor: z.array(positive).optional(),
});
type Settings = z.infer<typeof settings>;

/** Members of config.json that say how a model rotates: for a family's schema. */
export const rotaryMembers = {
  rope_parameters: settings.nullish(),
  rope_theta: positive.optional(),
  rope_scaling: settings.nullish(),
  partial_rotary_factor: positive.max(1).optional(),
  original_max_position_embeddings: z.number().int().positive().optional(),
};
/** As `rotaryMembers`, with one entry for each kind of layer. */
export const rotaryByKind = z.record(z.string(), settings);

export interface RotaryJson {
  readonly rope_parameters?: Settings | null | undefined;
  readonly rope_theta?: number | undefined;
  readonly rope_scaling?: Settings | null | undefined;
  readonly partial_rotary_factor?: number | undefined;
  readonly original_max_position_embeddings?: number | undefined;
}

/** The settings, wherever this spelling has them. */
const settingsOf = ({
  rope_parameters,
  rope_scaling,
  original_max_position_embeddings: original,
}: RotaryJson): Settings => ({
  ...(original !== undefined && { original_max_position_embeddings: original }),
  ...rope_parameters,
  // a file that has both spellings says what is scaled in one of them
  ...(typeOf(rope_parameters ?? {}) === "default" && rope_scaling && { rope_type: undefined, ...rope_scaling }),
});
const typeOf = (s: Settings): string => s.rope_type ?? s.type ?? "default";

/**
 * Positions of a text that Irori runs. "longrope" turns all of a text otherwise as soon as it is longer than the original
 * positions: Irori stays within them.
 */
export function rotaryPositions(json: RotaryJson, maxPositions: number): number {
  const s = settingsOf(json);
  return ["longrope", "su"].includes(typeOf(s))
    ? Math.min(s.original_max_position_embeddings ?? maxPositions, maxPositions)
    : maxPositions;
}

/** @param maxPositions `max_position_embeddings`: what "dynamic" and "yarn" were trained for, unless the settings say */
export function rotaryOf(json: RotaryJson, maxPositions: number, theta = 10000): Rotary {
  const all = settingsOf(json);
  return {
    theta: all.rope_theta ?? json.rope_theta ?? theta,
    scaling: scalingOf(all, maxPositions),
    share: all.partial_rotary_factor ?? json.partial_rotary_factor ?? 1,
  };
}

function scalingOf(s: Settings, maxPositions: number): RotaryScaling {
  const type = typeOf(s);
  const need = (name: keyof Settings): number => {
    const value = s[name];
    if (typeof value === "number") return value;
    throw new IroriError("unsupported", { what: `config.json: rotary scaling "${type}" lacks ${String(name)}` });
  };
  switch (type) {
    case "default":
      return { type };
    case "linear":
      return { type, factor: need("factor") };
    case "dynamic":
      // frequencies change with the length of a text only beyond max_position_embeddings, where Irori runs nothing
      need("factor");
      return { type: "default" };
    case "llama3":
      return {
        type,
        factor: need("factor"),
        lowFrequency: need("low_freq_factor"),
        highFrequency: need("high_freq_factor"),
        originalPositions: need("original_max_position_embeddings"),
      };
    case "yarn":
      return yarnOf(s, need("factor"), maxPositions);
    case "longrope":
    case "su": // as its first files called it
      return longropeOf(s, need("original_max_position_embeddings"), maxPositions);
    default:
      throw new IroriError("unsupported", {
        what: "config.json: rotary scaling is not supported",
        got: type,
        wanted: "default, linear, dynamic, llama3, yarn or longrope",
      });
  }
}

/** Peng et al. 2023; the temperature of the scores is a factor of the tables. */
function yarnOf(s: Settings, factor: number, maxPositions: number): RotaryScaling {
  const temperature = (scale: number): number => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  const byScales =
    s.mscale && s.mscale_all_dim ? temperature(s.mscale) / temperature(s.mscale_all_dim) : temperature(1);
  return {
    type: "yarn",
    factor,
    originalPositions: s.original_max_position_embeddings ?? maxPositions,
    fast: s.beta_fast ?? 32,
    slow: s.beta_slow ?? 1,
    isTruncated: s.truncate ?? true,
    magnitude: s.attention_factor ?? byScales,
  };
}

/** Ding et al. 2024, for texts within the original positions: each frequency has a divisor, and all share a temperature. */
function longropeOf(s: Settings, originalPositions: number, maxPositions: number): RotaryScaling {
  if (s.short_factor === undefined)
    throw new IroriError("unsupported", { what: 'config.json: rotary scaling "longrope" lacks short_factor' });
  const factor = s.factor ?? maxPositions / originalPositions;
  const magnitude =
    s.attention_factor ?? (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalPositions)));
  return { type: "factors", factors: s.short_factor, magnitude };
}
