// The qwen2 family (Qwen 1.5, 2, 2.5, DeepSeek-R1 distillates …): llama's layers with biases of q, k and v.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import { type GatedConfig, gatedConfig, gatedFamily, gatedMembers } from "./gated-decoder.ts";
import { gatedGguf, windowsOfGguf } from "./gated-gguf.ts";
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

export const qwen2 = gatedFamily<Qwen2Config>({
  name: "qwen2",
  parseConfig,
  more: (c) => ({
    "self_attn.q_proj.bias": [c.heads * c.headSize],
    "self_attn.k_proj.bias": [c.kvHeads * c.headSize],
    "self_attn.v_proj.bias": [c.kvHeads * c.headSize],
  }),
  gguf: gatedGguf({
    architectures: ["qwen2"],
    config: (c, source) => ({ ...c, windows: windowsOfGguf(source, c.layers) }),
  }),
});
