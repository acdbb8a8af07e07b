// The gpt2 family (GPT-2, DistilGPT-2, DialoGPT …): learnt positions, layer norms, a plain MLP, weights stored [in, out].
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import {
  add,
  arange,
  cast,
  gather,
  geluTanh,
  int64,
  layerNorm,
  lessEqual,
  linear,
  matmul,
  mixHeads,
  slice,
  split,
  tap,
  type Value,
} from "../tensor/mod.ts";
import type { Config, Family, Gguf, Tokens, Weights } from "./family.ts";
import { readMetadata } from "./gguf-metadata.ts";
import { activated, addedTo, attendByHeads, inEveryLayer, inLayer } from "./layers.ts";
import type { Parts } from "./processing.ts";
import { checked, readSettings, size } from "./settings.ts";

export interface Gpt2Config extends Config {
  /** F: width of the MLP. */
  readonly intermediateSize: number;
  readonly epsilon: number;
  /** Scores of layer l are also divided by l + 1. */
  readonly isScaledByLayer: boolean;
  readonly isScaled: boolean;
  /** The head is the embedding. */
  readonly isTied: boolean;
}

const schema = z.looseObject({
  vocab_size: size,
  n_embd: size,
  n_layer: size,
  n_head: size,
  n_inner: size.nullish(),
  n_positions: size,
  layer_norm_epsilon: z.number().positive(),
  activation_function: z.enum(["gelu_new", "gelu_pytorch_tanh"]),
  scale_attn_weights: z.boolean().optional(),
  scale_attn_by_inverse_layer_idx: z.boolean().optional(),
  add_cross_attention: z.literal(false).optional(),
  tie_word_embeddings: z.boolean().optional(),
});

function parseConfig(json: unknown): Gpt2Config {
  const c = readSettings(schema, json, "gpt2");
  return checked(
    {
      vocabSize: c.vocab_size,
      hiddenSize: c.n_embd,
      intermediateSize: c.n_inner ?? 4 * c.n_embd,
      layers: c.n_layer,
      heads: c.n_head,
      kvHeads: c.n_head,
      headSize: c.n_embd / c.n_head,
      maxPositions: c.n_positions,
      epsilon: c.layer_norm_epsilon,
      isScaledByLayer: c.scale_attn_by_inverse_layer_idx ?? false,
      isScaled: c.scale_attn_weights ?? true,
      isTied: c.tie_word_embeddings ?? true,
    },
    "gpt2",
  );
}

const layerShapes = (c: Gpt2Config) => ({
  "ln_1.weight": [c.hiddenSize],
  "ln_1.bias": [c.hiddenSize],
  "attn.c_attn.weight": [c.hiddenSize, 3 * c.hiddenSize],
  "attn.c_attn.bias": [3 * c.hiddenSize],
  "attn.c_proj.weight": [c.hiddenSize, c.hiddenSize],
  "attn.c_proj.bias": [c.hiddenSize],
  "ln_2.weight": [c.hiddenSize],
  "ln_2.bias": [c.hiddenSize],
  "mlp.c_fc.weight": [c.hiddenSize, c.intermediateSize],
  "mlp.c_fc.bias": [c.intermediateSize],
  "mlp.c_proj.weight": [c.intermediateSize, c.hiddenSize],
  "mlp.c_proj.bias": [c.hiddenSize],
});

const weights = (c: Gpt2Config): ReadonlyMap<string, readonly number[]> =>
  new Map<string, readonly number[]>([
    ["transformer.wte.weight", [c.vocabSize, c.hiddenSize]],
    ["transformer.wpe.weight", [c.maxPositions, c.hiddenSize]],
    ...inEveryLayer(c.layers, "transformer.h", layerShapes(c)),
    ["transformer.ln_f.weight", [c.hiddenSize]],
    ["transformer.ln_f.bias", [c.hiddenSize]],
    ...(c.isTied ? [] : [["lm_head.weight", [c.vocabSize, c.hiddenSize]] as const]),
  ]);

const headWeight = (c: Gpt2Config): string => (c.isTied ? "transformer.wte.weight" : "lm_head.weight");

const ggufNames: Readonly<Record<string, string>> = {
  "transformer.wte": "token_embd",
  "transformer.wpe": "position_embd",
  "transformer.ln_f": "output_norm",
  lm_head: "output",
  ln_1: "attn_norm",
  "attn.c_attn": "attn_qkv",
  "attn.c_proj": "attn_output",
  ln_2: "ffn_norm",
  "mlp.c_fc": "ffn_up",
  "mlp.c_proj": "ffn_down",
};

