// The gpt_neox family (Pythia, GPT-NeoX-20B …): part of the channels rotated, attention and MLP side by side.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import {
  add,
  arange,
  cast,
  expandTo,
  gather,
  gelu,
  geluTanh,
  int64,
  layerNorm,
  lessEqual,
  linear,
  mixHeads,
  reshape,
  slice,
  split,
  tap,
  type Value,
} from "../tensor/mod.ts";
import type { Config, Family, Tokens, Weights } from "./family.ts";
import { activated, addedTo, affine, attendByHeads, inEveryLayer, inLayer } from "./layers.ts";
import type { Parts } from "./processing.ts";
import { rotaryMembers, rotaryOf, rotaryPositions } from "./rotary-config.ts";
import { type Rotary, tablesOf } from "./rotary-tables.ts";
import { checked, readSettings, size } from "./settings.ts";

const activations = { gelu, gelu_new: geluTanh, gelu_fast: geluTanh, gelu_pytorch_tanh: geluTanh } as const;

export interface GptNeoxConfig extends Config {
  /** F: width of the MLP. */
  readonly intermediateSize: number;
  readonly epsilon: number;
  readonly rotary: Rotary;
  readonly activation: keyof typeof activations;
  /** Attention and MLP read the same residual stream. */
  readonly isParallel: boolean;
  /** The head is the embedding. */
  readonly isTied: boolean;
}

const schema = z.looseObject({
  ...rotaryMembers,
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  max_position_embeddings: size,
  layer_norm_eps: z.number().positive(),
  hidden_act: z.enum(["gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"]),
  attention_bias: z.literal(true).optional(),
  use_parallel_residual: z.boolean().optional(),
  tie_word_embeddings: z.boolean().optional(),
  // transformers 4
  rotary_pct: z.number().positive().max(1).optional(),
  rotary_emb_base: z.number().positive().optional(),
});

function parseConfig(json: unknown): GptNeoxConfig {
  const c = readSettings(schema, json, "gpt_neox");
  const settings = {
    ...c,
    rope_theta: c.rope_theta ?? c.rotary_emb_base,
    partial_rotary_factor: c.partial_rotary_factor ?? c.rotary_pct ?? 0.25,
  };
  return checked(
    {
      vocabSize: c.vocab_size,
      hiddenSize: c.hidden_size,
      intermediateSize: c.intermediate_size,
      layers: c.num_hidden_layers,
      heads: c.num_attention_heads,
      kvHeads: c.num_attention_heads,
      headSize: c.hidden_size / c.num_attention_heads,
      maxPositions: rotaryPositions(settings, c.max_position_embeddings),
      epsilon: c.layer_norm_eps,
      rotary: rotaryOf(settings, c.max_position_embeddings),
      activation: c.hidden_act,
      isParallel: c.use_parallel_residual ?? true,
      isTied: c.tie_word_embeddings ?? false,
    },
    "gpt_neox",
  );
}

const layerShapes = (c: GptNeoxConfig) => ({
  "input_layernorm.weight": [c.hiddenSize],
  "input_layernorm.bias": [c.hiddenSize],
  "attention.query_key_value.weight": [3 * c.hiddenSize, c.hiddenSize],
  "attention.query_key_value.bias": [3 * c.hiddenSize],
  "attention.dense.weight": [c.hiddenSize, c.hiddenSize],
  "attention.dense.bias": [c.hiddenSize],
  "post_attention_layernorm.weight": [c.hiddenSize],
  "post_attention_layernorm.bias": [c.hiddenSize],
  "mlp.dense_h_to_4h.weight": [c.intermediateSize, c.hiddenSize],
  "mlp.dense_h_to_4h.bias": [c.intermediateSize],
  "mlp.dense_4h_to_h.weight": [c.hiddenSize, c.intermediateSize],
  "mlp.dense_4h_to_h.bias": [c.hiddenSize],
});

const weights = (c: GptNeoxConfig): ReadonlyMap<string, readonly number[]> =>
  new Map<string, readonly number[]>([
    ["gpt_neox.embed_in.weight", [c.vocabSize, c.hiddenSize]],
    ...inEveryLayer(c.layers, "gpt_neox.layers", layerShapes(c)),
    ["gpt_neox.final_layer_norm.weight", [c.hiddenSize]],
    ["gpt_neox.final_layer_norm.bias", [c.hiddenSize]],
    ...(c.isTied ? [] : [["embed_out.weight", [c.vocabSize, c.hiddenSize]] as const]),
  ]);

