// The mistral family (Mistral 7B, Ministral, Zephyr …): llama's layers with a sliding window.
// Tensor names are the checkpoint's; HookPoints have TransformerLens' names.
import { z } from "zod";
import { type GatedConfig, gatedConfig, gatedFamily, gatedMembers } from "./gated-decoder.ts";
import { readSettings, size, windowsOf } from "./settings.ts";

export interface MistralConfig extends GatedConfig {
  readonly windows: readonly (number | null)[];
}

const schema = z.looseObject({ ...gatedMembers, hidden_act: z.literal("silu"), sliding_window: size.nullish() });

function parseConfig(json: unknown): MistralConfig {
  const c = readSettings(schema, json, "mistral");
  return { ...gatedConfig(c, "mistral"), windows: windowsOf(null, c.num_hidden_layers, c.sliding_window, () => true) };
}

export const mistral = gatedFamily<MistralConfig>({
  name: "mistral",
  parseConfig,
});
