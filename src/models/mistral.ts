// The mistral family (Mistral 7B, Ministral, Zephyr …): llama's layers with a sliding window.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import type { Family } from "./family.ts";
import {
  type GatedConfig,
  gatedConfig,
  gatedHead,
  gatedMembers,
  gatedParts,
  gatedWeights,
  projections,
  traceGated,
} from "./gated-decoder.ts";
import { readSettings, size, windowsOf } from "./settings.ts";

export interface MistralConfig extends GatedConfig {
  readonly windows: readonly (number | null)[];
}

const schema = z.looseObject({ ...gatedMembers, hidden_act: z.literal("silu"), sliding_window: size.nullish() });

function parseConfig(json: unknown): MistralConfig {
  const c = readSettings(schema, json, "mistral");
  return { ...gatedConfig(c, "mistral"), windows: windowsOf(null, c.num_hidden_layers, c.sliding_window, () => true) };
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
  trace: (c, weight, tokens) =>
    traceGated(c, weight, tokens, layerShapes(c), (l) => ({ window: c.windows[l] ?? undefined })),
  parts: (c) => gatedParts(c),
  head: gatedHead(),
};
