// Whole texts in, one vector or score each out: classifiers against transformers' goldens, poolings against sums by hand.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openCheckpoint } from "../src/checkpoint/mod.ts";
import type { Pooling } from "../src/engine/manifest.ts";
import { textGraph } from "../src/engine/text-graph.ts";
import { familyOf } from "../src/models/mod.ts";
import * as t from "../src/tensor/mod.ts";
import { type Array_, evaluate, ints, relativeError, testRuntime, type Values } from "./evaluate.ts";
import { type GoldenFamily, goldenFamily, readArray, wholeForward } from "./golden-family.ts";

after(async () => (await testRuntime())[Symbol.asyncDispose]());

const positionsOf = ({ shape }: Array_): Array_ =>
  ints(
    shape,
    Array.from({ length: (shape[0] as number) * (shape[1] as number) }, (_, i) => i % (shape[1] as number)),
  );

for (const name of ["bert", "roberta", "xlm_roberta", "distilbert"])
  test(`${name}: scores of a classifier equal transformers' at 1e-4`, async () => {
    const folder = fileURLToPath(new URL(`goldens/classifiers/${name}`, import.meta.url));
    const json = JSON.parse(await readFile(`${folder}/config.json`, "utf8")) as { model_type: string };
    const family = familyOf(json.model_type);
    await using checkpoint = await openCheckpoint(`${folder}/model.safetensors`);
    await using golden = await openCheckpoint(`${folder}/expected.safetensors`);
    const stored = (weight: string) =>
      [weight, `${family.prefix}${weight}`].find((each) => checkpoint.tensors.has(each));
    const parsed = family.parseConfig(json);
    const config = family.fit?.(parsed, (weight) => stored(weight) !== undefined) ?? parsed;
    const values: Record<string, Array_> = {};
    for (const [weight, shape] of family.weights(config))
      values[weight] = { shape, data: await checkpoint.readFloat32(stored(weight) as string) };
    const of = (tensor: string) => readArray(golden, tensor);
    const ids = await of("ids");
    const graph = textGraph(family, config, (weight, shape) => t.weight(weight, "float32", shape), {
      of: "classes",
      hasTypes: name === "bert",
    });
    const inputs = { ids, mask: await of("mask"), positions: positionsOf(ids), types: await of("types") };
    const { vectors } = await evaluate(t.fuse(graph), { ...values, ...inputs });
    assert.ok(relativeError(vectors as Float32Array, (await of("logits")).data as Float32Array) < 1e-4);
  });

test("a family without a classifier says so", async () => {
  const { family, config, weight } = await goldenFamily("bert");
  assert.throws(
    () => textGraph(family, config, weight, { of: "classes", hasTypes: false }),
    /this bert has no classifier: it cannot score pairs/,
  );
});

/** Hidden states of one text [T, D] to [D]. */
const byHand: Readonly<Record<Pooling, (rows: readonly Float32Array[]) => number[]>> = {
  mean: (rows) => columns(rows, (all) => all.reduce((a, b) => a + b, 0) / all.length),
  cls: ([first]) => [...(first as Float32Array)],
  last: (rows) => [...(rows.at(-1) as Float32Array)],
  max: (rows) => columns(rows, (all) => Math.max(...all)),
};
const columns = (rows: readonly Float32Array[], of: (all: readonly number[]) => number): number[] =>
  Array.from({ length: rows[0]?.length ?? 0 }, (_, c) => of(rows.map((row) => row[c] as number)));

for (const name of ["bert", "llama"])
  for (const pooling of Object.keys(byHand) as Pooling[])
    test(`${name}: ${pooling} pooling takes real tokens alone, and a text is the same alone and in company`, async () => {
      const golden = await goldenFamily(name);
      const { family, config, weight, weightValues } = golden;
      const texts = [
        [5, 9, 20, 31, 7],
        [8, 3],
        [40, 41, 42, 43],
      ];
      const graph = t.fuse(textGraph(family, config, weight, { of: pooling, hasTypes: false }));
      const read = async (rows: readonly (readonly number[])[]): Promise<Float32Array> => {
        const length = Math.max(...rows.map((row) => row.length));
        const filled = (of: (row: readonly number[], i: number) => number) =>
          ints(
            [rows.length, length],
            rows.flatMap((row) => Array.from({ length }, (_, i) => of(row, i))),
          );
        const ids = filled((row, i) => row[i] ?? 1);
        const values: Values = { ids, mask: filled((row, i) => Number(i < row.length)), positions: positionsOf(ids) };
        return (await evaluate(graph, { ...weightValues, ...values })).vectors as Float32Array;
      };
      const together = await read(texts);
      const width = config.hiddenSize;
      for (const [r, text] of texts.entries()) {
        const alone = await read([text]);
        assert.ok(relativeError(together.slice(r * width, (r + 1) * width), alone) < 1e-5, `text ${r}`);
        const hidden = await hiddenOf(golden, text);
        const rows = text.map((_, i) => hidden.slice(i * width, (i + 1) * width));
        assert.ok(relativeError(alone, byHand[pooling](rows)) < 1e-5, `text ${r} by hand`);
      }
    });

async function hiddenOf(golden: GoldenFamily, text: readonly number[]): Promise<Float32Array> {
  const ids = ints([1, text.length], text);
  const mask = ints([1, text.length], new Array(text.length).fill(1));
  const graph = t.fuse(t.graph({ hidden: wholeForward(golden).hidden }));
  const results = await evaluate(graph, { ...golden.weightValues, ids, mask, positions: positionsOf(ids) });
  return results.hidden as Float32Array;
}
