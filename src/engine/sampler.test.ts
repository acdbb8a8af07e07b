import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { seededRandom } from "../base/mod.ts";
import { distributions, drawn, likeliest } from "./distribution.ts";
import { ALL_ALLOWED, type Allowed, type Candidates, ChangedLogits, type History } from "./logits.ts";
import { Sampler, type SamplerOptions } from "./sampler.ts";
import { checkSampling, GREEDY, type Sampling } from "./sampling.ts";

/** Candidates as the Graph chooses them: the best k and the log sum over all. */
function candidatesOf(all: readonly number[], k: number, temperature: number): Candidates {
  const ids = all
    .map((_, i) => i)
    .sort((a, b) => (all[b] as number) - (all[a] as number) || a - b)
    .slice(0, k);
  // a boundary shared with a token that is no candidate bounds the list from below, as it does in refine()
  const best = new Set(ids);
  const rest = all.reduce((most, x, i) => (best.has(i) ? most : Math.max(most, x)), Number.NEGATIVE_INFINITY);
  const kept = ids.filter((id) => (all[id] as number) > rest || k >= all.length);
  const top = all.reduce((most, x) => Math.max(most, x));
  const divisor = temperature > 0 ? temperature : 1;
  const logSumExp = top / divisor + Math.log(all.reduce((sum, x) => sum + Math.exp((x - top) / divisor), 0));
  return { ids: kept, logits: kept.map((id) => all[id] as number), logSumExp, all };
}
const logits = fc.array(fc.oneof(fc.double({ min: -8, max: 8, noNaN: true }), fc.constantFrom(0, 1, 2)), {
  minLength: 9,
  maxLength: 40,
});
const settings: fc.Arbitrary<Sampling> = fc.record({
  temperature: fc.double({ min: 0.1, max: 3, noNaN: true }),
  topK: fc.integer({ min: 0, max: 45 }),
  topP: fc.oneof(fc.constant(1), fc.double({ min: 0.05, max: 1, noNaN: true })),
  minP: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, noNaN: true })),
  typicalP: fc.oneof(fc.constant(1), fc.double({ min: 0.05, max: 1, noNaN: true })),
  repetitionPenalty: fc.constantFrom(1, 1, 1.3, 0.8),
  frequencyPenalty: fc.constantFrom(0, 0, 0.7, -0.5),
  presencePenalty: fc.constantFrom(0, 0, 0.4, -2),
  logitBias: fc.constantFrom<Readonly<Record<number, number>>>({}, { 2: 5, 7: -3 }, { 0: Number.NEGATIVE_INFINITY }),
});
const HISTORY: History = {
  seen: new Set([1, 3, 5]),
  counts: new Map([
    [3, 2],
    [5, 1],
  ]),
};
const allowed: fc.Arbitrary<Allowed> = fc.record({
  banned: fc.constantFrom(new Set<number>(), new Set([4, 6])),
  mask: fc.constantFrom(undefined, Uint32Array.of(0b1011_0110_1111, 0xff)),
});
const changed = (all: readonly number[], k: number, s: Sampling, may = ALL_ALLOWED) =>
  new ChangedLogits(candidatesOf(all, k, s.temperature), s, HISTORY, may);

test("choosing from the graph's candidates equals choosing from all logits", () => {
  fc.assert(
    fc.property(logits, settings, allowed, fc.integer({ min: 1, max: 9 }), fc.nat(), (all, s, may, k, seed) => {
      const near = drawn(changed(all, k, s, may), s, seededRandom(seed));
      const whole = drawn(changed(all, all.length, s, may), s, seededRandom(seed));
      assert.equal(near, whole);
    }),
    { numRuns: 5000 },
  );
});

test("what a large vocabulary's tail is cut at is found without sorting all of it", () => {
  const random = seededRandom(4);
  const all = Array.from({ length: 30_000 }, () => 3 * (random.next() + random.next() + random.next()));
  for (const s of [
    { ...GREEDY, temperature: 1.5, topP: 0.99 },
    { ...GREEDY, temperature: 1, topK: 800 },
  ])
    for (let seed = 0; seed < 20; seed++)
      assert.equal(
        drawn(changed(all, 64, s), s, seededRandom(seed)),
        drawn(changed(all, all.length, s), s, seededRandom(seed)),
      );
});

