// The equalities of hooks over every family, encoders too: asking for nothing changes no byte, a patch with the run's own values
// changes nothing at any HookPoint, resuming at a layer is the whole run, rows of a batch do not see each other's interventions.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { type Intervention, resumeAt, withInterventions } from "../src/hooks/mod.ts";
import { families } from "../src/models/mod.ts";
import * as t from "../src/tensor/mod.ts";
import { type Array_, evaluate, floats, ints, relativeError, testRuntime } from "./evaluate.ts";
import { goldenFamily, wholeForward } from "./golden-family.ts";

after(async () => (await testRuntime())[Symbol.asyncDispose]());

const [ROWS, LENGTH] = [2, 7];

async function familyOf(name: string) {
  const golden = await goldenFamily(name);
  const { hidden, logits } = wholeForward(golden);
  const graph = t.graph({ out: logits ?? hidden });
  const shape = [ROWS, LENGTH];
  const tokens: Record<string, Array_> = {
    ids: ints(
      shape,
      Array.from({ length: ROWS * LENGTH }, (_, i) => (i * 29 + 7) % 160),
    ),
    positions: ints(
      shape,
      Array.from({ length: ROWS * LENGTH }, (_, i) => i % LENGTH),
    ),
    mask: ints(shape, new Array(ROWS * LENGTH).fill(1)),
  };
  const run = (g: t.Graph, inputs: Record<string, Array_> = {}) =>
    evaluate(t.fuse(g), { ...golden.weightValues, ...tokens, ...inputs });
  const sizes = (hook: string): number[] =>
    (t.withTaps(graph, [hook]).outputs[hook] as t.Value).shape.map((dim) => t.evaluateDim(dim, { B: ROWS, T: LENGTH }));
  return { graph, run, sizes, layers: golden.config.layers };
}
const maskOf = (shape: readonly number[], row?: number): Array_ => {
  const masked = [...shape.slice(0, -1), 1];
  const length = masked.reduce((a, b) => a * b);
  return {
    shape: masked,
    data: Uint8Array.from({ length }, (_, i) => Number(row === undefined || Math.floor((i * ROWS) / length) === row)),
  };
};
const set = (hook: string): Intervention => ({ name: "i", hook, kind: "set" });

for (const { name } of families) {
  test(`${name}: asking for nothing changes no byte of the Graph`, async () => {
    const { graph } = await familyOf(name);
    const bytes = (g: t.Graph) =>
      t.onnxBytes(t.fuse(g), { locate: () => ({ location: "w", offset: "0", length: "4" }) });
    assert.deepEqual(bytes(withInterventions(graph, [])), bytes(graph));
    assert.deepEqual(bytes(t.withTaps(graph, [])), bytes(graph));
  });

  test(`${name}: at every HookPoint the run's own values change nothing`, async () => {
    const { graph, run, sizes } = await familyOf(name);
    const hooks = t.hookPoints(graph);
    assert.ok(hooks.length > 20, hooks.join());
    const plain = await run(t.withTaps(graph, hooks));
    for (const hook of hooks) {
      const shape = sizes(hook);
      const inputs = { "i.value": floats(shape, plain[hook] as Float32Array), "i.mask": maskOf(shape) };
      const got = await run(withInterventions(graph, [set(hook)]), inputs);
      const error = relativeError(got.out as Float32Array, plain.out as Float32Array);
      assert.ok(error < 1e-5, `${hook}: ${error}`);
    }
  });

  test(`${name}: resuming at the last layer equals the whole run`, async () => {
    const { graph, run, sizes, layers } = await familyOf(name);
    const hook = `blocks.${layers - 1}.hook_resid_pre`;
    const whole = await run(t.withTaps(graph, [hook]));
    const got = await run(resumeAt(graph, hook), {
      [`from.${hook}`]: floats(sizes(hook), whole[hook] as Float32Array),
    });
    assert.ok(relativeError(got.out as Float32Array, whole.out as Float32Array) < 1e-5);
  });

  test(`${name}: an intervention in one row leaves the other row's bits alone`, async () => {
    const { graph, run, sizes } = await familyOf(name);
    for (const hook of ["blocks.0.attn.hook_z", "blocks.0.attn.hook_pattern", "blocks.1.hook_resid_pre"]) {
      const shape = sizes(hook);
      const g = withInterventions(graph, [{ name: "i", hook, kind: "zero" }]);
      const [off, on] = [await run(g, { "i.mask": maskOf(shape, -1) }), await run(g, { "i.mask": maskOf(shape, 0) })];
      const half = (off.out as Float32Array).length / ROWS;
      assert.deepEqual((on.out as Float32Array).slice(half), (off.out as Float32Array).slice(half), hook);
      assert.notDeepEqual((on.out as Float32Array).slice(0, half), (off.out as Float32Array).slice(0, half), hook);
    }
  });
}
