// Sampling from a Program's real candidates: the probabilities of transformers' logits processors, at 1e-6.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, test } from "node:test";
import { candidatesOf } from "../src/engine/candidates.ts";
import { distributions } from "../src/engine/distribution.ts";
import { ChangedLogits } from "../src/engine/logits.ts";
import { GREEDY, type Sampling } from "../src/engine/sampling.ts";
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

/** "rep1.1 t0.8 k20 p0.95" as settings. */
function settingsOf(chain: string): Sampling {
  const names: Readonly<Record<string, keyof Sampling>> = {
    t: "temperature",
    k: "topK",
    p: "topP",
    minp: "minP",
    typical: "typicalP",
    rep: "repetitionPenalty",
  };
  let settings: Sampling = { ...GREEDY, temperature: 1 };
  for (const part of chain.split(" ")) {
    const [, name = "", value] = /^([a-z]+)([\d.]+)$/.exec(part) ?? [];
    settings = { ...settings, [names[name] ?? assert.fail(`no setting is ${name}`)]: Number(value) };
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

for (const [i, { chain, logits, previous, probs }] of cases.entries()) {
  const settings = settingsOf(chain);
  test(`case ${i}, ${chain}: equal to transformers'`, async () => {
    for (const k of [candidatesOf({ vocabSize: logits.length }), 12]) {
      const step = await candidates(logits, k, settings.temperature);
      const history = { seen: new Set(previous), counts: new Map<number, number>() };
      const all = [...distributions(new ChangedLogits(step, settings, history), settings)];
      const { ids, probabilities } = all.at(-1) ?? assert.fail("no distribution");
      const got = Array<number>(logits.length).fill(0);
      ids.forEach((id, at) => {
        got[id] = probabilities[at] as number;
      });
      probs.forEach((p, id) => {
        assert.ok(Math.abs((got[id] as number) - p) < 1e-6, `token ${id}: ${got[id]} for ${p}`);
      });
    }
  });
}
