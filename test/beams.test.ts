// Beam search over a model's rows: the continuations and scores of transformers, on goldens made by it.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { BeamOptions } from "../src/engine/beam-search.ts";
import { beams } from "../src/engine/beams.ts";
import { Engine } from "../src/engine/mod.ts";
import type { Resident } from "../src/engine/resident.ts";
import { Runtime } from "../src/runtime/mod.ts";
import { openResident } from "./setup/resident.ts";

interface Case extends Omit<BeamOptions, "early"> {
  readonly prompt: readonly number[];
  readonly early: boolean | "never";
  readonly ids: readonly (readonly number[])[];
  readonly scores: readonly number[];
}
const { cases } = JSON.parse(await readFile(new URL("goldens/beams.json", import.meta.url), "utf8")) as {
  readonly cases: readonly Case[];
};

let folder: string;
let runtime: Runtime;
let resident: Resident;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "irori-beams-"));
  const now = () => performance.now();
  await using engine = await Engine.open({ home: folder, threads: 2, spinning: false, now, budgetBytes: () => 8e9 });
  const path = fileURLToPath(new URL("goldens/families/llama", import.meta.url));
  const prepared = await engine.prepare(await engine.pull(`file:${path}`), "f32");
  runtime = await Runtime.open({ threads: 2, spinning: false });
  resident = await openResident(prepared, runtime);
});
after(async () => {
  await resident[Symbol.asyncDispose]();
  await runtime[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const EARLY = { true: "full", false: "heuristic", never: "never" } as const;

test(`${cases.length} searches give transformers' continuations and scores`, async () => {
  const { model, batcher, memory, manifest } = resident;
  const setting = { model, config: manifest.config, tokenizer: undefined, batcher, memory, openMs: 0, now: () => 0 };
  let compared = 0;
  for (const [i, { prompt, early, ids, scores, ...options }] of cases.entries()) {
    const found = await beams(setting, prompt, { ...options, early: EARLY[`${early}`] });
    assert.deepEqual(
      found.map((each) => each.ids),
      ids,
      `case ${i}`,
    );
    for (const [b, { score }] of found.entries())
      assert.ok(Math.abs(score - (scores[b] as number)) < 1e-4 * Math.max(1, Math.abs(score)), `case ${i}, ${b}`);
    compared++;
  }
  assert.ok(compared > 100);
  assert.equal(memory.inUse, 0);
});
