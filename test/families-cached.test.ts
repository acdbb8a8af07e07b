// Every decoder over KvCaches: chunks and single tokens equal all at once, rows of one batch equal one by one, windows hold.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { cachedRows, families, maskOf, wholeSequence } from "../src/models/mod.ts";
import * as t from "../src/tensor/mod.ts";
import { type Array_, compiled, floats, ints, relativeError, testRuntime } from "./evaluate.ts";
import { type GoldenFamily, goldenFamily } from "./golden-family.ts";

after(async () => (await testRuntime())[Symbol.asyncDispose]());

const CAPACITY = 260;
const ids = (length: number, seed: number) => Array.from({ length }, (_, i) => (i * 37 + seed * 11 + 5) % 160);

/** Learnt positions end; rotary tables are as long as the configuration says. */
function longer(golden: GoldenFamily): GoldenFamily {
  const hasTable = [...golden.family.weights(golden.config).keys()].some((name) => /wpe|position_emb/.test(name));
  return hasTable ? golden : { ...golden, config: { ...golden.config, maxPositions: CAPACITY } };
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

/** A step of some rows and the caches between its runs. */
async function stepper({ family, config, weight, weightValues }: GoldenFamily, rows: number) {
  const tokens = cachedRows(config, rows);
  const logits = family.head?.logits(config, weight, family.trace(config, weight, tokens)) as t.Value;
  const graph = t.fuse(t.graph({ ...tokens.caches, logits }, tokens.rows));
  const program = await compiled(graph, weightValues);
  const shape = [1, config.kvHeads, CAPACITY, config.headSize];
  const caches: Record<string, Array_> = {};
  for (const name of Object.keys(tokens.caches))
    caches[name.slice(0, -1)] = floats(shape, new Float32Array(shape.reduce((a, b) => a * b)));
  const past = new Array<number>(rows).fill(0);
  return {
    /** Logits [sum of lengths, V]. */
    async run(texts: readonly (readonly number[])[]): Promise<Float32Array> {
      const inputs: Record<string, Array_> = { ...caches };
      texts.forEach((text, r) => {
        inputs[`ids.${r}`] = ints([text.length], text);
        inputs[`past.${r}`] = { shape: [1], data: Int32Array.of(past[r] as number) };
        past[r] = (past[r] as number) + text.length;
      });
      const results = await program.run(inputs);
      for (const name of Object.keys(caches)) caches[name] = floats(shape, results[`${name}'`] as Float32Array);
      return results.logits as Float32Array;
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
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
    const texts = [ids(9, 2), ids(4, 3)];
    await using both = await stepper(golden, 2);
    const first = await both.run([texts[0]?.slice(0, 5) ?? [], texts[1]?.slice(0, 3) ?? []]);
    const then = await both.run([texts[0]?.slice(5) ?? [], texts[1]?.slice(3) ?? []]);
    const v = golden.config.vocabSize;
    const alone = await Promise.all(texts.map((text) => wholeLogits(golden, text)));
    const split = [
      joined([first.slice(0, 5 * v), then.slice(0, 4 * v)]),
      joined([first.slice(5 * v), then.slice(4 * v)]),
    ];
    for (const [r, rows] of split.entries())
      assert.ok(relativeError(rows, alone[r] as Float32Array) < 1e-5, `row ${r}`);
  });
}

for (const name of ["mistral", "gemma2", "gemma3"])
  test(`${name}: 200 cached steps with a window of 5 equal full recompute`, async () => {
    const golden = longer(await goldenFamily(name));
    const windows = (golden.config as { windows?: (number | null)[] }).windows?.map((w) => w && 5);
    const narrow = { ...golden, config: { ...golden.config, ...(windows ? { windows } : { window: 5 }) } };
    const text = ids(210, 4);
    await using step = await stepper(narrow, 1);
    const parts = [await step.run([text.slice(0, 10)])];
    for (let i = 10; i < text.length; i++) parts.push(await step.run([[text[i] as number]]));
    assert.ok(relativeError(joined(parts), await wholeLogits(narrow, text)) < 1e-5);
  });
