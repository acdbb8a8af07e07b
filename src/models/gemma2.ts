// The gemma2 family (Gemma 2): norms before and after attention and MLP, soft caps, every second layer with a window.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import {
  add,
  gather,
  geluTanh,
  linears,
  mixHeads,
  mul,
  rmsNorm,
  scalar,
  softCap,
  tap,
  type Value,
} from "../tensor/mod.ts";
import type { Family, Tokens, Weights } from "./family.ts";
import {
  type GatedConfig,
  gatedConfig,
  gatedHead,
  gatedMembers,
  gatedParts,
  gatedWeights,
  projections,
} from "./gated-decoder.ts";
import { gatedGguf, sandwichNames, windowsOfGguf } from "./gated-gguf.ts";
import { readMetadata } from "./gguf-metadata.ts";
import { addedTo, attendByHeads, gatedMlp, inLayer } from "./layers.ts";
import { tablesOf } from "./rotary-tables.ts";
import { layerTypes, readSettings, size, windowsOf } from "./settings.ts";

export interface Gemma2Config extends GatedConfig {
  /** Factor of the scores. */
  readonly scale: number;
  /** Bounds of scores and logits; absent: none. */
  readonly scoreCap?: number | undefined;
  readonly logitCap?: number | undefined;
  readonly windows: readonly (number | null)[];
}

const schema = z.looseObject({
  ...gatedMembers,
  hidden_activation: z.literal("gelu_pytorch_tanh").nullish(),
  attention_bias: z.literal(false).optional(),
  use_bidirectional_attention: z.literal(false).nullish(),
  attn_logit_softcapping: z.number().positive().nullish(),
  final_logit_softcapping: z.number().positive().nullish(),
  query_pre_attn_scalar: z.number().positive(),
  layer_types: layerTypes,
  sliding_window: size.nullish(),
});

function parseConfig(json: unknown): Gemma2Config {
  const c = readSettings(schema, json, "gemma2");
  return {
    ...gatedConfig({ ...c, head_dim: c.head_dim ?? 256 }, "gemma2", { isTied: true }),
    scale: c.query_pre_attn_scalar ** -0.5,
    scoreCap: c.attn_logit_softcapping ?? undefined,
    logitCap: c.final_logit_softcapping ?? undefined,
    windows: windowsOf(c.layer_types, c.num_hidden_layers, c.sliding_window ?? 4096, (layer) => layer % 2 === 0),
  };
}

const layerShapes = (c: Gemma2Config) => ({
  ...projections(c),
  "input_layernorm.weight": [c.hiddenSize],
  "post_attention_layernorm.weight": [c.hiddenSize],
  "pre_feedforward_layernorm.weight": [c.hiddenSize],
  "post_feedforward_layernorm.weight": [c.hiddenSize],
});

function trace(c: Gemma2Config, weight: Weights, tokens: Tokens): Value {
  const shapes = layerShapes(c);
  const tables = tablesOf(c.rotary, c.headSize, c.maxPositions);
  // Gemma stores norm weights minus one
  const norm = (y: Value, w: Value, hook: string): Value => rmsNorm(y, add(w, scalar(1)), c.epsilon, hook);
  const embedded = gather(weight("model.embed_tokens.weight", [c.vocabSize, c.hiddenSize]), tokens.ids);
  let x = tap(mul(embedded, scalar(Math.fround(Math.sqrt(c.hiddenSize)))), "hook_embed");
  for (let l = 0; l < c.layers; l++) {
    const w = (name: keyof typeof shapes) => weight(`model.layers.${l}.${name}`, shapes[name]);
    const hook = inLayer(l);
    x = tap(x, hook("hook_resid_pre"));
    const h = norm(x, w("input_layernorm.weight"), hook("ln1"));
    const qkv = linears(h, [w("self_attn.q_proj.weight"), w("self_attn.k_proj.weight"), w("self_attn.v_proj.weight")]);
    const options = { tables, scale: c.scale, window: c.windows[l] ?? undefined, softCap: c.scoreCap };
    const z = attendByHeads(c, tokens, l, qkv as [Value, Value, Value], options);
    const a = norm(
      mixHeads(z, w("self_attn.o_proj.weight"), { heads: c.heads, hook: hook("attn") }),
      w("post_attention_layernorm.weight"),
      hook("ln1_post"),
    );
    x = addedTo(x, a, hook("hook_attn_out"), hook("hook_resid_mid"));
    const m = norm(x, w("pre_feedforward_layernorm.weight"), hook("ln2"));
    const mlp = [w("mlp.gate_proj.weight"), w("mlp.up_proj.weight"), w("mlp.down_proj.weight")] as const;
    const made = gatedMlp(m, mlp, geluTanh, hook("mlp"));
    const f = norm(made, w("post_feedforward_layernorm.weight"), hook("ln2_post"));
    x = addedTo(x, f, hook("hook_mlp_out"), hook("hook_resid_post"));
  }
  return norm(x, weight("model.norm.weight", [c.hiddenSize]), "ln_final");
}

export const gemma2: Family<Gemma2Config> = {
  name: "gemma2",
  modelTypes: ["gemma2"],
  prefix: "model.",
  isCausal: true,
  loraTargets: ["q_proj", "v_proj"],
  delicate: ["v_proj", "down_proj"],
  parseConfig,
  weights: (c) => gatedWeights(c, layerShapes(c)),
  trace,
  parts: (c) =>
    gatedParts(c, { mlpNorm: "pre_feedforward_layernorm", normOffset: 1, isCapped: c.logitCap !== undefined }),
  gguf: gatedGguf({
    architectures: ["gemma2"],
    names: sandwichNames,
    normOffset: 1,
    config: (c, source) => {
      const { optionalFloat } = readMetadata(source.metadata);
      return {
        ...c,
        // not in the file: of the published models only the one of 46 layers differs
        scale: (c.layers === 46 ? c.hiddenSize / c.heads : c.headSize) ** -0.5,
        scoreCap: optionalFloat("attn_logit_softcapping"),
        logitCap: optionalFloat("final_logit_softcapping"),
        windows: windowsOfGguf(source, c.layers, (layer) => layer % 2 === 0),
      };
    },
  }),
  head: gatedHead((c, logits) => (c.logitCap === undefined ? logits : softCap(logits, c.logitCap))),
};
