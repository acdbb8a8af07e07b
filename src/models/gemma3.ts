// The gemma3 family (text models of Gemma 3): Gemma 2's norms, q and k normed by heads, two rotary bases.
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
import { rotaryByKind, rotaryOf } from "./rotary-config.ts";
import { type Rotary, tablesOf } from "./rotary-tables.ts";
import { layerTypes, readSettings, size, windowsOf } from "./settings.ts";

export interface Gemma3Config extends GatedConfig {
  /** Factor of the scores. */
  readonly scale: number;
  /** Bounds of scores and logits; absent: none. */
  readonly scoreCap?: number | undefined;
  readonly logitCap?: number | undefined;
  readonly windows: readonly (number | null)[];
  /** Of layers with a window; `rotary` is that of the others. */
  readonly windowRotary: Rotary;
}

const schema = z.looseObject({
  ...gatedMembers,
  // transformers 5: settings of each kind of layer; 4: rope_theta, rope_scaling and rope_local_base_freq
  rope_parameters: rotaryByKind.nullish(),
  rope_local_base_freq: z.number().positive().optional(),
  hidden_activation: z.literal("gelu_pytorch_tanh").nullish(),
  attention_bias: z.literal(false).optional(),
  use_bidirectional_attention: z.literal(false).nullish(),
  attn_logit_softcapping: z.number().positive().nullish(),
  final_logit_softcapping: z.number().positive().nullish(),
  query_pre_attn_scalar: z.number().positive(),
  layer_types: layerTypes,
  sliding_window: size.nullish(),
  sliding_window_pattern: size.nullish(),
  _sliding_window_pattern: size.nullish(),
});

function parseConfig(json: unknown): Gemma3Config {
  const { rope_parameters: kinds, ...c } = readSettings(schema, json, "gemma3");
  const pattern = c.sliding_window_pattern ?? c._sliding_window_pattern ?? 6;
  const whole = { ...c, rope_parameters: kinds?.full_attention, head_dim: c.head_dim ?? 256 };
  const local = { rope_parameters: kinds?.sliding_attention, rope_theta: c.rope_local_base_freq };
  return {
    ...gatedConfig(whole, "gemma3", { isTied: true, theta: 1_000_000 }),
    scale: c.query_pre_attn_scalar ** -0.5,
    scoreCap: c.attn_logit_softcapping ?? undefined,
    logitCap: c.final_logit_softcapping ?? undefined,
    windows: windowsOf(c.layer_types, c.num_hidden_layers, c.sliding_window ?? 4096, (l) => (l + 1) % pattern !== 0),
    windowRotary: rotaryOf(local, c.max_position_embeddings),
  };
}

const layerShapes = (c: Gemma3Config) => ({
  ...projections(c),
  "self_attn.q_norm.weight": [c.headSize],
  "self_attn.k_norm.weight": [c.headSize],
  "input_layernorm.weight": [c.hiddenSize],
  "post_attention_layernorm.weight": [c.hiddenSize],
  "pre_feedforward_layernorm.weight": [c.hiddenSize],
  "post_feedforward_layernorm.weight": [c.hiddenSize],
});

function trace(c: Gemma3Config, weight: Weights, tokens: Tokens): Value {
  const shapes = layerShapes(c);
  const wide = tablesOf(c.rotary, c.headSize, c.maxPositions);
  const local = tablesOf(c.windowRotary, c.headSize, c.maxPositions);
  // Gemma stores norm weights minus one
  const norm = (y: Value, w: Value, hook?: string): Value => rmsNorm(y, add(w, scalar(1)), c.epsilon, hook);
  const embedded = gather(weight("model.embed_tokens.weight", [c.vocabSize, c.hiddenSize]), tokens.ids);
  let x = tap(mul(embedded, scalar(Math.fround(Math.sqrt(c.hiddenSize)))), "hook_embed");
  for (let l = 0; l < c.layers; l++) {
    const w = (name: keyof typeof shapes) => weight(`model.layers.${l}.${name}`, shapes[name]);
    const hook = inLayer(l);
    x = tap(x, hook("hook_resid_pre"));
    const h = norm(x, w("input_layernorm.weight"), hook("ln1"));
    const qkv = linears(h, [w("self_attn.q_proj.weight"), w("self_attn.k_proj.weight"), w("self_attn.v_proj.weight")]);
    const window = c.windows[l] ?? undefined;
    const z = attendByHeads(c, tokens, l, qkv as [Value, Value, Value], {
      ...{ tables: window === undefined ? wide : local, scale: c.scale, window, softCap: c.scoreCap },
      normalize: (y, part) => norm(y, w(`self_attn.${part}_norm.weight`)),
    });
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

export const gemma3: Family<Gemma3Config> = {
  name: "gemma3",
  modelTypes: ["gemma3_text"],
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
    architectures: ["gemma3"],
    names: sandwichNames,
    normOffset: 1,
    config: (c, source) => {
      const { optionalFloat, optionalInteger } = readMetadata(source.metadata);
      const pattern = optionalInteger("attention.sliding_window_pattern") ?? 6;
      return {
        ...c,
        // not in the file: of the published models only the one of 62 layers differs
        scale: (c.layers === 62 ? c.hiddenSize / c.heads : c.headSize) ** -0.5,
        logitCap: optionalFloat("final_logit_softcapping"),
        windows: windowsOfGguf(source, c.layers, (layer) => (layer + 1) % pattern !== 0),
        windowRotary: {
          ...{ theta: optionalFloat("rope.freq_base_swa") ?? 10000, share: c.rotary.share },
          scaling: { type: "default" },
        },
      };
    },
  }),
  head: gatedHead((c, logits) => (c.logitCap === undefined ? logits : softCap(logits, c.logitCap))),
};
