// What decoders with rotary attention and a gated MLP have in common: settings, weights, head,
// and the layers of those that are put together as llama is.
import { z } from "zod";
import { add, gather, linear, linears, mixHeads, rmsNorm, silu, tap, type Value } from "../tensor/mod.ts";
import type { Config, Family, Head, RotaryTables, Tokens, Weights } from "./family.ts";
import { addedTo, attendByHeads, gatedMlp, type HeadOptions, inEveryLayer, inLayer } from "./layers.ts";
import type { Parts } from "./processing.ts";
import { rotaryMembers, rotaryOf, rotaryPositions } from "./rotary-config.ts";
import { type Rotary, tablesOf } from "./rotary-tables.ts";
import { checked, size } from "./settings.ts";

export interface GatedConfig extends Config {
  /** F: width of the gated layer. */
  readonly intermediateSize: number;
  /** ε of the norms. */
  readonly epsilon: number;
  readonly rotary: Rotary;
  /** The head is the embedding. */
  readonly isTied: boolean;
}

/** Members of config.json: for a family's schema. */
export const gatedMembers = {
  ...rotaryMembers,
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  max_position_embeddings: size,
  rms_norm_eps: z.number().positive(),
  tie_word_embeddings: z.boolean().optional(),
};
const gatedSchema = z.looseObject(gatedMembers);
type GatedJson = z.infer<typeof gatedSchema>;

/** The common part of a family's configuration; `isTied` and `theta` are what it has where config.json is silent. */
export function gatedConfig(c: GatedJson, family: string, { isTied = false, theta = 10000 } = {}): GatedConfig {
  return checked(
    {
      vocabSize: c.vocab_size,
      hiddenSize: c.hidden_size,
      intermediateSize: c.intermediate_size,
      layers: c.num_hidden_layers,
      heads: c.num_attention_heads,
      kvHeads: c.num_key_value_heads ?? c.num_attention_heads,
      headSize: c.head_dim ?? c.hidden_size / c.num_attention_heads,
      maxPositions: rotaryPositions(c, c.max_position_embeddings),
      epsilon: c.rms_norm_eps,
      rotary: rotaryOf(c, c.max_position_embeddings, theta),
      isTied: c.tie_word_embeddings ?? isTied,
    },
    family,
  );
}

/** Shapes of a layer's projections. */
export const projections = (c: GatedConfig) => ({
  "self_attn.q_proj.weight": [c.heads * c.headSize, c.hiddenSize],
  "self_attn.k_proj.weight": [c.kvHeads * c.headSize, c.hiddenSize],
  "self_attn.v_proj.weight": [c.kvHeads * c.headSize, c.hiddenSize],
  "self_attn.o_proj.weight": [c.hiddenSize, c.heads * c.headSize],
  "mlp.gate_proj.weight": [c.intermediateSize, c.hiddenSize],
  "mlp.up_proj.weight": [c.intermediateSize, c.hiddenSize],
  "mlp.down_proj.weight": [c.hiddenSize, c.intermediateSize],
});

/** Every weight of a decoder whose layers have those of `layer`. */
export const gatedWeights = (
  c: GatedConfig,
  layer: Readonly<Record<string, readonly number[]>>,
): ReadonlyMap<string, readonly number[]> =>
  new Map<string, readonly number[]>([
    ["model.embed_tokens.weight", [c.vocabSize, c.hiddenSize]],
    ...inEveryLayer(c.layers, "model.layers", layer),
    ["model.norm.weight", [c.hiddenSize]],
    ...(c.isTied ? [] : [["lm_head.weight", [c.vocabSize, c.hiddenSize]] as const]),
  ]);

/** Logits from the embedding or from lm_head; `after` changes them (a soft cap). */
export function gatedHead<C extends GatedConfig>(
  after: (c: C, logits: Value) => Value = (_, logits) => logits,
): Head<C> {
  const name = (c: C): string => (c.isTied ? "model.embed_tokens.weight" : "lm_head.weight");
  return {
    weight: name,
    logits: (c, weight, hidden) => after(c, linear(hidden, weight(name(c), [c.vocabSize, c.hiddenSize]))),
  };
}

