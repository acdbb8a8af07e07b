// What a training does to need less memory changes none of its numbers: steps in several runs, layers computed again.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type LoraOptions, LoraTraining } from "../src/adapt/mod.ts";
import { Engine, type TraceModel } from "../src/engine/mod.ts";
import { families } from "../src/models/mod.ts";
import * as t from "../src/tensor/mod.ts";
import { relativeError } from "./evaluate.ts";

let home: string;
let engine: Engine;
before(async () => {
  home = await mkdtemp(join(tmpdir(), "irori-training-"));
  const now = () => performance.now();
  engine = await Engine.open({ home, threads: 2, spinning: false, now, budgetBytes: () => 2 ** 40 });
});
after(async () => {
  await engine[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

async function modelOf(family: string): Promise<TraceModel> {
  const path = fileURLToPath(new URL(`goldens/families/${family}`, import.meta.url));
  const lease = await engine.lease(`file:${path}`, { form: "f32", warm: false });
  return lease.inside();
}
const examples = Array.from({ length: 8 }, (_, i) => ({
  ids: Array.from({ length: 5 + i }, (_, j) => 5 + ((i * 31 + j * 17) % 80)),
  learnFrom: 1 + (i % 3),
}));

/** Losses of every step, and the values of the adapter at the end. */
async function trained(model: TraceModel, more: Partial<LoraOptions>, watch: (g: t.Graph) => void = () => undefined) {
  const watched: TraceModel = {
    ...model,
    program: (graph) => {
      watch(graph);
      return model.program(graph);
    },
  };
  const training = LoraTraining.start(watched, {
    ...{ rank: 2, alpha: 4, targets: model.family.loraTargets, rate: 1e-2, schedule: "constant", warmup: 0, epochs: 2 },
    ...{ batch: 4, weightDecay: 0.01, clip: 1, seed: 3, ...more },
  });
  const losses: number[] = [];
  for await (const { loss } of training.run(examples)) losses.push(loss);
  return {
    losses,
    values: training.changes.flatMap(({ a, b }) => [...a, ...b]),
    held: await training.lossOf(examples),
  };
}

for (const { name } of families.filter(({ head }) => head !== undefined))
  test(`${name}: several runs a step, and layers computed again, train as one run that keeps everything`, async () => {
    const model = await modelOf(name);
    const plain = await trained(model, {});
    let repeated = 0;
    const watch = (g: t.Graph) => {
      repeated += t
        .printGraph(g)
        .split("\n")
        .filter((line) => line.includes("= after(")).length;
    };
    for (const [what, more] of Object.entries({
      "in runs of 1": { runBatch: 1 },
      "in runs of 3": { runBatch: 3 },
      "computed again": { isRecomputing: true },
      both: { runBatch: 2, isRecomputing: true },
    } satisfies Record<string, Partial<LoraOptions>>)) {
      repeated = 0;
      const other = await trained(model, more, watch);
      assert.ok(relativeError(Float32Array.from(other.losses), Float32Array.from(plain.losses)) < 1e-4, what);
      assert.ok(relativeError(Float32Array.from(other.values), Float32Array.from(plain.values)) < 2e-2, what);
      assert.equal(repeated > 0, "isRecomputing" in more, what);
    }
  });

test("a run without a token to learn is left out of its step", async () => {
  const model = await modelOf("gpt2");
  const ids = [5, 9, 22, 41];
  const some = [
    { ids, learnFrom: 1 },
    { ids, learnFrom: 4 },
  ];
  const options = {
    rank: 2,
    alpha: 4,
    targets: ["c_attn"],
    rate: 1e-2,
    schedule: "constant",
    warmup: 0,
    epochs: 1,
  } as const;
  const rest = { batch: 2, weightDecay: 0, clip: 1, seed: 0 };
  const losses: number[] = [];
  for (const more of [{}, { runBatch: 1 }])
    for await (const { loss } of LoraTraining.start(model, { ...options, ...rest, ...more }).run(some))
      losses.push(loss);
  assert.ok(Math.abs((losses[0] as number) - (losses[1] as number)) < 1e-5);
});
