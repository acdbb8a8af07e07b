// Gemma 3 270M against its goldens (transformers on the dequantised weights): ids, greedy, top logits, likelihoods, both forms.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import type { Candidates } from "../../src/engine/logits.ts";
import { Engine, type Form, GREEDY, type Lease } from "../../src/engine/mod.ts";
import { Runtime } from "../../src/runtime/mod.ts";
import { gemma3 } from "../setup/gemma3.ts";
import { openResident, rowOf } from "../setup/resident.ts";

interface Golden {
  readonly texts: readonly {
    text: string;
    ids: number[];
    last_top8_ids: number[];
    last_top8_logits: number[];
    mean_nll: number;
    greedy16: number[];
    greedy_min_margin: number;
  }[];
  readonly long_text: { tokens: number; first8: number[]; last8: number[]; mean_nll: number; argmax: number[] };
}
const read = (name: string) => readFile(new URL(`../goldens/real/${name}`, import.meta.url), "utf8");
const golden = JSON.parse(await read("gemma3-270m-q4_k_m.json")) as Golden;

let engine: Engine;
before(async () => {
  const { home } = await gemma3();
  engine = await Engine.open({
    home,
    threads: 2,
    spinning: false,
    budgetBytes: () => 8e9,
    now: () => performance.now(),
  });
});
after(() => engine[Symbol.asyncDispose]());

async function greedy(lease: Lease, ids: readonly number[], maxTokens: number): Promise<readonly number[]> {
  for await (const event of lease.generate({ prompt: { ids }, seed: 0, sampling: GREEDY, maxTokens, ignoreEos: true }))
    if (event.type === "end") return event.ids;
  return assert.fail("no end");
}

async function longText(form: Form) {
  await using lease = await engine.lease("gemma3-270m", { form });
  const { tokens, first8, last8, mean_nll, argmax } = golden.long_text;
  const ids = (await lease.promptIds({ text: await read("long-text.txt") })).slice(0, tokens);
  assert.deepEqual([ids.slice(0, 8), ids.slice(-8)], [first8, last8]);
  const score = await lease.score(ids);
  const same = score.argmax.filter((id, i) => id === argmax[i]).length / argmax.length;
  return { score, same, error: Math.abs(score.meanNll / mean_nll - 1) };
}

const figures = ({ score, error, same }: Awaited<ReturnType<typeof longText>>) =>
  `mean NLL ${score.meanNll}, relative error ${error.toExponential(1)}, same argmax ${(100 * same).toFixed(2)} %`;

test("float32: ids, and greedy continuations of texts; one may part at a margin below 0.01", async () => {
  await using lease = await engine.lease("gemma3-270m", { form: "f32" });
  for (const { text, ids, greedy16, greedy_min_margin } of golden.texts) {
    assert.deepEqual(await lease.promptIds({ text, control: true }), ids);
    const got = await greedy(lease, ids, greedy16.length);
    if (greedy_min_margin >= 0.01) assert.deepEqual(got, greedy16, text);
  }
});

test("float32: the top 8 logits are within 1e-3, and each text's mean likelihood within 1e-4", async () => {
  const stored = await engine.pull("gemma3-270m");
  await using runtime = await Runtime.open({ threads: 2, spinning: false });
  await using resident = await openResident(await engine.prepare(stored, "f32"), runtime);
  for (const { ids, last_top8_ids, last_top8_logits } of golden.texts) {
    using row = rowOf(resident, ids.length);
    const candidates = (await row.feed(ids)) as Candidates;
    assert.deepEqual(candidates.ids.slice(0, 8), last_top8_ids);
    for (const [i, logit] of last_top8_logits.entries()) {
      const got = candidates.logits[i] as number;
      assert.ok(Math.abs(got - logit) <= 1e-3 * Math.abs(logit), `${got} for ${logit}`);
    }
  }
  await using lease = await engine.lease("gemma3-270m", { form: "f32" });
  for (const { ids, mean_nll } of golden.texts)
    assert.ok(Math.abs((await lease.score(ids)).meanNll / mean_nll - 1) < 1e-4);
});

test("float32: the long text's mean likelihood within 1e-4, the same argmax at 99.5 % of positions", async (t) => {
  const found = await longText("f32");
  t.diagnostic(figures(found));
  assert.ok(found.error < 1e-4 && found.same >= 0.995);
});

test("the serving form: the long text's mean likelihood within 1 %, the same argmax at 95 % of positions", async (t) => {
  const found = await longText("blocks");
  t.diagnostic(figures(found));
  assert.ok(found.error < 0.01 && found.same >= 0.95);
});
