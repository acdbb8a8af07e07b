import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { refine } from "./candidates.ts";

test("refined candidates are the first of all refined logits in order, and the log sum is theirs", () => {
  const logits = fc.array(fc.double({ min: -6, max: 6, noNaN: true }), { minLength: 4, maxLength: 30 });
  fc.assert(
    fc.property(
      logits,
      fc.integer({ min: 1, max: 6 }),
      fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 6, maxLength: 6 }),
      (raw, wanted, errors) => {
        const all = Float32Array.from(raw);
        const count = Math.min(wanted, all.length);
        const order = Array.from(all.keys()).sort((a, b) => (all[b] as number) - (all[a] as number) || a - b);
        const top = order.slice(0, Math.min(count + 1, all.length));
        const exactLogits = Float32Array.from(
          top.slice(0, count),
          (id, i) => (all[id] as number) + (errors[i] as number),
        );
        const logSum = (x: ArrayLike<number>) => Math.log(Array.from(x).reduce((sum, l) => sum + Math.exp(l * 0.5), 0));
        const topLogits = Float32Array.from(top, (id) => all[id] as number);
        const logSumExp = logSum(all);
        const got = refine({
          all,
          topIds: BigInt64Array.from(top, BigInt),
          topLogits,
          exactLogits,
          logSumExp,
          inverseTemperature: 0.5,
        });
        const sorted = Array.from(all.keys()).sort((a, b) => (all[b] as number) - (all[a] as number) || a - b);
        assert.deepEqual(got.ids, sorted.slice(0, got.ids.length));
        assert.deepEqual(
          got.logits,
          got.ids.map((id) => all[id]),
        );
        assert.ok(Math.abs(got.logSumExp - logSum(all)) < 1e-6);
        for (const [i, id] of top.slice(0, count).entries()) assert.equal(all[id], exactLogits[i]);
      },
    ),
  );
});