function trace(c: GptNeoxConfig, weight: Weights, tokens: Tokens): Value {
  const shapes = layerShapes(c);
  const d = [c.hiddenSize];
  const tables = tablesOf(c.rotary, c.headSize, c.maxPositions);
  let x = tap(gather(weight("gpt_neox.embed_in.weight", [c.vocabSize, ...d]), tokens.ids), "hook_embed");
  for (let l = 0; l < c.layers; l++) {
    const w = (name: keyof typeof shapes) => weight(`gpt_neox.layers.${l}.${name}`, shapes[name]);
    const hook = inLayer(l);
    x = tap(x, hook("hook_resid_pre"));
    const h = layerNorm(x, w("input_layernorm.weight"), w("input_layernorm.bias"), c.epsilon, hook("ln1"));
    // rows of the weight are q, k and v of the first head, then those of the second …
    const all = affine(h, w("attention.query_key_value.weight"), w("attention.query_key_value.bias"));
    const byHead = reshape(all, [...tokens.lead, c.heads, 3 * c.headSize]);
    const qkv = split(byHead, -1, [c.headSize, c.headSize, c.headSize]).map((part) =>
      reshape(part, [...tokens.lead, c.hiddenSize]),
    );
    const options = { tables, scale: 1 / Math.sqrt(c.headSize) };
    const z = attendByHeads(c, tokens, l, qkv as [Value, Value, Value], options);
    const attended = tap(
      add(mixHeads(z, w("attention.dense.weight"), { heads: c.heads, hook: hook("attn") }), w("attention.dense.bias")),
      hook("hook_attn_out"),
    );
    const middle = c.isParallel ? x : tap(add(x, attended), hook("hook_resid_mid"));
    const m = layerNorm(
      middle,
      w("post_attention_layernorm.weight"),
      w("post_attention_layernorm.bias"),
      c.epsilon,
      hook("ln2"),
    );
    const pre = affine(m, w("mlp.dense_h_to_4h.weight"), w("mlp.dense_h_to_4h.bias"));
    const post = activated(pre, activations[c.activation], hook("mlp"));
    const out = affine(post, w("mlp.dense_4h_to_h.weight"), w("mlp.dense_4h_to_h.bias"));
    x = addedTo(c.isParallel ? add(x, attended) : middle, out, hook("hook_mlp_out"), hook("hook_resid_post"));
  }
  const [norm, bias] = ["weight", "bias"].map((part) => weight(`gpt_neox.final_layer_norm.${part}`, d)) as [
    Value,
    Value,
  ];
  return layerNorm(x, norm, bias, c.epsilon, "ln_final");
}

function parts(c: GptNeoxConfig): Parts {
  const inEvery = <T>(of: (layer: string) => readonly T[]): T[] =>
    Array.from({ length: c.layers }, (_, l) => of(`gpt_neox.layers.${l}`)).flat();
  // of each head q, k and v in turn
  const byHead = (bias: Value): Value => slice(reshape(bias, [c.heads, 3 * c.headSize]), 1, 2 * c.headSize);
  const last = cast(lessEqual(int64(2 * c.headSize), arange(3 * c.headSize)), "float32");
  return {
    norms: inEvery((h) => [
      { norm: `${h}.input_layernorm`, readers: [`${h}.attention.query_key_value`] },
      { norm: `${h}.post_attention_layernorm`, readers: [`${h}.mlp.dense_h_to_4h`] },
    ]),
    finalNorm: "gpt_neox.final_layer_norm",
    embeddings: ["gpt_neox.embed_in.weight"],
    writers: inEvery((h) => [`${h}.attention.dense`, `${h}.mlp.dense_4h_to_h`]),
    isCentring: true,
    values: inEvery((h) => [
      {
        from: `${h}.attention.query_key_value`,
        isValue: reshape(expandTo(last, [c.heads, 3 * c.headSize]), [3 * c.hiddenSize]),
        take: (bias: Value) => reshape(byHead(bias), [c.hiddenSize]),
        into: `${h}.attention.dense`,
      },
    ]),
  };
}

const headWeight = (c: GptNeoxConfig): string => (c.isTied ? "gpt_neox.embed_in.weight" : "embed_out.weight");

export const gptNeox: Family<GptNeoxConfig> = {
  name: "gpt_neox",
  modelTypes: ["gpt_neox"],
  prefix: "gpt_neox.",
  isCausal: true,
  loraTargets: ["query_key_value"],
  delicate: ["query_key_value", "mlp.dense_4h_to_h"],
  parseConfig,
  weights,
  trace,
  parts,
  head: {
    weight: headWeight,
    logits: (c, weight, hidden) => linear(hidden, weight(headWeight(c), [c.vocabSize, c.hiddenSize])),
  },
};
