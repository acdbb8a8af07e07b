// The smollm3 family: llama's layers, some of them without rotary embedding.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import { type GatedConfig, gatedConfig, gatedFamily, gatedMembers } from "./gated-decoder.ts";
import { gatedGguf } from "./gated-gguf.ts";
import { layerTypes, readSettings, size, windowsOf } from "./settings.ts";

export interface Smollm3Config extends GatedConfig {
  /** Of each layer: whether its q and k are rotated. */
  readonly isRotated: readonly boolean[];
  readonly windows: readonly (number | null)[];
}

const schema = z.looseObject({
  ...gatedMembers,
  hidden_act: z.literal("silu"),
  attention_bias: z.literal(false).optional(),
  mlp_bias: z.literal(false).optional(),
  layer_types: layerTypes,
  sliding_window: size.nullish(),
  use_sliding_window: z.boolean().optional(),
  no_rope_layers: z.array(z.union([z.literal(0), z.literal(1)])).nullish(),
  no_rope_layer_interval: size.optional(),
});

function parseConfig(json: unknown): Smollm3Config {
  const c = readSettings(schema, json, "smollm3");
  const interval = c.no_rope_layer_interval ?? 4;
  const rotated =
    c.no_rope_layers ?? Array.from({ length: c.num_hidden_layers }, (_, l) => Number((l + 1) % interval !== 0));
  const isSliding = (layer: number) => (c.use_sliding_window ?? false) && rotated[layer] === 0;
  return {
    ...gatedConfig(c, "smollm3", { isTied: true, theta: 2_000_000 }),
    isRotated: rotated.map((flag) => flag === 1),
    windows: windowsOf(c.layer_types, c.num_hidden_layers, c.sliding_window, isSliding),
  };
}

export const smollm3 = gatedFamily<Smollm3Config>({
  name: "smollm3",
  parseConfig,
  // the files do not tell which layers are turned: all of the published models' do, but every fourth
  gguf: gatedGguf({
    architectures: ["smollm3"],
    isInterleaved: true,
    config: (c) => ({
      ...c,
      isRotated: Array.from({ length: c.layers }, (_, l) => (l + 1) % 4 !== 0),
      windows: new Array<null>(c.layers).fill(null),
    }),
  }),
  attention: (c, l, _, tables) => ({ tables: c.isRotated[l] ? tables : undefined }),
});