test("probabilities sum to one wherever all that may be drawn is known", () => {
  fc.assert(
    fc.property(logits, settings, allowed, (all, s, may) => {
      const last = [...distributions(changed(all, 5, s, may), s)].at(-1);
      assert.equal(last?.isPartial, false);
      assert.ok(Math.abs((last?.probabilities ?? []).reduce((a, b) => a + b, 0) - 1) < 1e-9);
    }),
  );
});

test("temperature 0 takes the most likely token, after penalties, biases and bans", () => {
  const all = [1, 5, 4.9, -2, 0, 0, 0, 0];
  const greedy = (s: Partial<Sampling>, may = ALL_ALLOWED) => likeliest(changed(all, 2, { ...GREEDY, ...s }, may));
  assert.equal(greedy({}), 1);
  assert.equal(greedy({ repetitionPenalty: 1.3 }), 2);
  assert.equal(greedy({ logitBias: { 6: 9 } }), 6);
  assert.equal(greedy({}, { banned: new Set([1, 2]) }), 0);
  assert.equal(greedy({}, { banned: new Set(), mask: Uint32Array.of(0b1000) }), 3);
  assert.throws(() => greedy({}, { banned: new Set(), mask: Uint32Array.of(0) }), /no token may come next/);
});

const sampler = (options: Partial<SamplerOptions>) =>
  new Sampler({ sampling: { ...GREEDY, temperature: 1 }, seed: 1, vocabSize: 40, prompt: [], ...options });

test("the same seed draws the same tokens, another seed others", () => {
  const all = Array.from({ length: 40 }, (_, i) => Math.sin(i));
  const draw = (seed: number) => {
    const one = sampler({ seed });
    return Array.from({ length: 30 }, () => one.choose(candidatesOf(all, 8, 1)));
  };
  assert.deepEqual(draw(3), draw(3));
  assert.notDeepEqual(draw(3), draw(4));
});

test("banned sequences never become whole, ends wait for their time, a constraint is asked and told", () => {
  const all = [9, 8, 7, 6, 5];
  const candidates = candidatesOf(all, 3, 0);
  const told: number[] = [];
  const one = sampler({
    ...{ sampling: GREEDY, vocabSize: 5, prompt: [4, 1], ends: [0], minTokens: 3 },
    banned: [[4, 1, 1], [2], [3, 1]],
    constraint: {
      allowed: () => (told.length === 2 ? Uint32Array.of(0b11000) : undefined),
      accept: (id) => told.push(id),
    },
  });
  const made = Array.from({ length: 5 }, () => {
    const id = one.choose(candidates);
    one.accept(id);
    return id;
  });
  // 0 ends, 1 would make 4 1 1, 2 is banned: 3; then 1 would make 3 1: 3 again; only 3 and 4 may come: 3; then 0
  assert.deepEqual(made, [3, 3, 3, 0, 0]);
  assert.deepEqual(told, made);
});

test("log-probabilities are the model's own, whatever the sampling", () => {
  const all = [1, 2, 3, 4];
  const total = Math.log(all.reduce((sum, x) => sum + Math.exp(x), 0));
  for (const temperature of [0, 1, 0.3]) {
    const one = sampler({ sampling: { ...GREEDY, temperature, logitBias: { 0: 9 } }, vocabSize: 4, logprobs: 2 });
    const got = one.logprobs(candidatesOf(all, 4, temperature), 0);
    assert.ok(Math.abs((got?.logprob as number) - (1 - total)) < 1e-12);
    assert.deepEqual(
      got?.top.map(({ id }) => id),
      [3, 2],
    );
  }
  assert.equal(sampler({}).logprobs(candidatesOf(all, 4, 1), 0), undefined);
});

test("settings that mean nothing are refused by name", () => {
  for (const [change, message] of [
    [{ temperature: -1 }, /sampling: temperature: got -1, wanted 0 or more/],
    [{ topP: 0 }, /topP: got 0, wanted more than 0/],
    [{ minP: 2 }, /minP: got 2/],
    [{ topK: 1.5 }, /topK: got 1.5/],
    [{ typicalP: 0 }, /typicalP: got 0/],
    [{ repetitionPenalty: Number.NaN }, /repetitionPenalty: got NaN/],
    [{ frequencyPenalty: Number.POSITIVE_INFINITY }, /frequencyPenalty: got Infinity, wanted a number/],
    [{ logitBias: { 9: 1 } }, /a token id of logitBias: got 9, wanted 0 to 4/],
    [{ logitBias: { 1: Number.NaN } }, /logitBias of 1: got NaN/],
  ] as const)
    assert.throws(() => checkSampling({ ...GREEDY, ...change }, 5), message);
});
