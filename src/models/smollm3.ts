// The smollm3 family: llama's layers, some of them without rotary embedding.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import { gather, linears, mixHeads, rmsNorm, silu, tap, type Value } from "../tensor/mod.ts";
import type { Family, Tokens, Weights } from "./family.ts";
import { type GatedConfig, gatedConfig, gatedHead, gatedMembers, gatedWeights, projections } from "./gated-decoder.ts";
import { addedTo, attendByHeads, gatedMlp, inLayer } from "./layers.ts";
import { tablesOf } from "./rotary-tables.ts";
import { layerTypes, readSettings, size, windowsOf } from "./settings.ts";

export interface Smollm3Config extends GatedConfig {
  /** Of each layer: whether its q and k are rotated. */
  readonly isRotated: readonly boolean[];
  /** Of each layer: tokens that a query sees, its own included; null: all. */
  readonly windows: readonly (number | null)[];
}

const schema = z.looseObject({
  ...gatedMembers,
  hidden_act: z.literal("silu"),
  attention_bias: z.literal(false).optional(),
  mlp_bias: z.literal(false).optional(),
  layer_types: layerTypes,
  sliding_window: size.nullish(),
  use_sliding_window: z.boolean().optional(),
  no_rope_layers: z.array(z.union([z.literal(0), z.literal(1)])).nullish(),
  no_rope_layer_interval: size.optional(),
});

function parseConfig(json: unknown): Smollm3Config {
  const c = readSettings(schema, json, "smollm3");
  const interval = c.no_rope_layer_interval ?? 4;
  const rotated =
    c.no_rope_layers ?? Array.from({ length: c.num_hidden_layers }, (_, l) => Number((l + 1) % interval !== 0));
  const isSliding = (layer: number) => (c.use_sliding_window ?? false) && rotated[layer] === 0;
  return {
    ...gatedConfig(c, "smollm3", { isTied: true, theta: 2_000_000 }),
    isRotated: rotated.map((flag) => flag === 1),
    windows: windowsOf(c.layer_types, c.num_hidden_layers, c.sliding_window, isSliding),
  };
}

const layerShapes = (c: Smollm3Config) => ({
  ...projections(c),
  "input_layernorm.weight": [c.hiddenSize],
  "post_attention_layernorm.weight": [c.hiddenSize],
});

function trace(c: Smollm3Config, weight: Weights, tokens: Tokens): Value {
  const shapes = layerShapes(c);
  const rotary = tablesOf(c.rotary, c.headSize, c.maxPositions);
  const scale = 1 / Math.sqrt(c.headSize);
  let x = tap(gather(weight("model.embed_tokens.weight", [c.vocabSize, c.hiddenSize]), tokens.ids), "hook_embed");
  for (let l = 0; l < c.layers; l++) {
    const w = (name: keyof typeof shapes) => weight(`model.layers.${l}.${name}`, shapes[name]);
    const hook = inLayer(l);
    x = tap(x, hook("hook_resid_pre"));
    const h = rmsNorm(x, w("input_layernorm.weight"), c.epsilon, hook("ln1"));
    const qkv = linears(h, [w("self_attn.q_proj.weight"), w("self_attn.k_proj.weight"), w("self_attn.v_proj.weight")]);
    const tables = c.isRotated[l] ? rotary : undefined;
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

export const smollm3: Family<Smollm3Config> = {
  name: "smollm3",
  modelTypes: ["smollm3"],
  prefix: "model.",
  isCausal: true,
  loraTargets: ["q_proj", "v_proj"],
  parseConfig,
  weights: (c) => gatedWeights(c, layerShapes(c)),
  trace,
  head: gatedHead(),
};
