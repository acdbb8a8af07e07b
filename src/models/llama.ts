// The llama family (Llama 1–3, SmolLM and SmolLM2, TinyLlama …): pre-norm decoder, rotary embedding, grouped queries, gated SiLU.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import { type GatedConfig, gatedConfig, gatedFamily, gatedMembers } from "./gated-decoder.ts";
import { gatedGguf, windowsOfGguf, withFactors } from "./gated-gguf.ts";
import { readSettings } from "./settings.ts";

export type LlamaConfig = GatedConfig;

const schema = z.looseObject({
  ...gatedMembers,
  hidden_act: z.literal("silu"),
  attention_bias: z.literal(false).optional(),
  mlp_bias: z.literal(false).optional(),
});

const parseConfig = (json: unknown): LlamaConfig => gatedConfig(readSettings(schema, json, "llama"), "llama");

export const llama = gatedFamily<LlamaConfig>({
  name: "llama",
  parseConfig,
  // Mistral's files are llama's, too, with the window where they name it
  gguf: gatedGguf({
    architectures: ["llama"],
    isInterleaved: true,
    settings: ["rope_freqs.weight"],
    config: async (c, source) => {
      const windows = windowsOfGguf(source, c.layers);
      const whole = windows.some((window) => window !== null) ? { ...c, windows } : c;
      return await withFactors(whole, source, "rope_freqs.weight");
    },
  }),
});
