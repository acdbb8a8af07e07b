// The llama family (Llama 1–3, SmolLM and SmolLM2, TinyLlama …): pre-norm decoder, rotary embedding, grouped queries, gated SiLU.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import type { GgufSource, GgufTensor } from "./family.ts";
import { type GatedConfig, gatedConfig, gatedFamily, gatedMembers } from "./gated-decoder.ts";
import { readMetadata } from "./gguf-metadata.ts";
import type { RotaryScaling } from "./rotary-tables.ts";
import { checked, readSettings } from "./settings.ts";

export type LlamaConfig = GatedConfig;

const schema = z.looseObject({
  ...gatedMembers,
  hidden_act: z.literal("silu"),
  attention_bias: z.literal(false).optional(),
  mlp_bias: z.literal(false).optional(),
});

const parseConfig = (json: unknown): LlamaConfig => gatedConfig(readSettings(schema, json, "llama"), "llama");

async function readGguf({ metadata, has, read }: GgufSource): Promise<LlamaConfig> {
  const { architecture, integer, float, optionalInteger, optionalFloat, optionalText } = readMetadata(metadata);
  const heads = integer("attention.head_count");
  const hiddenSize = integer("embedding_length");
  const headSize = optionalInteger("attention.key_length") ?? hiddenSize / heads;
  const rotarySize = optionalInteger("rope.dimension_count") ?? headSize;
  const scalingName = optionalText("rope.scaling.type") ?? "none";
  if (rotarySize !== headSize || !["none", "linear"].includes(scalingName))
    throw new IroriError("unsupported", {
      what: `a ${architecture} GGUF with ${rotarySize} rotary channels of ${headSize} and "${scalingName}" scaling`,
      wanted: "all channels rotated, scaling none, linear or rope_freqs.weight",
    });
  const linear = optionalFloat("rope.scaling.factor");
  const scaling: RotaryScaling = has("rope_freqs.weight")
    ? { type: "factors", factors: [...(await read("rope_freqs.weight"))] }
    : scalingName === "linear" && linear !== undefined
      ? { type: "linear", factor: linear }
      : { type: "default" };
  return checked(
    {
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
      rotary: {
        theta: optionalFloat("rope.freq_base") ?? 10000,
        scaling,
        share: 1,
      },
      isTied: !has("output.weight"),
    },
    "llama",
  );
}

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

export const llama = gatedFamily<LlamaConfig>({
  name: "llama",
  parseConfig,
  gguf: { architectures: ["llama"], settings: ["rope_freqs.weight"], readConfig: readGguf, tensor: ggufTensor },
});
