// The real model with a sentencepiece vocabulary: Gemma 3 270M Q4_K_M, pulled once as a user's pull does it and kept
// between runs, in the store of smollm2.ts. Does not know what is tested with it.

import { fileURLToPath } from "node:url";
import { Store } from "../../src/checkpoint/mod.ts";

const checkout = fileURLToPath(new URL("../../", import.meta.url));

/** The store that has the model, and the path of its GGUF file. IRORI_TEST_SMOLLM2_HOME names another store. */
export async function gemma3(): Promise<{ readonly home: string; readonly path: string }> {
  const home = process.env.IRORI_TEST_SMOLLM2_HOME || `${checkout}.cache/test-home`;
  const store = await Store.open(home);
  const { path } = await store.pull("gemma3-270m", { acceptsTerms: () => true });
  return { home: store.home, path };
}
