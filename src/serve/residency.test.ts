// The planner without a model: items, refusals, eviction by cost. Numbers of checks: reference/serving-alt.md §7.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type HeldModel, itemsOf, NoRoomError, planResidency } from "./residency.ts";

const facts = (model: string, weightBytes = 1000) => ({
  ...{ model, context: 1000, weightBytes, ownBytes: 50, scratchBytes: 10 },
  kv: [
    { layers: 2, tokenBytes: 1 },
    { layers: 3, tokenBytes: 1, most: 100 },
  ],
});
const held = (model: string, more: Partial<HeldModel> = {}): HeldModel => ({
  ...{ model, bytes: 1000, isPinned: false, users: 0, idleMs: 0, loadMs: 1000, ...more },
});
const budget = (bytes: number) => ({ bytes, reserveBytes: 100 });

test("a plan counts weights, own memory, KV by kind of layer with its window, and scratch", () => {
  const items = itemsOf({ facts: facts("a"), context: 500 });
  assert.deepEqual(
    items.map(({ kind, bytes, isMapped }) => [kind, bytes, isMapped]),
    [
      ["weights", 1000, true],
      ["own", 50, false],
      ["kv", 2 * 501, false],
      ["kv", 3 * 101, false],
      ["scratch", 10, false],
    ],
  );
});

test("check 8: what exceeds the budget is refused with its table and the longest context that fits, exactly", () => {
  const want = { facts: facts("a"), context: 1000 };
  const plan = planResidency({ held: [] }, want, budget(3000));
  assert.ok(plan.verdict.type === "refused");
  const { longestContext } = plan.verdict;
  assert.equal(longestContext, 767); // 1,060 + 2 · 768 + 3 · 101 of the 2,900 beside the reserve
  const beside = planResidency({ held: [held("p", { bytes: 500, isPinned: true })] }, want, budget(3000)).verdict;
  assert.ok(beside.type === "refused");
  assert.equal(beside.longestContext, 517); // 500 fewer
  const at = (context: number) => planResidency({ held: [] }, { ...want, context }, budget(3000)).verdict.type;
  assert.deepEqual([at(longestContext), at(longestContext + 1)], ["fits", "refused"]);
  assert.match(
    new NoRoomError(plan, budget(3000)).message,
    new RegExp(`weights .*mapped.*KV of 2 layers.*window.*scratch.*; ${longestContext} tokens would fit`),
  );
});

test("idle models give way by what loading them costs for the time that nobody wanted them; pinned ones never", () => {
  const want = { facts: facts("new", 500), context: 1 };
  const state = {
    held: [
      held("dear", { loadMs: 60_000, idleMs: 5000 }),
      held("cheap", { loadMs: 100, idleMs: 5000 }),
      held("pinned", { loadMs: 1, idleMs: 1e9, isPinned: true }),
    ],
  };
  assert.deepEqual(planResidency(state, want, budget(3200)).verdict, { type: "fits", evict: ["cheap"] });
  const busy = { held: state.held.map((each) => ({ ...each, users: each.isPinned ? 0 : 1 })) };
  assert.deepEqual(planResidency(busy, want, budget(3200)).verdict, { type: "wait", waitFor: ["cheap"] });
  assert.equal(planResidency({ held: [held("p", { isPinned: true })] }, want, budget(1100)).verdict.type, "refused");
});
