// The gpt_neo family (GPT-Neo): learnt positions, unscaled scores, local and global layers.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import { add, gather, geluTanh, layerNorm, linear, linears, mixHeads, tap, type Value } from "../tensor/mod.ts";
import type { Config, Family, Tokens, Weights } from "./family.ts";
import { activated, addedTo, affine, attendByHeads, inEveryLayer, inLayer } from "./layers.ts";
import { checked, readSettings, size } from "./settings.ts";

export interface GptNeoConfig extends Config {
  /** F: width of the MLP. */
  readonly intermediateSize: number;
  readonly epsilon: number;
  readonly windows: readonly (number | null)[];
}

const kind = z.enum(["global", "local"]);
const schema = z.looseObject({
  vocab_size: size,
  hidden_size: size,
  num_layers: size,
  num_heads: size,
  intermediate_size: size.nullish(),
  max_position_embeddings: size,
  layer_norm_epsilon: z.number().positive(),
  activation_function: z.enum(["gelu_new", "gelu_pytorch_tanh"]),
  attention_types: z.array(z.tuple([z.array(kind), size])),
  window_size: size,
  tie_word_embeddings: z.literal(true).optional(),
});

function parseConfig(json: unknown): GptNeoConfig {
  const c = readSettings(schema, json, "gpt_neo");
  const kinds = c.attention_types.flatMap(([pattern, times]) => Array.from({ length: times }, () => pattern).flat());
  if (kinds.length !== c.num_layers)
    throw new IroriError("bad-file", {
      what: "config.json: attention_types describe other layers than there are",
      got: kinds.length,
      wanted: c.num_layers,
    });
  return checked(
    {
      vocabSize: c.vocab_size,
      hiddenSize: c.hidden_size,
      intermediateSize: c.intermediate_size ?? 4 * c.hidden_size,
      layers: c.num_layers,
      heads: c.num_heads,
      kvHeads: c.num_heads,
      headSize: c.hidden_size / c.num_heads,
      maxPositions: c.max_position_embeddings,
      epsilon: c.layer_norm_epsilon,
      windows: kinds.map((each) => (each === "local" ? c.window_size : null)),
    },
    "gpt_neo",
  );
}

const layerShapes = (c: GptNeoConfig) => ({
  "ln_1.weight": [c.hiddenSize],
  "ln_1.bias": [c.hiddenSize],
  "attn.attention.q_proj.weight": [c.hiddenSize, c.hiddenSize],
  "attn.attention.k_proj.weight": [c.hiddenSize, c.hiddenSize],
  "attn.attention.v_proj.weight": [c.hiddenSize, c.hiddenSize],
  "attn.attention.out_proj.weight": [c.hiddenSize, c.hiddenSize],
  "attn.attention.out_proj.bias": [c.hiddenSize],
  "ln_2.weight": [c.hiddenSize],
  "ln_2.bias": [c.hiddenSize],
  "mlp.c_fc.weight": [c.intermediateSize, c.hiddenSize],
  "mlp.c_fc.bias": [c.intermediateSize],
  "mlp.c_proj.weight": [c.hiddenSize, c.intermediateSize],
  "mlp.c_proj.bias": [c.hiddenSize],
});

const weights = (c: GptNeoConfig): ReadonlyMap<string, readonly number[]> =>
  new Map<string, readonly number[]>([
    ["transformer.wte.weight", [c.vocabSize, c.hiddenSize]],
    ["transformer.wpe.weight", [c.maxPositions, c.hiddenSize]],
    ...inEveryLayer(c.layers, "transformer.h", layerShapes(c)),
    ["transformer.ln_f.weight", [c.hiddenSize]],
    ["transformer.ln_f.bias", [c.hiddenSize]],
  ]);

function trace(c: GptNeoConfig, weight: Weights, tokens: Tokens): Value {
  const shapes = layerShapes(c);
  const d = [c.hiddenSize];
  const embedded = tap(gather(weight("transformer.wte.weight", [c.vocabSize, ...d]), tokens.ids), "hook_embed");
  const places = gather(weight("transformer.wpe.weight", [c.maxPositions, ...d]), tokens.positions);
  let x = add(embedded, tap(places, "hook_pos_embed"));
  for (let l = 0; l < c.layers; l++) {
    const w = (name: keyof typeof shapes) => weight(`transformer.h.${l}.${name}`, shapes[name]);
    const hook = inLayer(l);
    x = tap(x, hook("hook_resid_pre"));
    const h = layerNorm(x, w("ln_1.weight"), w("ln_1.bias"), c.epsilon, hook("ln1"));
    const parts = ["q", "k", "v"] as const;
    const qkv = linears(
      h,
      parts.map((part) => w(`attn.attention.${part}_proj.weight`)),
    );
    const z = attendByHeads(c, tokens, l, qkv as [Value, Value, Value], {
      scale: 1,
      window: c.windows[l] ?? undefined,
    });
    const attended = add(
      mixHeads(z, w("attn.attention.out_proj.weight"), { heads: c.heads, hook: hook("attn") }),
      w("attn.attention.out_proj.bias"),
    );
    x = addedTo(x, attended, hook("hook_attn_out"), hook("hook_resid_mid"));
    const m = layerNorm(x, w("ln_2.weight"), w("ln_2.bias"), c.epsilon, hook("ln2"));
    const post = activated(affine(m, w("mlp.c_fc.weight"), w("mlp.c_fc.bias")), geluTanh, hook("mlp"));
    const out = affine(post, w("mlp.c_proj.weight"), w("mlp.c_proj.bias"));
    x = addedTo(x, out, hook("hook_mlp_out"), hook("hook_resid_post"));
  }
  return layerNorm(x, weight("transformer.ln_f.weight", d), weight("transformer.ln_f.bias", d), c.epsilon, "ln_final");
}

export const gptNeo: Family<GptNeoConfig> = {
  name: "gpt_neo",
  modelTypes: ["gpt_neo"],
  prefix: "transformer.",
  isCausal: true,
  loraTargets: ["q_proj", "v_proj"],
  delicate: ["v_proj", "mlp.c_proj"],
  parseConfig,
  weights,
  trace,
  head: {
    weight: () => "transformer.wte.weight",
    logits: (c, weight, hidden) => linear(hidden, weight("transformer.wte.weight", [c.vocabSize, c.hiddenSize])),
  },
};
