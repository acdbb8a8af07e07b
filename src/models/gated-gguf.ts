// How GGUF files hold decoders of gated layers: their keys, their tensors' names, and what the converters did to rows and norms.
// It does not know families: what a family does otherwise comes as an argument. The facts are those of llama.cpp's converters.
import { IroriError } from "../base/mod.ts";
import type { Gguf, GgufSource, GgufTensor } from "./family.ts";
import type { GatedConfig } from "./gated-decoder.ts";
import { readMetadata } from "./gguf-metadata.ts";
import type { Rotary, RotaryScaling } from "./rotary-tables.ts";
import { checked } from "./settings.ts";

/** Last parts of names, ours to the file's, as most families have them. */
const common: Readonly<Record<string, string>> = {
  "model.embed_tokens": "token_embd",
  "model.norm": "output_norm",
  lm_head: "output",
  input_layernorm: "attn_norm",
  post_attention_layernorm: "ffn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  "self_attn.qkv_proj": "attn_qkv",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
  "mlp.gate_up_proj": "ffn_up",
};

/** Names of the norms where one follows attention and one the MLP (Gemma, OLMo 2). */
export const sandwichNames: Readonly<Record<string, string>> = {
  post_attention_layernorm: "post_attention_norm",
  pre_feedforward_layernorm: "ffn_norm",
  post_feedforward_layernorm: "post_ffw_norm",
};

export interface GatedGguf<C extends GatedConfig> {
  readonly architectures: readonly string[];
  /** Names that differ from the common ones. */
  readonly names?: Readonly<Record<string, string>>;
  /** Rows of q and k have the two rotary halves of a head interleaved. */
  readonly isInterleaved?: boolean;
  /** What the file's norms have more than the checkpoint's. */
  readonly normOffset?: number;
  readonly settings?: readonly string[];
  /** The family's own part of the configuration. */
  readonly config: (common: GatedConfig, source: GgufSource) => C | Promise<C>;
}

export function gatedGguf<C extends GatedConfig>(own: GatedGguf<C>): Gguf<C> {
  const names = { ...common, ...own.names };
  const tensor = (c: C, name: string): GgufTensor => {
    const layer = /^model\.layers\.(\d+)\.(.+)$/.exec(name);
    const inLayer = layer?.[2] ?? name;
    const [, part = "", kind = ""] = /^(.+)\.(weight|bias)$/.exec(inLayer) ?? [];
    const stored = `${layer ? `blk.${layer[1]}.` : ""}${names[part]}.${kind}`;
    if (own.isInterleaved && (part === "self_attn.q_proj" || part === "self_attn.k_proj"))
      return { name: stored, rows: deinterleaved(c.headSize) };
    const isNorm = own.normOffset !== undefined && part.endsWith("norm");
    return isNorm ? { name: stored, offset: -(own.normOffset as number) } : { name: stored };
  };
  return {
    architectures: own.architectures,
    settings: own.settings ?? [],
    readConfig: async (source) => await own.config(readCommon(source), source),
    tensor,
  };
}

/** Row (half, j) of a head here is row (j, half) of the file's. */
function deinterleaved(headSize: number): (row: number) => number {
  const half = headSize / 2;
  return (row) => {
    const inHead = row % headSize;
    return row - inHead + 2 * (inHead % half) + Math.floor(inHead / half);
  };
}

function readCommon({ metadata, has, shape }: GgufSource): GatedConfig {
  const { architecture, integer, float, optionalInteger } = readMetadata(metadata);
  const experts = optionalInteger("expert_count");
  if (experts !== undefined)
    throw new IroriError("unsupported", {
      what: `a ${architecture} GGUF whose layers are mixtures of ${experts} experts`,
    });
  const heads = integer("attention.head_count");
  const hiddenSize = integer("embedding_length");
  const headSize = optionalInteger("attention.key_length") ?? hiddenSize / heads;
  const valueSize = optionalInteger("attention.value_length") ?? headSize;
  if (valueSize !== headSize)
    throw new IroriError("unsupported", {
      what: `a ${architecture} GGUF with keys of ${headSize} and values of ${valueSize}`,
    });
  return checked(
    {
      vocabSize: shape("token_embd.weight")?.[0] ?? 0,
      hiddenSize,
      intermediateSize: integer("feed_forward_length"),
      layers: integer("block_count"),
      heads,
      kvHeads: optionalInteger("attention.head_count_kv") ?? heads,
      headSize,
      maxPositions: integer("context_length"),
      epsilon: float("attention.layer_norm_rms_epsilon"),
      rotary: rotaryOfGguf(metadata, headSize),
      isTied: !has("output.weight"),
    },
    architecture,
  );
}

/** How q and k are turned: all channels of a head or the first ones, frequencies as they are, divided, or after YaRN. */
function rotaryOfGguf(metadata: GgufSource["metadata"], headSize: number): Rotary {
  const { integer, optionalInteger, optionalFloat } = readMetadata(metadata);
  return {
    theta: optionalFloat("rope.freq_base") ?? 10000,
    scaling: scalingOfGguf(metadata, integer("context_length")),
    share: (optionalInteger("rope.dimension_count") ?? headSize) / headSize,
  };
}

function scalingOfGguf(metadata: GgufSource["metadata"], context: number): RotaryScaling {
  const { architecture, optionalInteger, optionalFloat, optionalText } = readMetadata(metadata);
  const type = optionalText("rope.scaling.type") ?? "none";
  // files of before 2024 have the one number alone
  const factor = optionalFloat("rope.scaling.factor") ?? optionalFloat("rope.scale_linear");
  if (type === "none" && optionalFloat("rope.scale_linear") === undefined) return { type: "default" };
  if (factor === undefined || factor === 1 || type === "longrope") return { type: "default" };
  if (type === "linear" || type === "none") return { type: "linear", factor };
  if (type === "yarn") {
    const attention = optionalFloat("rope.scaling.attn_factor") ?? 1;
    return {
      type,
      factor,
      originalPositions: optionalInteger("rope.scaling.original_context_length") ?? context,
      fast: optionalFloat("rope.scaling.yarn_beta_fast") ?? 32,
      slow: optionalFloat("rope.scaling.yarn_beta_slow") ?? 1,
      isTruncated: true,
      magnitude: attention * (factor <= 1 ? 1 : 0.1 * Math.log(factor) + 1),
    };
  }
  throw new IroriError("unsupported", {
    what: `a ${architecture} GGUF with rotary scaling "${type}"`,
    wanted: "none, linear, yarn or tensors with factors",
  });
}

/** Divisors of the frequencies that a tensor of the file holds, where it holds them. */
export async function withFactors<C extends GatedConfig>(
  c: C,
  { has, read }: GgufSource,
  tensor: string,
  magnitude?: number,
): Promise<C> {
  if (!has(tensor)) return c;
  const factors = [...(await read(tensor))];
  const scaling: RotaryScaling = { type: "factors", factors, ...(magnitude !== undefined && { magnitude }) };
  return { ...c, rotary: { ...c.rotary, scaling } };
}

/** The same window in every layer for which `isSliding` says so, where the file has one. */
export function windowsOfGguf(
  { metadata }: GgufSource,
  layers: number,
  isSliding: (layer: number) => boolean = () => true,
): readonly (number | null)[] {
  const window = readMetadata(metadata).optionalInteger("attention.sliding_window");
  return Array.from({ length: layers }, (_, l) => (window !== undefined && isSliding(l) ? window : null));
}
