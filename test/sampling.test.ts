// Sampling from a Program's real candidates: the probabilities of transformers' logits processors, at 1e-6.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, test } from "node:test";
import { candidatesOf } from "../src/engine/candidates.ts";
import { distribution, GREEDY, type Sampling } from "../src/engine/sampling.ts";
import * as t from "../src/tensor/mod.ts";
import { evaluate, floats, testRuntime } from "./evaluate.ts";

after(async () => (await testRuntime())[Symbol.asyncDispose]());

interface Case {
  readonly chain: string;
  readonly logits: readonly number[];
  readonly previous: readonly number[];
  readonly probs: readonly number[];
}
const { cases } = JSON.parse(await readFile(new URL("goldens/sampling.json", import.meta.url), "utf8")) as {
  cases: readonly Case[];
};

/** "rep1.1 t0.8 k20 p0.95" as settings; undefined where the chain has a filter that Irori does not offer yet. */
function settingsOf(chain: string): Sampling | undefined {
  const names: Readonly<Record<string, keyof Sampling>> = {
    t: "temperature",
    k: "topK",
    p: "topP",
    minp: "minP",
    rep: "repetitionPenalty",
  };
  let settings: Sampling = { ...GREEDY, temperature: 1 };
  for (const part of chain.split(" ")) {
    const [, name = "", value] = /^([a-z]+)([\d.]+)$/.exec(part) ?? [];
    const key = names[name];
    if (key === undefined) return undefined;
    settings = { ...settings, [key]: Number(value) };
  }
  return settings;
}

/** What a step gives of these logits, choosing `k` candidates in the Graph. */
async function candidates(logits: readonly number[], k: number, temperature: number) {
  const x = t.input("x", "float32", [1, logits.length]);
  const [top, ids] = t.topK(x, k);
  const logSumExp = t.logSumExp(t.mul(x, t.scalar(1 / temperature)));
  const got = await evaluate(t.fuse(t.graph({ top, ids, logSumExp })), { x: floats([1, logits.length], logits) });
  return {
    ids: [...(got.ids as Float32Array)],
    logits: [...(got.top as Float32Array)],
    logSumExp: (got.logSumExp as Float32Array)[0] as number,
    all: Float32Array.from(logits),
  };
}

let compared = 0;
for (const [i, { chain, logits, previous, probs }] of cases.entries()) {
  const settings = settingsOf(chain);
  if (settings === undefined) continue;
  compared++;
  test(`case ${i}, ${chain}: equal to transformers'`, async () => {
    for (const k of [candidatesOf({ vocabSize: logits.length }), 12]) {
      const { ids, probabilities, isPartial } = distribution(
        await candidates(logits, k, settings.temperature),
        settings,
        new Set(previous),
      );
      const got = Array<number>(logits.length).fill(0);
      ids.forEach((id, at) => {
        got[id] = probabilities[at] as number;
      });
      probs.forEach((p, id) => {
        if (isPartial && !ids.includes(id)) return;
        assert.ok(Math.abs((got[id] as number) - p) < 1e-6, `token ${id}: ${got[id]} for ${p}`);
      });
    }
  });
}

test("every chain but typical sampling's is compared", () => {
  assert.equal(compared, cases.filter(({ chain }) => !chain.includes("typical")).length);
});
