// The distilbert family: BERT's layers without token types and pooler.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names (HookedEncoder).
import { z } from "zod";
import { add, gather, gelu, layerNorm, linears, max, mixHeads, scalar, tap, type Value } from "../tensor/mod.ts";
import { classesOf, classMembers, firstToken } from "./classifier.ts";
import type { Config, Family, Tokens, Weights } from "./family.ts";
import { activated, addedTo, affine, attendByHeads, inEveryLayer, inLayer } from "./layers.ts";
import { checked, readSettings, size } from "./settings.ts";

export interface DistilbertConfig extends Config {
  /** F: width of the MLP. */
  readonly intermediateSize: number;
  /** C: what its classifier tells apart; 0 where it has none. */
  readonly classes: number;
}

const EPSILON = 1e-12;
const schema = z.looseObject({
  vocab_size: size,
  dim: size,
  hidden_dim: size,
  n_layers: size,
  n_heads: size,
  max_position_embeddings: size,
  activation: z.literal("gelu"),
  ...classMembers,
});

function parseConfig(json: unknown): DistilbertConfig {
  const c = readSettings(schema, json, "distilbert");
  return checked(
    {
      vocabSize: c.vocab_size,
      hiddenSize: c.dim,
      intermediateSize: c.hidden_dim,
      layers: c.n_layers,
      heads: c.n_heads,
      kvHeads: c.n_heads,
      headSize: c.dim / c.n_heads,
      maxPositions: c.max_position_embeddings,
      classes: classesOf(c),
    },
    "distilbert",
  );
}

const layerShapes = (c: DistilbertConfig) => {
  const [d, f] = [c.hiddenSize, c.intermediateSize];
  return {
    "attention.q_lin.weight": [d, d],
    "attention.q_lin.bias": [d],
    "attention.k_lin.weight": [d, d],
    "attention.k_lin.bias": [d],
    "attention.v_lin.weight": [d, d],
    "attention.v_lin.bias": [d],
    "attention.out_lin.weight": [d, d],
    "attention.out_lin.bias": [d],
    "sa_layer_norm.weight": [d],
    "sa_layer_norm.bias": [d],
    "ffn.lin1.weight": [f, d],
    "ffn.lin1.bias": [f],
    "ffn.lin2.weight": [d, f],
    "ffn.lin2.bias": [d],
    "output_layer_norm.weight": [d],
    "output_layer_norm.bias": [d],
  };
};

const embeddingShapes = (c: DistilbertConfig) => ({
  "embeddings.word_embeddings.weight": [c.vocabSize, c.hiddenSize],
  "embeddings.position_embeddings.weight": [c.maxPositions, c.hiddenSize],
  "embeddings.LayerNorm.weight": [c.hiddenSize],
  "embeddings.LayerNorm.bias": [c.hiddenSize],
});

const weights = (c: DistilbertConfig): ReadonlyMap<string, readonly number[]> =>
  new Map<string, readonly number[]>([
    ...Object.entries(embeddingShapes(c)),
    ...inEveryLayer(c.layers, "transformer.layer", layerShapes(c)),
    ...(c.classes > 0 ? Object.entries(classifierShapes(c)) : []),
  ]);

const classifierShapes = (c: DistilbertConfig) => ({
  "pre_classifier.weight": [c.hiddenSize, c.hiddenSize],
  "pre_classifier.bias": [c.hiddenSize],
  "classifier.weight": [c.classes, c.hiddenSize],
  "classifier.bias": [c.classes],
});
function classify(c: DistilbertConfig, weight: Weights, hidden: Value): Value | undefined {
  if (c.classes === 0) return undefined;
  const shapes = classifierShapes(c);
  const w = (name: keyof typeof shapes) => weight(name, shapes[name]);
  const inner = max(affine(firstToken(hidden), w("pre_classifier.weight"), w("pre_classifier.bias")), scalar(0));
  return affine(inner, w("classifier.weight"), w("classifier.bias"));
}

function embed(c: DistilbertConfig, weight: Weights, { ids, positions }: Tokens): Value {
  const shapes = embeddingShapes(c);
  const w = (name: keyof typeof shapes) => weight(name, shapes[name]);
  const words = tap(gather(w("embeddings.word_embeddings.weight"), ids), "hook_embed");
  const place = tap(gather(w("embeddings.position_embeddings.weight"), positions), "hook_pos_embed");
  const [norm, bias] = [w("embeddings.LayerNorm.weight"), w("embeddings.LayerNorm.bias")];
  return layerNorm(add(words, place), norm, bias, EPSILON, "embed.ln");
}

function trace(c: DistilbertConfig, weight: Weights, tokens: Tokens): Value {
  const shapes = layerShapes(c);
  let x = embed(c, weight, tokens);
  for (let l = 0; l < c.layers; l++) {
    const w = (name: keyof typeof shapes) => weight(`transformer.layer.${l}.${name}`, shapes[name]);
    const layer = (y: Value, name: "ffn.lin1" | "ffn.lin2"): Value => affine(y, w(`${name}.weight`), w(`${name}.bias`));
    const hook = inLayer(l);
    x = tap(x, hook("hook_resid_pre"));
    const parts = ["q", "k", "v"] as const;
    const products = linears(
      x,
      parts.map((part) => w(`attention.${part}_lin.weight`)),
    );
    const qkv = products.map((y, i) => add(y, w(`attention.${parts[i] as "q"}_lin.bias`)));
    const z = attendByHeads(c, tokens, l, qkv as [Value, Value, Value], { scale: 1 / Math.sqrt(c.headSize) });
    const middle = addedTo(
      x,
      add(
        mixHeads(z, w("attention.out_lin.weight"), { heads: c.heads, hook: hook("attn") }),
        w("attention.out_lin.bias"),
      ),
      hook("hook_attn_out"),
      hook("hook_resid_mid"),
    );
    const normed = layerNorm(middle, w("sa_layer_norm.weight"), w("sa_layer_norm.bias"), EPSILON, hook("ln1"));
    const m = tap(normed, hook("hook_normalized_resid_mid"));
    const post = activated(layer(m, "ffn.lin1"), gelu, hook("mlp"));
    const sum = addedTo(m, layer(post, "ffn.lin2"), hook("hook_mlp_out"), hook("hook_resid_post"));
    const after = layerNorm(sum, w("output_layer_norm.weight"), w("output_layer_norm.bias"), EPSILON, hook("ln2"));
    x = tap(after, hook("hook_normalized_resid_post"));
  }
  return x;
}

export const distilbert: Family<DistilbertConfig> = {
  name: "distilbert",
  modelTypes: ["distilbert"],
  prefix: "distilbert.",
  isCausal: false,
  loraTargets: ["q_lin", "v_lin"],
  parseConfig,
  weights,
  trace,
  classify,
  fit: (c, has) => ({ ...c, classes: Object.keys(classifierShapes(c)).every(has) ? c.classes : 0 }),
};
