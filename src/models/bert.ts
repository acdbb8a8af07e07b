// The bert family and those that differ from it in positions alone: BERT, RoBERTa, XLM-RoBERTa (encoders, norms after each part).
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names (HookedEncoder).
import { z } from "zod";
import {
  add,
  expandTo,
  gather,
  gelu,
  geluTanh,
  int64,
  layerNorm,
  linears,
  mixHeads,
  tanh,
  tap,
  type Value,
} from "../tensor/mod.ts";
import { classesOf, classMembers, firstToken } from "./classifier.ts";
import type { Config, Family, Tokens, Weights } from "./family.ts";
import { activated, addedTo, affine, attendByHeads, inEveryLayer, inLayer } from "./layers.ts";
import { checked, readSettings, size } from "./settings.ts";

const activations = { gelu, gelu_new: geluTanh, gelu_pytorch_tanh: geluTanh } as const;

export interface BertConfig extends Config {
  /** F: width of the MLP. */
  readonly intermediateSize: number;
  readonly epsilon: number;
  readonly activation: keyof typeof activations;
  /** Rows of the position table before the first token's: RoBERTa keeps those up to its padding id. */
  readonly firstPosition: number;
  /** Kinds of text that a token may belong to. */
  readonly textKinds: number;
  /** Checkpoints saved for other tasks lack the pooler. */
  readonly hasPooler: boolean;
  /** C: what its classifier tells apart; 0 where it has none. */
  readonly classes: number;
}

const schema = z.looseObject({
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  max_position_embeddings: size,
  type_vocab_size: size,
  layer_norm_eps: z.number().positive(),
  hidden_act: z.enum(["gelu", "gelu_new", "gelu_pytorch_tanh"]),
  pad_token_id: z.number().int().nonnegative().nullish(),
  position_embedding_type: z.literal("absolute").nullish(),
  is_decoder: z.literal(false).optional(),
  add_cross_attention: z.literal(false).optional(),
  ...classMembers,
});

const parser =
  (family: string, isOffset: boolean) =>
  (json: unknown): BertConfig => {
    const c = readSettings(schema, json, family);
    const firstPosition = isOffset ? (c.pad_token_id ?? 1) + 1 : 0;
    return checked(
      {
        vocabSize: c.vocab_size,
        hiddenSize: c.hidden_size,
        intermediateSize: c.intermediate_size,
        layers: c.num_hidden_layers,
        heads: c.num_attention_heads,
        kvHeads: c.num_attention_heads,
        headSize: c.hidden_size / c.num_attention_heads,
        maxPositions: c.max_position_embeddings - firstPosition,
        epsilon: c.layer_norm_eps,
        activation: c.hidden_act,
        firstPosition,
        textKinds: c.type_vocab_size,
        hasPooler: true,
        classes: classesOf(c),
      },
      family,
    );
  };

const layerShapes = (c: BertConfig) => {
  const [d, f] = [c.hiddenSize, c.intermediateSize];
  return {
    "attention.self.query.weight": [d, d],
    "attention.self.query.bias": [d],
    "attention.self.key.weight": [d, d],
    "attention.self.key.bias": [d],
    "attention.self.value.weight": [d, d],
    "attention.self.value.bias": [d],
    "attention.output.dense.weight": [d, d],
    "attention.output.dense.bias": [d],
    "attention.output.LayerNorm.weight": [d],
    "attention.output.LayerNorm.bias": [d],
    "intermediate.dense.weight": [f, d],
    "intermediate.dense.bias": [f],
    "output.dense.weight": [d, f],
    "output.dense.bias": [d],
    "output.LayerNorm.weight": [d],
    "output.LayerNorm.bias": [d],
  };
};

const embeddingShapes = (c: BertConfig) => ({
  "embeddings.word_embeddings.weight": [c.vocabSize, c.hiddenSize],
  "embeddings.position_embeddings.weight": [c.maxPositions + c.firstPosition, c.hiddenSize],
  "embeddings.token_type_embeddings.weight": [c.textKinds, c.hiddenSize],
  "embeddings.LayerNorm.weight": [c.hiddenSize],
  "embeddings.LayerNorm.bias": [c.hiddenSize],
});
const poolerShapes = (c: BertConfig) => ({
  "pooler.dense.weight": [c.hiddenSize, c.hiddenSize],
  "pooler.dense.bias": [c.hiddenSize],
});

const weights = (c: BertConfig): ReadonlyMap<string, readonly number[]> =>
  new Map<string, readonly number[]>([
    ...Object.entries(embeddingShapes(c)),
    ...inEveryLayer(c.layers, "encoder.layer", layerShapes(c)),
    ...(c.hasPooler ? Object.entries(poolerShapes(c)) : []),
  ]);
const withClassifier =
  (shapes: ClassifierShapes) =>
  (c: BertConfig): ReadonlyMap<string, readonly number[]> =>
    new Map([...weights(c), ...(c.classes > 0 ? Object.entries(shapes(c)) : [])]);

