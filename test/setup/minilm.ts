// The real encoder of the tests: all-MiniLM-L6-v2 in sentence-transformers' layout, pulled once as a user's pull does it
// and kept between runs, in the store of smollm2.ts. Does not know what is tested with it.

import { fileURLToPath } from "node:url";
import { Store } from "../../src/checkpoint/mod.ts";

const checkout = fileURLToPath(new URL("../../", import.meta.url));

/** The store that has the model, and its folder. IRORI_TEST_SMOLLM2_HOME names another store. */
export async function minilm(): Promise<{ readonly home: string; readonly path: string }> {
  const home = process.env.IRORI_TEST_SMOLLM2_HOME || `${checkout}.cache/test-home`;
  const store = await Store.open(home);
  const { path } = await store.pull("all-minilm-l6-v2");
  return { home: store.home, path };
}
