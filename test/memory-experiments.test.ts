// 25: what an experiment says is what was measured: rules to compare with in the same table, as many questions that need no
// insight as such that do, nulls reported as nulls, and the same bits in every process. It asserts no outcome.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { exp23 } from "../src/memory/eval/exp23.ts";
import { makeExp23 } from "../src/memory/eval/exp23-data.ts";
import { runExperiment } from "../src/memory/eval/experiment.ts";
import { hashedEmbedder } from "../src/memory/mod.ts";
import { commandAt } from "./setup/command.ts";

const home = mkdtempSync(join(tmpdir(), "irori-experiments-"));
after(() => rmSync(home, { recursive: true, force: true }));

test("25: exp23 with extractive answers: static, the gauge's gate, a random one of the same rate and always, side by side", async () => {
  const rows = makeExp23(3).slice(0, 40);
  const experiment = exp23({ rows, embedder: hashedEmbedder, seed: 3, now: () => 0 });
  const { results, report } = await runExperiment(experiment, { versions: {} });
  const again = (gate: "static" | "gauge" | "random" | "always") =>
    results.filter((one) => one[gate].hasLookedAgain).length;
  assert.deepEqual([again("static"), again("always")], [0, 40]);
  assert.ok(again("gauge") > 0 && again("gauge") < 40);
  assert.equal(again("random"), again("gauge"));
  for (const line of ["static", "gauge", "random", "always", "gauge − static", "gauge − random"])
    assert.match(report, new RegExp(`^\\| ${line} \\|`, "m"));
  // no sentence is known beforehand: without the supporting episodes in the memory the answers lose their overlap
  const support = new Set(
    rows.flatMap(({ episodes }) => episodes.filter(({ role }) => role === "support").map(({ text }) => text)),
  );
  const stripped = rows.map((row) => ({ ...row, episodes: row.episodes.filter(({ text }) => !support.has(text)) }));
  const bare = await runExperiment(exp23({ rows: stripped, embedder: hashedEmbedder, seed: 3, now: () => 0 }), {
    versions: {},
  });
  const mean = (list: typeof results) => list.reduce((sum, one) => sum + one.gauge.overlap, 0) / list.length;
  assert.ok(mean(bare.results) < mean(results) / 2, `${mean(bare.results)} without support, ${mean(results)} with`);
});

test("25: the English set has as many questions that need no insight, always-true stands in the table, two processes give the same bits", () => {
  const { json } = commandAt(home);
  const [one, other] = [1, 2].map(() => json(["memory", "eval", "english", "--seed", "5"]));
  assert.deepEqual(one, other);
  const { results, report } = one as { results: { integrates: boolean }[]; report: string };
  assert.deepEqual([results.length, results.filter(({ integrates }) => integrates).length], [16, 8]);
  assert.match(report, /\| rule \| precision \| recall \| AUROC \|[\s\S]*\| always true \| 0\.500 \| 1 \| 0\.500 \|/);
});