function embed(c: BertConfig, weight: Weights, { ids, positions, types }: Tokens): Value {
  const shapes = embeddingShapes(c);
  const w = (name: keyof typeof shapes) => weight(name, shapes[name]);
  const words = tap(gather(w("embeddings.word_embeddings.weight"), ids), "hook_embed");
  const places = c.firstPosition === 0 ? positions : add(positions, int64(c.firstPosition));
  const place = tap(gather(w("embeddings.position_embeddings.weight"), places), "hook_pos_embed");
  const kinds = types ?? expandTo(int64(0), ids.shape);
  const kind = tap(gather(w("embeddings.token_type_embeddings.weight"), kinds), "hook_token_type_embed");
  const sum = add(add(words, kind), place);
  return layerNorm(sum, w("embeddings.LayerNorm.weight"), w("embeddings.LayerNorm.bias"), c.epsilon, "embed.ln");
}

function trace(c: BertConfig, weight: Weights, tokens: Tokens): Value {
  const shapes = layerShapes(c);
  let x = embed(c, weight, tokens);
  for (let l = 0; l < c.layers; l++) {
    const w = (name: keyof typeof shapes) => weight(`encoder.layer.${l}.${name}`, shapes[name]);
    const layer = (y: Value, name: "intermediate.dense" | "output.dense"): Value =>
      affine(y, w(`${name}.weight`), w(`${name}.bias`));
    const hook = inLayer(l);
    x = tap(x, hook("hook_resid_pre"));
    const parts = ["query", "key", "value"] as const;
    const products = linears(
      x,
      parts.map((part) => w(`attention.self.${part}.weight`)),
    );
    const qkv = products.map((y, i) => add(y, w(`attention.self.${parts[i] as "query"}.bias`)));
    const z = attendByHeads(c, tokens, l, qkv as [Value, Value, Value], { scale: 1 / Math.sqrt(c.headSize) });
    const middle = addedTo(
      x,
      add(
        mixHeads(z, w("attention.output.dense.weight"), { heads: c.heads, hook: hook("attn") }),
        w("attention.output.dense.bias"),
      ),
      hook("hook_attn_out"),
      hook("hook_resid_mid"),
    );
    const [norm, bias] = [w("attention.output.LayerNorm.weight"), w("attention.output.LayerNorm.bias")];
    const m = tap(layerNorm(middle, norm, bias, c.epsilon, hook("ln1")), hook("hook_normalized_resid_mid"));
    const post = activated(layer(m, "intermediate.dense"), activations[c.activation], hook("mlp"));
    const sum = addedTo(m, layer(post, "output.dense"), hook("hook_mlp_out"), hook("hook_resid_post"));
    const after = layerNorm(sum, w("output.LayerNorm.weight"), w("output.LayerNorm.bias"), c.epsilon, hook("ln2"));
    x = tap(after, hook("hook_normalized_resid_post"));
  }
  return x;
}

/** tanh of a layer over the first token. */
function pool(c: BertConfig, weight: Weights, hidden: Value): Value | undefined {
  if (!c.hasPooler) return undefined;
  const shapes = poolerShapes(c);
  const w = (name: keyof typeof shapes) => weight(name, shapes[name]);
  return tanh(affine(firstToken(hidden), w("pooler.dense.weight"), w("pooler.dense.bias")));
}

type ClassifierShapes = (c: BertConfig) => Readonly<Record<string, readonly number[]>>;

/** BERT's classifier reads the pooler. */
const bertClassifier: ClassifierShapes = (c) => ({
  "classifier.weight": [c.classes, c.hiddenSize],
  "classifier.bias": [c.classes],
});
function classifyPooled(c: BertConfig, weight: Weights, hidden: Value): Value | undefined {
  const pooled = c.classes > 0 ? pool(c, weight, hidden) : undefined;
  const w = (name: string) => weight(name, bertClassifier(c)[name] as readonly number[]);
  return pooled && affine(pooled, w("classifier.weight"), w("classifier.bias"));
}

/** RoBERTa's has a layer of its own over the first token. */
const robertaClassifier: ClassifierShapes = (c) => ({
  "classifier.dense.weight": [c.hiddenSize, c.hiddenSize],
  "classifier.dense.bias": [c.hiddenSize],
  "classifier.out_proj.weight": [c.classes, c.hiddenSize],
  "classifier.out_proj.bias": [c.classes],
});
function classifyFirst(c: BertConfig, weight: Weights, hidden: Value): Value | undefined {
  if (c.classes === 0) return undefined;
  const w = (name: string) => weight(name, robertaClassifier(c)[name] as readonly number[]);
  const inner = tanh(affine(firstToken(hidden), w("classifier.dense.weight"), w("classifier.dense.bias")));
  return affine(inner, w("classifier.out_proj.weight"), w("classifier.out_proj.bias"));
}

const encoder = (
  name: string,
  modelType: string,
  prefix: string,
  shapes: ClassifierShapes,
  classify: NonNullable<Family<BertConfig>["classify"]>,
): Family<BertConfig> => ({
  name,
  modelTypes: [modelType],
  prefix,
  isCausal: false,
  loraTargets: ["query", "value"],
  parseConfig: parser(name, name !== "bert"),
  weights: withClassifier(shapes),
  trace,
  pool,
  classify,
  fit(c, has) {
    const hasClassifier = Object.keys(shapes(c)).every(has);
    return { ...c, hasPooler: has("pooler.dense.weight"), classes: hasClassifier ? c.classes : 0 };
  },
});

export const bert = encoder("bert", "bert", "bert.", bertClassifier, classifyPooled);
export const roberta = encoder("roberta", "roberta", "roberta.", robertaClassifier, classifyFirst);
export const xlmRoberta = encoder("xlm_roberta", "xlm-roberta", "roberta.", robertaClassifier, classifyFirst);
