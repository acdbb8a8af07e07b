// The phi3 family (Phi 3 with 4k of context, Phi 4): llama's layers with q, k, v and gate, up each in one weight.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import { gather, linear, mixHeads, rmsNorm, silu, split, tap, type Value } from "../tensor/mod.ts";
import type { Family, Tokens, Weights } from "./family.ts";
import { type GatedConfig, gatedConfig, gatedHead, gatedMembers, gatedParts, gatedWeights } from "./gated-decoder.ts";
import { gatedGguf, windowsOfGguf, withFactors } from "./gated-gguf.ts";
import { readMetadata } from "./gguf-metadata.ts";
import { addedTo, attendByHeads, gated, inLayer } from "./layers.ts";
import { tablesOf } from "./rotary-tables.ts";
import { readSettings, size, windowsOf } from "./settings.ts";

export interface Phi3Config extends GatedConfig {
  readonly windows: readonly (number | null)[];
}

const schema = z.looseObject({ ...gatedMembers, hidden_act: z.literal("silu"), sliding_window: size.nullish() });

function parseConfig(json: unknown): Phi3Config {
  const c = readSettings(schema, json, "phi3");
  return { ...gatedConfig(c, "phi3"), windows: windowsOf(null, c.num_hidden_layers, c.sliding_window, () => true) };
}

const widths = (c: Phi3Config): [number, number, number] =>
  [c.heads, c.kvHeads, c.kvHeads].map((n) => n * c.headSize) as [number, number, number];

const layerShapes = (c: Phi3Config) => ({
  "self_attn.qkv_proj.weight": [(c.heads + 2 * c.kvHeads) * c.headSize, c.hiddenSize],
  "self_attn.o_proj.weight": [c.hiddenSize, c.heads * c.headSize],
  "mlp.gate_up_proj.weight": [2 * c.intermediateSize, c.hiddenSize],
  "mlp.down_proj.weight": [c.hiddenSize, c.intermediateSize],
  "input_layernorm.weight": [c.hiddenSize],
  "post_attention_layernorm.weight": [c.hiddenSize],
});

function trace(c: Phi3Config, weight: Weights, tokens: Tokens): Value {
  const shapes = layerShapes(c);
  const tables = tablesOf(c.rotary, c.headSize, c.maxPositions);
  const scale = 1 / Math.sqrt(c.headSize);
  let x = tap(gather(weight("model.embed_tokens.weight", [c.vocabSize, c.hiddenSize]), tokens.ids), "hook_embed");
  for (let l = 0; l < c.layers; l++) {
    const w = (name: keyof typeof shapes) => weight(`model.layers.${l}.${name}`, shapes[name]);
    const hook = inLayer(l);
    x = tap(x, hook("hook_resid_pre"));
    const h = rmsNorm(x, w("input_layernorm.weight"), c.epsilon, hook("ln1"));
    const qkv = split(linear(h, w("self_attn.qkv_proj.weight")), -1, widths(c));
    const z = attendByHeads(c, tokens, l, qkv as unknown as [Value, Value, Value], {
      ...{ tables, scale, window: c.windows[l] ?? undefined },
    });
    x = addedTo(
      x,
      mixHeads(z, w("self_attn.o_proj.weight"), { heads: c.heads, hook: hook("attn") }),
      hook("hook_attn_out"),
      hook("hook_resid_mid"),
    );
    const m = rmsNorm(x, w("post_attention_layernorm.weight"), c.epsilon, hook("ln2"));
    const both = split(linear(m, w("mlp.gate_up_proj.weight")), -1, [c.intermediateSize, c.intermediateSize]);
    const out = gated(both[0] as Value, both[1] as Value, w("mlp.down_proj.weight"), silu, hook("mlp"));
    x = addedTo(x, out, hook("hook_mlp_out"), hook("hook_resid_post"));
  }
  return rmsNorm(x, weight("model.norm.weight", [c.hiddenSize]), c.epsilon, "ln_final");
}

export const phi3: Family<Phi3Config> = {
  name: "phi3",
  modelTypes: ["phi3"],
  prefix: "model.",
  isCausal: true,
  loraTargets: ["qkv_proj"],
  delicate: ["qkv_proj", "down_proj"],
  parseConfig,
  weights: (c) => gatedWeights(c, layerShapes(c)),
  trace,
  parts: (c) => gatedParts(c, { attention: ["qkv_proj"], mlp: ["gate_up_proj"] }),
  head: gatedHead(),
  gguf: gatedGguf({
    architectures: ["phi3"],
    settings: ["rope_factors_short.weight", "rope_factors_long.weight"],
    config: async (c, source) => {
      const { optionalInteger, optionalFloat } = readMetadata(source.metadata);
      const original = optionalInteger("rope.scaling.original_context_length") ?? c.maxPositions;
      const isLong = source.has("rope_factors_short.weight");
      // as with longrope in config.json: texts within the original positions
      const whole = isLong ? { ...c, maxPositions: Math.min(original, c.maxPositions) } : c;
      const magnitude = optionalFloat("rope.scaling.attn_factor");
      const turned = await withFactors(whole, source, "rope_factors_short.weight", magnitude);
      return { ...turned, windows: windowsOfGguf(source, c.layers) };
    },
  }),
};
