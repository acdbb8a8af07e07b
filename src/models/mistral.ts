// The mistral family (Mistral 7B, Ministral, Zephyr …): llama's layers with a sliding window.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import type { Family } from "./family.ts";
import {
  type GatedConfig,
  gatedConfig,
  gatedHead,
  gatedMembers,
  gatedWeights,
  projections,
  traceGated,
} from "./gated-decoder.ts";
import { readSettings, size } from "./settings.ts";

export interface MistralConfig extends GatedConfig {
  /** Tokens that a query sees, its own included; absent: all. */
  readonly window?: number | undefined;
}

const schema = z.looseObject({ ...gatedMembers, hidden_act: z.literal("silu"), sliding_window: size.nullish() });

function parseConfig(json: unknown): MistralConfig {
  const c = readSettings(schema, json, "mistral");
  return { ...gatedConfig(c, "mistral"), window: c.sliding_window ?? undefined };
}

const layerShapes = (c: MistralConfig) => ({
  ...projections(c),
  "input_layernorm.weight": [c.hiddenSize],
  "post_attention_layernorm.weight": [c.hiddenSize],
});

export const mistral: Family<MistralConfig> = {
  name: "mistral",
  modelTypes: ["mistral"],
  prefix: "model.",
  isCausal: true,
  loraTargets: ["q_proj", "v_proj"],
  parseConfig,
  weights: (c) => gatedWeights(c, layerShapes(c)),
  trace: (c, weight, tokens) => traceGated(c, weight, tokens, layerShapes(c), () => ({ window: c.window })),
  head: gatedHead(),
};
