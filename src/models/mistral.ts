// The mistral family (Mistral 7B, Ministral, Zephyr …): llama's layers with a sliding window.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import { gather, linears, mixHeads, rmsNorm, silu, tap, type Value } from "../tensor/mod.ts";
import type { Family, Tokens, Weights } from "./family.ts";
import { type GatedConfig, gatedConfig, gatedHead, gatedMembers, gatedWeights, projections } from "./gated-decoder.ts";
import { addedTo, attendByHeads, gatedMlp, inLayer } from "./layers.ts";
import { tablesOf } from "./rotary-tables.ts";
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

function trace(c: MistralConfig, weight: Weights, tokens: Tokens): Value {
  const shapes = layerShapes(c);
  const tables = tablesOf(c.rotary, c.headSize, c.maxPositions);
  const options = { tables, scale: 1 / Math.sqrt(c.headSize), window: c.window };
  let x = tap(gather(weight("model.embed_tokens.weight", [c.vocabSize, c.hiddenSize]), tokens.ids), "hook_embed");
  for (let l = 0; l < c.layers; l++) {
    const w = (name: keyof typeof shapes) => weight(`model.layers.${l}.${name}`, shapes[name]);
    const hook = inLayer(l);
    x = tap(x, hook("hook_resid_pre"));
    const h = rmsNorm(x, w("input_layernorm.weight"), c.epsilon, hook("ln1"));
    const qkv = linears(h, [w("self_attn.q_proj.weight"), w("self_attn.k_proj.weight"), w("self_attn.v_proj.weight")]);
    const z = attendByHeads(c, tokens, l, qkv as [Value, Value, Value], options);
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

export const mistral: Family<MistralConfig> = {
  name: "mistral",
  modelTypes: ["mistral"],
  prefix: "model.",
  isCausal: true,
  loraTargets: ["q_proj", "v_proj"],
  parseConfig,
  weights: (c) => gatedWeights(c, layerShapes(c)),
  trace,
  head: gatedHead(),
};
