// The olmo2 family (OLMo 2): norms after attention and MLP, and of q and k over their whole width.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import { gather, linears, mixHeads, reshape, rmsNorm, silu, tap, type Value } from "../tensor/mod.ts";
import type { Family, Tokens, Weights } from "./family.ts";
import { type GatedConfig, gatedConfig, gatedHead, gatedMembers, gatedWeights, projections } from "./gated-decoder.ts";
import { gatedGguf, sandwichNames } from "./gated-gguf.ts";
import { addedTo, attendByHeads, gatedMlp, inLayer } from "./layers.ts";
import { tablesOf } from "./rotary-tables.ts";
import { readSettings } from "./settings.ts";

export type Olmo2Config = GatedConfig;

const schema = z.looseObject({
  ...gatedMembers,
  hidden_act: z.literal("silu"),
  attention_bias: z.literal(false).optional(),
});

const parseConfig = (json: unknown): Olmo2Config => gatedConfig(readSettings(schema, json, "olmo2"), "olmo2");

const layerShapes = (c: Olmo2Config) => ({
  ...projections(c),
  "self_attn.q_norm.weight": [c.heads * c.headSize],
  "self_attn.k_norm.weight": [c.kvHeads * c.headSize],
  "post_attention_layernorm.weight": [c.hiddenSize],
  "post_feedforward_layernorm.weight": [c.hiddenSize],
});

function trace(c: Olmo2Config, weight: Weights, tokens: Tokens): Value {
  const shapes = layerShapes(c);
  const tables = tablesOf(c.rotary, c.headSize, c.maxPositions);
  const scale = 1 / Math.sqrt(c.headSize);
  let x = tap(gather(weight("model.embed_tokens.weight", [c.vocabSize, c.hiddenSize]), tokens.ids), "hook_embed");
  for (let l = 0; l < c.layers; l++) {
    const w = (name: keyof typeof shapes) => weight(`model.layers.${l}.${name}`, shapes[name]);
    const hook = inLayer(l);
    x = tap(x, hook("hook_resid_pre"));
    const qkv = linears(x, [w("self_attn.q_proj.weight"), w("self_attn.k_proj.weight"), w("self_attn.v_proj.weight")]);
    const normalize = (y: Value, part: "q" | "k"): Value => {
      const n = part === "q" ? c.heads : c.kvHeads;
      const flat = reshape(y, [...tokens.lead, n * c.headSize]);
      return reshape(rmsNorm(flat, w(`self_attn.${part}_norm.weight`), c.epsilon), y.shape);
    };
    const z = attendByHeads(c, tokens, l, qkv as [Value, Value, Value], { tables, scale, normalize });
    const attended = mixHeads(z, w("self_attn.o_proj.weight"), { heads: c.heads, hook: hook("attn") });
    const a = rmsNorm(attended, w("post_attention_layernorm.weight"), c.epsilon, hook("ln1_post"));
    x = addedTo(x, a, hook("hook_attn_out"), hook("hook_resid_mid"));
    const mlp = [w("mlp.gate_proj.weight"), w("mlp.up_proj.weight"), w("mlp.down_proj.weight")] as const;
    const made = gatedMlp(x, mlp, silu, hook("mlp"));
    const m = rmsNorm(made, w("post_feedforward_layernorm.weight"), c.epsilon, hook("ln2_post"));
    x = addedTo(x, m, hook("hook_mlp_out"), hook("hook_resid_post"));
  }
  return rmsNorm(x, weight("model.norm.weight", [c.hiddenSize]), c.epsilon, "ln_final");
}

export const olmo2: Family<Olmo2Config> = {
  name: "olmo2",
  modelTypes: ["olmo2"],
  prefix: "model.",
  isCausal: true,
  loraTargets: ["q_proj", "v_proj"],
  delicate: ["v_proj", "down_proj"],
  parseConfig,
  weights: (c) => gatedWeights(c, layerShapes(c)),
  trace,
  head: gatedHead(),
  gguf: gatedGguf({ architectures: ["olmo2"], names: sandwichNames, config: (c) => c }),
};
