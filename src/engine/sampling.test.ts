import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { seededRandom } from "../base/mod.ts";
import { type Candidates, checkSampling, distribution, GREEDY, type Sampling, sample } from "./sampling.ts";

/** Candidates as the Graph chooses them: the best k and the log sum over all. */
function candidatesOf(all: readonly number[], k: number, temperature: number): Candidates {
  const ids = all
    .map((_, i) => i)
    .sort((a, b) => (all[b] as number) - (all[a] as number) || a - b)
    .slice(0, k);
  const top = Math.max(...all);
  const logSumExp = top / temperature + Math.log(all.reduce((sum, x) => sum + Math.exp((x - top) / temperature), 0));
  return { ids, logits: ids.map((id) => all[id] as number), logSumExp, all };
}
const logits = fc.array(fc.oneof(fc.double({ min: -8, max: 8, noNaN: true }), fc.constantFrom(0, 1, 2)), {
  minLength: 9,
  maxLength: 40,
});
const settings: fc.Arbitrary<Sampling> = fc.record({
  temperature: fc.double({ min: 0.1, max: 3, noNaN: true }),
  topK: fc.integer({ min: 0, max: 45 }),
  topP: fc.double({ min: 0.05, max: 1, noNaN: true }),
  minP: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, noNaN: true })),
  repetitionPenalty: fc.constantFrom(1, 1, 1.3),
});

test("choosing from the graph's candidates equals choosing from all logits", () => {
  fc.assert(
    fc.property(logits, settings, fc.integer({ min: 1, max: 9 }), fc.nat(), (all, s, k, seed) => {
      const seen = new Set([1, 3]);
      const near = sample(candidatesOf(all, k, s.temperature), s, seen, seededRandom(seed));
      const whole = sample(candidatesOf(all, all.length, s.temperature), s, seen, seededRandom(seed));
      assert.equal(near, whole);
    }),
    { numRuns: 3000 },
  );
});

test("probabilities sum to one wherever all that may be drawn is known", () => {
  fc.assert(
    fc.property(logits, settings, (all, s) => {
      const { probabilities, isPartial } = distribution(candidatesOf(all, all.length, s.temperature), s, new Set());
      assert.equal(isPartial, false);
      assert.ok(Math.abs(probabilities.reduce((a, b) => a + b, 0) - 1) < 1e-9);
    }),
  );
});

test("temperature 0 takes the most likely token, after the penalty", () => {
  const all = [1, 5, 4.9, -2];
  assert.equal(sample(candidatesOf(all, 2, 1), GREEDY, new Set([1]), seededRandom(1)), 1);
  assert.equal(
    sample(candidatesOf(all, 2, 1), { ...GREEDY, repetitionPenalty: 1.3 }, new Set([1]), seededRandom(1)),
    2,
  );
});

test("the same seed draws the same tokens, another seed others", () => {
  const all = Array.from({ length: 40 }, (_, i) => Math.sin(i));
  const s = { ...GREEDY, temperature: 1 };
  const draw = (seed: number) => {
    const random = seededRandom(seed);
    return Array.from({ length: 30 }, () => sample(candidatesOf(all, 8, 1), s, new Set(), random));
  };
  assert.deepEqual(draw(3), draw(3));
  assert.notDeepEqual(draw(3), draw(4));
});

test("settings that mean nothing are refused by name", () => {
  for (const [change, message] of [
    [{ temperature: -1 }, /sampling: temperature: got -1, wanted 0 or more/],
    [{ topP: 0 }, /topP: got 0, wanted more than 0/],
    [{ minP: 2 }, /minP: got 2/],
    [{ topK: 1.5 }, /topK: got 1.5/],
    [{ repetitionPenalty: Number.NaN }, /repetitionPenalty: got NaN/],
  ] as const)
    assert.throws(() => checkSampling({ ...GREEDY, ...change }), message);
});
