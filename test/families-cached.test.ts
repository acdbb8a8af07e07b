// Every decoder over KvCaches: chunks and single tokens equal all at once, rows of one batch equal one by one, windows hold.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { KvCache, kvCacheBytes } from "../src/engine/kv-cache.ts";
import { cachedRows, families, maskOf, wholeSequence } from "../src/models/mod.ts";
import * as t from "../src/tensor/mod.ts";
import { type Array_, compiled, ints, relativeError, testRuntime } from "./evaluate.ts";
import { type GoldenFamily, goldenFamily } from "./golden-family.ts";

after(async () => (await testRuntime())[Symbol.asyncDispose]());

/** Tokens of the longest text: caches of windows have moved twice by then. */
const CONTEXT = 720;
const ids = (length: number, seed: number) => Array.from({ length }, (_, i) => (i * 37 + seed * 11 + 5) % 160);

/** Learnt positions end; rotary tables are as long as the configuration says. */
function longer(golden: GoldenFamily): GoldenFamily {
  const hasTable = [...golden.family.weights(golden.config).keys()].some((name) => /wpe|position_emb/.test(name));
  return hasTable ? golden : { ...golden, config: { ...golden.config, maxPositions: CONTEXT } };
}

async function wholeLogits({ family, config, weight, weightValues }: GoldenFamily, text: readonly number[]) {
  const port = (name: string) => t.input(name, "int64", ["B", "T"]);
  const tokens = wholeSequence(port("ids"), port("positions"), maskOf(port("mask"), true));
  const logits = family.head?.logits(config, weight, family.trace(config, weight, tokens));
  await using program = await compiled(t.fuse(t.graph({ logits: logits as t.Value })), weightValues);
  const shape = [1, text.length];
  const { logits: all } = await program.run({
    ...{ ids: ints(shape, text), mask: ints(shape, new Array(text.length).fill(1)) },
    positions: ints(
      shape,
      text.map((_, i) => i),
    ),
  });
  return all as Float32Array;
}

/** A step of some rows over their KvCaches. */
async function stepper({ family, config, weight, weightValues }: GoldenFamily, rows: number, context = CONTEXT) {
  const tokens = cachedRows(config, rows, "T");
  const logits = family.head?.logits(config, weight, family.trace(config, weight, tokens)) as t.Value;
  const graph = t.fuse(t.graph({ ...tokens.caches, logits }, [tokens.given]));
  const program = await compiled(graph, weightValues);
  const caches = Array.from({ length: rows }, () => new KvCache(config, context));
  return {
    /** Logits [R, T, V] of texts of one length. */
    async run(texts: readonly (readonly number[])[]): Promise<Float32Array> {
      const inputs: Record<string, Array_> = { ids: ints([rows, texts[0]?.length ?? 0], texts.flat()) };
      texts.forEach((text, r) => {
        caches[r]?.makeRoom(text.length);
        Object.assign(inputs, caches[r]?.ports(r).inputs);
      });
      const results = await program.run(inputs);
      for (const [r, cache] of caches.entries()) {
        for (const [name, { data }] of Object.entries(cache.ports(r).outputs))
          (data as Float32Array).set(results[name] as Float32Array);
        cache.added(texts[r]?.length ?? 0);
      }
      return results.logits as Float32Array;
    },
    async [Symbol.asyncDispose]() {
      for (const cache of caches) cache[Symbol.dispose]();
      await program[Symbol.asyncDispose]();
    },
  };
}

const joined = (parts: readonly Float32Array[]): Float32Array => Float32Array.from(parts.flatMap((part) => [...part]));

for (const { name } of families.filter((family) => family.isCausal)) {
  test(`${name}: chunks and single tokens over a KvCache equal all at once`, async () => {
    const golden = await goldenFamily(name);
    const text = ids(20, 1);
    await using step = await stepper(golden, 1);
    const parts: Float32Array[] = [];
    for (const [from, to] of [
      [0, 7],
      [7, 8],
      [8, 9],
      [9, 19],
      [19, 20],
    ] as const)
      parts.push(await step.run([text.slice(from, to)]));
    assert.ok(relativeError(joined(parts), await wholeLogits(golden, text)) < 1e-5);
  });

  test(`${name}: rows of one batch equal the same rows one by one`, async () => {
    const golden = await goldenFamily(name);
    const texts = [ids(9, 2), ids(9, 3)];
    await using both = await stepper(golden, 2);
    const first = await both.run(texts.map((text) => text.slice(0, 5)));
    const rest: Float32Array[] = [];
    for (let i = 5; i < 9; i++) rest.push(await both.run(texts.map((text) => text.slice(i, i + 1))));
    const v = golden.config.vocabSize;
    for (const [r, text] of texts.entries()) {
      const own = [first.slice(5 * r * v, 5 * (r + 1) * v), ...rest.map((each) => each.slice(r * v, (r + 1) * v))];
      assert.ok(relativeError(joined(own), await wholeLogits(golden, text)) < 1e-5, `row ${r}`);
    }
  });
}

/** A window of so many tokens in every layer that has one, or in all of a family whose golden has none. */
function withWindow(golden: GoldenFamily, window: number): GoldenFamily {
  const { windows = [], layers } = golden.config;
  const has = windows.some((each) => each !== null);
  const narrow = Array.from({ length: layers }, (_, l) => (has && windows[l] === null ? null : window));
  return { ...golden, config: { ...golden.config, windows: narrow } };
}

for (const name of ["mistral", "gemma2", "gemma3", "qwen2", "qwen3", "phi3", "smollm3"]) {
  test(`${name}: 700 cached steps with a window of 5 equal full recompute, in caches that do not grow`, async () => {
    const golden = withWindow(longer(await goldenFamily(name)), 5);
    const text = ids(710, 4);
    await using step = await stepper(golden, 1);
    const parts = [await step.run([text.slice(0, 10)])];
    for (let i = 10; i < text.length; i++) parts.push(await step.run([[text[i] as number]]));
    assert.ok(relativeError(joined(parts), await wholeLogits(golden, text)) < 1e-5);
    const grown = kvCacheBytes(golden.config, 4000) - kvCacheBytes(golden.config, 3000);
    const open = golden.config.windows?.filter((window) => window === null).length ?? 0;
    assert.equal(grown, open * 1000 * 2 * golden.config.kvHeads * golden.config.headSize * 4);
  });

  test(`${name}: with a window of 40, chunks of any size equal full recompute`, async () => {
    const golden = withWindow(longer(await goldenFamily(name)), 40);
    const text = ids(700, 5);
    await using step = await stepper(golden, 1);
    const parts: Float32Array[] = [];
    const sizes = [1, 256, 39, 3, 200, 1, 1, 199];
    for (let at = 0, i = 0; at < text.length; at += sizes[i++ % 8] as number)
      parts.push(await step.run([text.slice(at, at + (sizes[i % 8] as number))]));
    assert.ok(relativeError(joined(parts), await wholeLogits(golden, text)) < 1e-5);
  });
}
