// A checkpoint of GPT-2's smallest shape (124 M parameters) with random weights, always the same: what inside.ts runs.
// It does not know what is measured.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "../src/base/mod.ts";
import { writeSafetensors } from "../src/checkpoint/mod.ts";
import { familyOf } from "../src/models/mod.ts";

const CONFIG = {
  ...{ model_type: "gpt2", architectures: ["GPT2LMHeadModel"], activation_function: "gelu_new" },
  ...{ vocab_size: 50257, n_embd: 768, n_layer: 12, n_head: 12, n_positions: 1024, layer_norm_epsilon: 1e-5 },
};

/** The folder of the checkpoint below `home`, written where it is missing. */
export async function gpt2Shape(home: string): Promise<string> {
  const folder = join(home, "bench", "gpt2-124m");
  if (existsSync(join(folder, "config.json"))) return folder;
  mkdirSync(folder, { recursive: true });
  const family = familyOf("gpt2");
  const random = seededRandom(1);
  const tensors: Record<string, { shape: readonly number[]; data: Float32Array }> = {};
  for (const [name, shape] of family.weights(family.parseConfig(CONFIG))) {
    const size = shape.reduce((a, b) => a * b);
    // norms near one; the rest with GPT-2's deviation, uniform
    const [centre, spread] = /ln_\w+\.weight$/.test(name) ? [1, 0.1] : [0, 0.02 * Math.sqrt(3)];
    const data = Float32Array.from({ length: size }, () => centre + (2 * random.next() - 1) * spread);
    tensors[name] = { shape, data };
  }
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
  writeFileSync(join(folder, "config.json"), JSON.stringify(CONFIG));
  return folder;
}
