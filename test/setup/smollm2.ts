// The real model of the tests: SmolLM2-135M-Instruct Q4_1, pulled once as a user's pull does it and kept between runs.
// Any number of test processes may ask at once: the store's lock lets one fetch. Does not know what is tested with it.

import { fileURLToPath } from "node:url";
import { Store } from "../../src/checkpoint/mod.ts";

const checkout = fileURLToPath(new URL("../../", import.meta.url));

/** The store that has the model, and the path of its GGUF file. IRORI_TEST_SMOLLM2_HOME names another store. */
export async function smollm2(): Promise<{ readonly home: string; readonly path: string }> {
  const home = process.env.IRORI_TEST_SMOLLM2_HOME || `${checkout}.cache/test-home`;
  const store = await Store.open(home);
  const { path } = await store.pull("smollm2-135m");
  return { home: store.home, path };
}

export async function smollm2Path(): Promise<string> {
  return (await smollm2()).path;
}
