// The llama family (Llama 1–3, SmolLM and SmolLM2, TinyLlama …): pre-norm decoder, rotary embedding, grouped queries, gated SiLU.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import { add, gather, linear, linears, mul, reshape, rmsNorm, silu, tap, type Value } from "../tensor/mod.ts";
import type { Config, Family, GgufSource, GgufTensor, Tokens, Weights } from "./family.ts";
import { readMetadata } from "./gguf-metadata.ts";
import { inverseFrequencies, type RotaryScaling, rotaryTables } from "./rotary-tables.ts";

export interface LlamaConfig extends Config {
  /** F: width of the gated layer. */
  readonly intermediateSize: number;
  /** ε of the norms. */
  readonly epsilon: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RotaryScaling;
  /** The head is the embedding. */
  readonly isTied: boolean;
}

const rope = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: z.number().positive().optional(),
  factor: z.number().positive().optional(),
  low_freq_factor: z.number().positive().optional(),
  high_freq_factor: z.number().positive().optional(),
  original_max_position_embeddings: z.number().int().positive().optional(),
});
const size = z.number().int().positive();
const schema = z.looseObject({
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  max_position_embeddings: size,
  rms_norm_eps: z.number().positive(),
  hidden_act: z.literal("silu"),
  attention_bias: z.literal(false).optional(),
  mlp_bias: z.literal(false).optional(),
  tie_word_embeddings: z.boolean().optional(),
  // transformers 5 writes rope_parameters; 4 wrote rope_theta and rope_scaling
  rope_parameters: rope.nullish(),
  rope_theta: z.number().positive().optional(),
  rope_scaling: rope.nullish(),
});

function parseConfig(json: unknown): LlamaConfig {
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new IroriError("unsupported", {
      what: `config.json of a llama: ${issue?.path.join(".") || "the whole"} is not supported`,
      got: JSON.stringify(issue?.path.reduce((at: unknown, key) => (at as Record<PropertyKey, unknown>)?.[key], json)),
      wanted: issue?.message,
    });
  }
  const c = parsed.data;
  const settings = c.rope_parameters ?? c.rope_scaling ?? {};
  return checked({
    vocabSize: c.vocab_size,
    hiddenSize: c.hidden_size,
    intermediateSize: c.intermediate_size,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    kvHeads: c.num_key_value_heads ?? c.num_attention_heads,
    headSize: c.head_dim ?? c.hidden_size / c.num_attention_heads,
    maxPositions: c.max_position_embeddings,
    epsilon: c.rms_norm_eps,
    ropeTheta: settings.rope_theta ?? c.rope_theta ?? 10000,
    ropeScaling: parseScaling(settings),
    isTied: c.tie_word_embeddings ?? false,
  });
}

/** Sizes that must divide each other do. */
function checked(c: LlamaConfig): LlamaConfig {
  const rules: readonly [boolean, string, string][] = [
    [Number.isInteger(c.headSize) && c.headSize % 2 === 0, `head size ${c.headSize}`, "an even whole number"],
    [c.heads % c.kvHeads === 0, `${c.heads} query heads for ${c.kvHeads} key-value heads`, "a multiple of them"],
    [c.vocabSize > 0, `a vocabulary of ${c.vocabSize}`, "one token or more"],
  ];
  for (const [holds, got, wanted] of rules)
    if (!holds) throw new IroriError("bad-file", { what: "the configuration of this llama cannot be", got, wanted });
  return c;
}

function parseScaling(settings: z.infer<typeof rope>): RotaryScaling {
  const type = settings.rope_type ?? settings.type ?? "default";
  const missing = (name: string): never => {
    throw new IroriError("unsupported", { what: `config.json: rotary scaling "${type}" lacks ${name}` });
  };
  if (type === "default") return { type };
  if (type === "linear") return { type, factor: settings.factor ?? missing("factor") };
  if (type === "llama3")
    return {
      type,
      factor: settings.factor ?? missing("factor"),
      lowFrequency: settings.low_freq_factor ?? missing("low_freq_factor"),
      highFrequency: settings.high_freq_factor ?? missing("high_freq_factor"),
      originalPositions: settings.original_max_position_embeddings ?? missing("original_max_position_embeddings"),
    };
  throw new IroriError("unsupported", {
    what: "config.json: rotary scaling is not supported for llama",
    got: type,
    wanted: "default, linear or llama3",
  });
}

async function readGguf({ metadata, has, read }: GgufSource): Promise<LlamaConfig> {
  const { architecture, integer, float, optionalInteger, optionalFloat, optionalText } = readMetadata(metadata);
  const heads = integer("attention.head_count");
  const hiddenSize = integer("embedding_length");
  const headSize = optionalInteger("attention.key_length") ?? hiddenSize / heads;
  const rotarySize = optionalInteger("rope.dimension_count") ?? headSize;
  const scaling = optionalText("rope.scaling.type") ?? "none";
  if (rotarySize !== headSize || !["none", "linear"].includes(scaling))
    throw new IroriError("unsupported", {
      what: `a ${architecture} GGUF with ${rotarySize} rotary channels of ${headSize} and "${scaling}" scaling`,
      wanted: "all channels rotated, scaling none, linear or rope_freqs.weight",
    });
  const linear = optionalFloat("rope.scaling.factor");
  return checked({
    vocabSize:
      optionalInteger("vocab_size") ?? (metadata.get("tokenizer.ggml.tokens") as unknown[] | undefined)?.length ?? 0,
    hiddenSize,
    intermediateSize: integer("feed_forward_length"),
    layers: integer("block_count"),
    heads,
    kvHeads: optionalInteger("attention.head_count_kv") ?? heads,
    headSize,
    maxPositions: integer("context_length"),
    epsilon: float("attention.layer_norm_rms_epsilon"),
    ropeTheta: optionalFloat("rope.freq_base") ?? 10000,
    ropeScaling: has("rope_freqs.weight")
      ? { type: "factors", factors: [...(await read("rope_freqs.weight"))] }
      : scaling === "linear" && linear !== undefined
        ? { type: "linear", factor: linear }
        : { type: "default" },
    isTied: !has("output.weight"),
  });
}

