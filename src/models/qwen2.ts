// The qwen2 family (Qwen 1.5, 2, 2.5, DeepSeek-R1 distillates …): llama's layers with biases of q, k and v.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import { add, gather, linears, mixHeads, rmsNorm, silu, tap, type Value } from "../tensor/mod.ts";
import type { Family, Tokens, Weights } from "./family.ts";
import { type GatedConfig, gatedConfig, gatedHead, gatedMembers, gatedWeights, projections } from "./gated-decoder.ts";
import { addedTo, attendByHeads, gatedMlp, inLayer } from "./layers.ts";
import { tablesOf } from "./rotary-tables.ts";
import { layerTypes, readSettings, size, windowsOf } from "./settings.ts";

export interface Qwen2Config extends GatedConfig {
  /** Of each layer: tokens that a query sees, its own included; null: all. */
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

function trace(c: Qwen2Config, weight: Weights, tokens: Tokens): Value {
  const shapes = layerShapes(c);
  const tables = tablesOf(c.rotary, c.headSize, c.maxPositions);
  const scale = 1 / Math.sqrt(c.headSize);
  let x = tap(gather(weight("model.embed_tokens.weight", [c.vocabSize, c.hiddenSize]), tokens.ids), "hook_embed");
  for (let l = 0; l < c.layers; l++) {
    const w = (name: keyof typeof shapes) => weight(`model.layers.${l}.${name}`, shapes[name]);
    const hook = inLayer(l);
    x = tap(x, hook("hook_resid_pre"));
    const h = rmsNorm(x, w("input_layernorm.weight"), c.epsilon, hook("ln1"));
    const parts = ["q", "k", "v"] as const;
    const products = linears(
      h,
      parts.map((part) => w(`self_attn.${part}_proj.weight`)),
    );
    const qkv = products.map((y, i) => add(y, w(`self_attn.${parts[i] as "q" | "k" | "v"}_proj.bias`)));
    const z = attendByHeads(c, tokens, l, qkv as [Value, Value, Value], {
      tables,
      scale,
      window: c.windows[l] ?? undefined,
    });
    x = addedTo(
      x,
      mixHeads(z, w("self_attn.o_proj.weight"), { heads: c.heads, hook: hook("attn") }),
      hook("hook_attn_out"),
      hook("hook_resid_mid"),
    );
    const m = rmsNorm(x, w("post_attention_layernorm.weight"), c.epsilon, hook("ln2"));
    const mlp = [w("mlp.gate_proj.weight"), w("mlp.up_proj.weight"), w("mlp.down_proj.weight")] as const;
    x = addedTo(x, gatedMlp(m, mlp, silu, hook("mlp")), hook("hook_mlp_out"), hook("hook_resid_post"));
  }
  return rmsNorm(x, weight("model.norm.weight", [c.hiddenSize]), c.epsilon, "ln_final");
}

export const qwen2: Family<Qwen2Config> = {
  name: "qwen2",
  modelTypes: ["qwen2"],
  prefix: "model.",
  isCausal: true,
  loraTargets: ["q_proj", "v_proj"],
  parseConfig,
  weights: (c) => gatedWeights(c, layerShapes(c)),
  trace,
  head: gatedHead(),
};
