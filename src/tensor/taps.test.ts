import assert from "node:assert/strict";
import { test } from "node:test";
import * as t from "./mod.ts";

const x = t.input("x", "float32", ["T", 4]);
const early = t.tap(t.exp(x), "early");
const late = t.tap(t.tanh(t.add(early, x)), "late");
const whole = t.graph({ y: t.mul(late, early), side: t.neg(early) }, [x]);
const names = (g: t.Graph) => ({
  inputs: t.inputsOf(g).map(({ name }) => name),
  outputs: Object.keys(g.outputs).sort(),
});

test("stages end at their HookPoints, and an output belongs to the last HookPoint it depends on", () => {
  assert.deepEqual(t.cutAtTaps(whole, ["early", "late"]).map(names), [
    { inputs: ["x"], outputs: ["early"] },
    { inputs: ["early", "x"], outputs: ["late", "side"] },
    { inputs: ["early", "late", "x"], outputs: ["y"] },
  ]);
});

test("stages put together are the Graph", () => {
  const stages = t.cutAtTaps(whole, ["early", "late"]);
  const known: Record<string, t.Value> = { x };
  for (const stage of stages) {
    const joined = t.rewrite(stage, ({ node }) => {
      const value = known[node.attrs.name as string];
      return node.inputs.length === 0 && value !== undefined ? [value] : undefined;
    });
    Object.assign(known, joined.outputs);
  }
  const { y, side } = known as { y: t.Value; side: t.Value };
  assert.equal(t.graphHash(t.fuse(t.graph({ y, side }, [x]))), t.graphHash(t.fuse(whole)));
});

test("a HookPoint that is not there is a sentence", () => {
  assert.throws(() => t.cutAtTaps(whole, ["nowhere"]), /no HookPoint "nowhere"/);
  assert.throws(() => t.withTaps(whole, ["nowhere"]), /no HookPoint "nowhere"; there are early, late/);
});
