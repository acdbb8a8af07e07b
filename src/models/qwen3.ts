// The qwen3 family (dense Qwen 3): llama's layers with a norm of each head's q and k.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import { rmsNorm } from "../tensor/mod.ts";
import { type GatedConfig, gatedConfig, gatedFamily, gatedMembers } from "./gated-decoder.ts";
import { gatedGguf, windowsOfGguf } from "./gated-gguf.ts";
import { layerTypes, readSettings, size, windowsOf } from "./settings.ts";

export interface Qwen3Config extends GatedConfig {
  readonly windows: readonly (number | null)[];
}

const schema = z.looseObject({
  ...gatedMembers,
  hidden_act: z.literal("silu"),
  attention_bias: z.literal(false).optional(),
  layer_types: layerTypes,
  sliding_window: size.nullish(),
  use_sliding_window: z.boolean().optional(),
  max_window_layers: z.number().int().nonnegative().optional(),
});

function parseConfig(json: unknown): Qwen3Config {
  const c = readSettings(schema, json, "qwen3");
  const isSliding = (layer: number) => (c.use_sliding_window ?? false) && layer >= (c.max_window_layers ?? 28);
  return {
    ...gatedConfig({ ...c, head_dim: c.head_dim ?? 128 }, "qwen3"),
    windows: windowsOf(c.layer_types, c.num_hidden_layers, c.sliding_window, isSliding),
  };
}

export const qwen3 = gatedFamily<Qwen3Config>({
  name: "qwen3",
  parseConfig,
  more: (c) => ({
    "self_attn.q_norm.weight": [c.headSize],
    "self_attn.k_norm.weight": [c.headSize],
  }),
  gguf: gatedGguf({
    architectures: ["qwen3"],
    config: (c, source) => ({ ...c, windows: windowsOfGguf(source, c.layers) }),
  }),
  attention: (c, _, w) => ({
    normalize: (y, part) => rmsNorm(y, w(`self_attn.${part}_norm.weight`), c.epsilon),
  }),
});