/** The parts of weights in layers that read `input_layernorm` and another norm before the MLP. */
export function gatedParts(
  c: GatedConfig,
  {
    mlpNorm = "post_attention_layernorm",
    attention = ["q_proj", "k_proj", "v_proj"],
    mlp = ["gate_proj", "up_proj"],
    normOffset = 0,
    isCapped = false,
  } = {},
): Parts {
  const inEvery = <T>(of: (layer: string) => readonly T[]): T[] =>
    Array.from({ length: c.layers }, (_, l) => of(`model.layers.${l}`)).flat();
  return {
    norms: inEvery((h) => [
      { norm: `${h}.input_layernorm`, readers: attention.map((name) => `${h}.self_attn.${name}`) },
      { norm: `${h}.${mlpNorm}`, readers: mlp.map((name) => `${h}.mlp.${name}`) },
    ]),
    finalNorm: "model.norm",
    ...{ normOffset, isCapped },
    embeddings: ["model.embed_tokens.weight"],
    writers: inEvery((h) => [`${h}.self_attn.o_proj`, `${h}.mlp.down_proj`]),
    isCentring: false,
  };
}

/** Weights of one layer by their names in it. */
export type LayerWeights = (name: string) => Value;

/** What a family whose layers are llama's says for itself. */
interface GatedFamily<C extends GatedConfig> extends Pick<Family<C>, "name" | "parseConfig" | "gguf"> {
  /** Weights of a layer beside the projections and the two norms: biases of q, k and v, norms of heads. */
  readonly more?: (c: C) => Readonly<Record<string, readonly number[]>>;
  /** What attention does otherwise in layer l. */
  readonly attention?: (c: C, l: number, w: LayerWeights, tables: RotaryTables) => Partial<HeadOptions>;
}

/** A family of llama's layers: norm, attention, sum, norm, gated MLP, sum, and a norm at the end. */
export function gatedFamily<C extends GatedConfig>({ more, attention, ...own }: GatedFamily<C>): Family<C> {
  const layer = (c: C) => ({
    ...projections(c),
    ...more?.(c),
    "input_layernorm.weight": [c.hiddenSize],
    "post_attention_layernorm.weight": [c.hiddenSize],
  });
  return {
    ...own,
    modelTypes: [own.name],
    prefix: "model.",
    isCausal: true,
    loraTargets: ["q_proj", "v_proj"],
    delicate: ["v_proj", "down_proj"],
    weights: (c) => gatedWeights(c, layer(c)),
    trace: (c, weight, tokens) => traceGated(c, weight, tokens, layer(c), (...at) => attention?.(c, ...at) ?? {}),
    parts: (c) => gatedParts(c),
    head: gatedHead(),
  };
}

/** Hidden states; `layer` lists the weights of a layer, `own` is what attention does otherwise. */
function traceGated(
  c: GatedConfig,
  weight: Weights,
  tokens: Tokens,
  layer: Readonly<Record<string, readonly number[]>>,
  own: (l: number, w: LayerWeights, tables: RotaryTables) => Partial<HeadOptions>,
): Value {
  const tables = tablesOf(c.rotary, c.headSize, c.maxPositions);
  let x = tap(gather(weight("model.embed_tokens.weight", [c.vocabSize, c.hiddenSize]), tokens.ids), "hook_embed");
  for (let l = 0; l < c.layers; l++) {
    const w: LayerWeights = (name) => weight(`model.layers.${l}.${name}`, layer[name] as readonly number[]);
    const hook = inLayer(l);
    x = tap(x, hook("hook_resid_pre"));
    const h = rmsNorm(x, w("input_layernorm.weight"), c.epsilon, hook("ln1"));
    const projected = linears(h, [
      w("self_attn.q_proj.weight"),
      w("self_attn.k_proj.weight"),
      w("self_attn.v_proj.weight"),
    ]);
    const qkv = projected.map((y, i) => {
      const bias = `self_attn.${"qkv"[i]}_proj.bias`;
      return bias in layer ? add(y, w(bias)) : y;
    });
    const common = { tables, scale: 1 / Math.sqrt(c.headSize), window: c.windows?.[l] ?? undefined };
    const options = { ...common, ...own(l, w, tables) };
    const z = attendByHeads(c, tokens, l, qkv as [Value, Value, Value], options);
    const attended = mixHeads(z, w("self_attn.o_proj.weight"), { heads: c.heads, hook: hook("attn") });
    x = addedTo(x, attended, hook("hook_attn_out"), hook("hook_resid_mid"));
    const m = rmsNorm(x, w("post_attention_layernorm.weight"), c.epsilon, hook("ln2"));
    const mlp = [w("mlp.gate_proj.weight"), w("mlp.up_proj.weight"), w("mlp.down_proj.weight")] as const;
    x = addedTo(x, gatedMlp(m, mlp, silu, hook("mlp")), hook("hook_mlp_out"), hook("hook_resid_post"));
  }
  return rmsNorm(x, weight("model.norm.weight", [c.hiddenSize]), c.epsilon, "ln_final");
}