const gguf: Gguf<Gpt2Config> = {
  architectures: ["gpt2"],
  settings: [],
  readConfig: async ({ metadata, has, shape }) => {
    const { integer, float, optionalInteger } = readMetadata(metadata);
    const heads = integer("attention.head_count");
    const hiddenSize = integer("embedding_length");
    return checked(
      {
        vocabSize: shape("token_embd.weight")?.[0] ?? 0,
        hiddenSize,
        intermediateSize: optionalInteger("feed_forward_length") ?? 4 * hiddenSize,
        layers: integer("block_count"),
        heads,
        kvHeads: heads,
        headSize: hiddenSize / heads,
        maxPositions: integer("context_length"),
        epsilon: float("attention.layer_norm_epsilon"),
        isScaledByLayer: false,
        isScaled: true,
        isTied: !has("output.weight"),
      },
      "gpt2",
    );
  },
  tensor: (_, name) => {
    const layer = /^transformer\.h\.(\d+)\.(.+)$/.exec(name);
    const [, part = "", kind = ""] = /^(.+)\.(weight|bias)$/.exec(layer?.[2] ?? name) ?? [];
    const stored = `${layer ? `blk.${layer[1]}.` : ""}${ggufNames[part]}.${kind}`;
    const isTransposed = kind === "weight" && /^(attn|mlp)\.c_/.test(part);
    return isTransposed ? { name: stored, isTransposed } : { name: stored };
  },
};

function trace(c: Gpt2Config, weight: Weights, tokens: Tokens): Value {
  const shapes = layerShapes(c);
  const d = [c.hiddenSize];
  const embedded = tap(gather(weight("transformer.wte.weight", [c.vocabSize, ...d]), tokens.ids), "hook_embed");
  const places = gather(weight("transformer.wpe.weight", [c.maxPositions, ...d]), tokens.positions);
  let x = add(embedded, tap(places, "hook_pos_embed"));
  for (let l = 0; l < c.layers; l++) {
    const w = (name: keyof typeof shapes) => weight(`transformer.h.${l}.${name}`, shapes[name]);
    const layer = (y: Value, name: "attn.c_attn" | "mlp.c_fc" | "mlp.c_proj"): Value =>
      add(matmul(y, w(`${name}.weight`)), w(`${name}.bias`));
    const hook = inLayer(l);
    x = tap(x, hook("hook_resid_pre"));
    const h = layerNorm(x, w("ln_1.weight"), w("ln_1.bias"), c.epsilon, hook("ln1"));
    const qkv = split(layer(h, "attn.c_attn"), -1, [c.hiddenSize, c.hiddenSize, c.hiddenSize]);
    const scale = (c.isScaled ? 1 / Math.sqrt(c.headSize) : 1) / (c.isScaledByLayer ? l + 1 : 1);
    const z = attendByHeads(c, tokens, l, qkv as unknown as [Value, Value, Value], { scale });
    x = addedTo(
      x,
      add(
        mixHeads(z, w("attn.c_proj.weight"), { heads: c.heads, hook: hook("attn"), isInOut: true }),
        w("attn.c_proj.bias"),
      ),
      hook("hook_attn_out"),
      hook("hook_resid_mid"),
    );
    const m = layerNorm(x, w("ln_2.weight"), w("ln_2.bias"), c.epsilon, hook("ln2"));
    const out = layer(activated(layer(m, "mlp.c_fc"), geluTanh, hook("mlp")), "mlp.c_proj");
    x = addedTo(x, out, hook("hook_mlp_out"), hook("hook_resid_post"));
  }
  return layerNorm(x, weight("transformer.ln_f.weight", d), weight("transformer.ln_f.bias", d), c.epsilon, "ln_final");
}

function parts(c: Gpt2Config): Parts {
  const inEvery = <T>(of: (layer: string) => readonly T[]): T[] =>
    Array.from({ length: c.layers }, (_, l) => of(`transformer.h.${l}`)).flat();
  return {
    norms: inEvery((h) => [
      { norm: `${h}.ln_1`, readers: [`${h}.attn.c_attn`] },
      { norm: `${h}.ln_2`, readers: [`${h}.mlp.c_fc`] },
    ]),
    finalNorm: "transformer.ln_f",
    embeddings: ["transformer.wte.weight", "transformer.wpe.weight"],
    writers: inEvery((h) => [`${h}.attn.c_proj`, `${h}.mlp.c_proj`]),
    isCentring: true,
    values: inEvery((h) => [
      {
        from: `${h}.attn.c_attn`,
        isValue: cast(lessEqual(int64(2 * c.hiddenSize), arange(3 * c.hiddenSize)), "float32"),
        take: (bias: Value) => slice(bias, 0, 2 * c.hiddenSize),
        into: `${h}.attn.c_proj`,
      },
    ]),
  };
}

export const gpt2: Family<Gpt2Config> = {
  name: "gpt2",
  modelTypes: ["gpt2"],
  prefix: "transformer.",
  isCausal: true,
  loraTargets: ["c_attn"],
  delicate: ["attn.c_attn", "mlp.c_proj"],
  isInOut: true,
  parseConfig,
  weights,
  trace,
  parts,
  head: {
    weight: headWeight,
    logits: (c, weight, hidden) => linear(hidden, weight(headWeight(c), [c.vocabSize, c.hiddenSize])),
  },
  gguf,
};
