// The qwen2 family (Qwen 1.5, 2, 2.5, DeepSeek-R1 distillates …): llama's layers with biases of q, k and v.
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
import { layerTypes, readSettings, size, windowsOf } from "./settings.ts";

export interface Qwen2Config extends GatedConfig {
  readonly windows: readonly (number | null)[];
}

const schema = z.looseObject({
  ...gatedMembers,
  hidden_act: z.literal("silu"),
  layer_types: layerTypes,
  sliding_window: size.nullish(),
  use_sliding_window: z.boolean().optional(),
  max_window_layers: z.number().int().nonnegative().optional(),
});

function parseConfig(json: unknown): Qwen2Config {
  const c = readSettings(schema, json, "qwen2");
  const isSliding = (layer: number) => (c.use_sliding_window ?? false) && layer >= (c.max_window_layers ?? 28);
  return {
    ...gatedConfig(c, "qwen2"),
    windows: windowsOf(c.layer_types, c.num_hidden_layers, c.sliding_window, isSliding),
  };
}

const layerShapes = (c: Qwen2Config) => ({
  ...projections(c),
  "self_attn.q_proj.bias": [c.heads * c.headSize],
  "self_attn.k_proj.bias": [c.kvHeads * c.headSize],
  "self_attn.v_proj.bias": [c.kvHeads * c.headSize],
  "input_layernorm.weight": [c.hiddenSize],
  "post_attention_layernorm.weight": [c.hiddenSize],
});

export const qwen2: Family<Qwen2Config> = {
  name: "qwen2",
  modelTypes: ["qwen2"],
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