function weights(c: LlamaConfig): ReadonlyMap<string, readonly number[]> {
  const all = new Map<string, readonly number[]>([["model.embed_tokens.weight", [c.vocabSize, c.hiddenSize]]]);
  for (let l = 0; l < c.layers; l++)
    for (const [name, shape] of Object.entries(layerShapes(c))) all.set(`model.layers.${l}.${name}.weight`, shape);
  all.set("model.norm.weight", [c.hiddenSize]);
  if (!c.isTied) all.set("lm_head.weight", [c.vocabSize, c.hiddenSize]);
  return all;
}

const layerShapes = (c: LlamaConfig) => ({
  input_layernorm: [c.hiddenSize],
  "self_attn.q_proj": [c.heads * c.headSize, c.hiddenSize],
  "self_attn.k_proj": [c.kvHeads * c.headSize, c.hiddenSize],
  "self_attn.v_proj": [c.kvHeads * c.headSize, c.hiddenSize],
  "self_attn.o_proj": [c.hiddenSize, c.heads * c.headSize],
  post_attention_layernorm: [c.hiddenSize],
  "mlp.gate_proj": [c.intermediateSize, c.hiddenSize],
  "mlp.up_proj": [c.intermediateSize, c.hiddenSize],
  "mlp.down_proj": [c.hiddenSize, c.intermediateSize],
});

const GGUF_NAMES: Readonly<Record<string, string>> = {
  "model.embed_tokens": "token_embd",
  "model.norm": "output_norm",
  lm_head: "output",
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};

function ggufTensor(c: LlamaConfig, name: string): GgufTensor {
  const layer = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name);
  const part = layer?.[2] ?? name.replace(/\.weight$/, "");
  const gguf = `${layer ? `blk.${layer[1]}.` : ""}${GGUF_NAMES[part]}.weight`;
  // the file stores q and k with the two rotary halves of a head interleaved: row (j, half) of the file is row (half, j) here
  const half = c.headSize / 2;
  const rows = (row: number): number => {
    const inHead = row % c.headSize;
    return row - inHead + 2 * (inHead % half) + Math.floor(inHead / half);
  };
  return part === "self_attn.q_proj" || part === "self_attn.k_proj" ? { name: gguf, rows } : { name: gguf };
}

function trace(c: LlamaConfig, weight: Weights, tokens: Tokens): Value {
  const shapes = layerShapes(c);
  const tables = rotaryTables(inverseFrequencies(c.ropeTheta, c.headSize, c.ropeScaling), c.maxPositions + 1);
  let x = tap(gather(weight("model.embed_tokens.weight", [c.vocabSize, c.hiddenSize]), tokens.ids), "hook_embed");
  for (let l = 0; l < c.layers; l++) {
    const w = (name: keyof typeof shapes) => weight(`model.layers.${l}.${name}.weight`, shapes[name]);
    const hook = (name: string) => `blocks.${l}.${name}`;
    const heads = (y: Value, n: number) => reshape(y, [...tokens.lead, n, c.headSize]);

    x = tap(x, hook("hook_resid_pre"));
    const h = rmsNorm(x, w("input_layernorm"), c.epsilon, hook("ln1"));
    const [q, k, v] = linears(h, [w("self_attn.q_proj"), w("self_attn.k_proj"), w("self_attn.v_proj")]) as [
      Value,
      Value,
      Value,
    ];
    const z = tokens.attend(
      l,
      tap(heads(q, c.heads), hook("attn.hook_q")),
      tap(heads(k, c.kvHeads), hook("attn.hook_k")),
      tap(heads(v, c.kvHeads), hook("attn.hook_v")),
      tables,
      { scale: 1 / Math.sqrt(c.headSize), hook: hook("attn") },
    );
    const flat = reshape(tap(z, hook("attn.hook_z")), [...tokens.lead, c.heads * c.headSize]);
    x = tap(add(x, tap(linear(flat, w("self_attn.o_proj")), hook("hook_attn_out"))), hook("hook_resid_mid"));

    const m = rmsNorm(x, w("post_attention_layernorm"), c.epsilon, hook("ln2"));
    const [gate, up] = linears(m, [w("mlp.gate_proj"), w("mlp.up_proj")]) as [Value, Value];
    const post = mul(silu(tap(gate, hook("mlp.hook_pre"))), tap(up, hook("mlp.hook_pre_linear")));
    const out = tap(linear(tap(post, hook("mlp.hook_post")), w("mlp.down_proj")), hook("hook_mlp_out"));
    x = tap(add(x, out), hook("hook_resid_post"));
  }
  return rmsNorm(x, weight("model.norm.weight", [c.hiddenSize]), c.epsilon, "ln_final");
}

const headWeight = (c: LlamaConfig): string => (c.isTied ? "model.embed_tokens.weight" : "lm_head.weight");

export const llama: Family<LlamaConfig> = {
  name: "llama",
  ggufNames: ["llama"],
  parseConfig,
  readGguf,
  weights,
  ggufTensor,
  trace,
  head: (c, weight, hidden) => linear(hidden, weight(headWeight(c), [c.vocabSize, c.hiddenSize])),
  headWeight,
};
