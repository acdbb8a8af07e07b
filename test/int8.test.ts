// Linear layers in 8-bit integers: the kernels equal the bodies, the layers equal those they stand for within the rounding of a
// channel's weights, and a row has the same bits in any batch.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { seededRandom } from "../src/base/mod.ts";
import * as t from "../src/tensor/mod.ts";
import { type Array_, evaluate, floats, primitivesOnly, relativeError, testRuntime, type Values } from "./evaluate.ts";

after(async () => (await testRuntime())[Symbol.asyncDispose]());

const random = seededRandom(3);
const uniform = (...shape: number[]): Array_ =>
  floats(
    shape,
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 2 * random.next() - 1),
  );
const x = t.input("x", "float32", ["T", 64]);
const w = (name: string, ...shape: number[]) => t.weight(name, "float32", shape);

interface Layer {
  readonly isWide?: boolean;
  readonly y: t.Value;
  readonly values: Values;
}
const layers: Readonly<Record<string, () => Layer>> = {
  "over any input": () => ({ y: t.linear(x, w("w", 48, 64)), values: { w: uniform(48, 64) } }),
  "over a normed input": () => ({
    y: t.linear(t.rmsNorm(x, w("g", 64), 1e-5), w("w", 208, 64)),
    values: { w: uniform(208, 64), g: uniform(64) },
    isWide: true,
  }),
  "over an input with mean and bias": () => ({
    y: t.linear(t.layerNorm(x, w("g", 64), w("b", 64), 1e-5), w("w", 208, 64)),
    values: { w: uniform(208, 64), g: uniform(64), b: uniform(64) },
    isWide: true,
  }),
  "several over one input": () => ({
    y: t.concat(t.linears(x, [w("w", 48, 64), w("v", 16, 64)]), -1),
    values: { w: uniform(48, 64), v: uniform(16, 64) },
  }),
  "with a weight stored [in, out]": () => ({ y: t.matmul(x, w("w", 64, 48)), values: { w: uniform(64, 48) } }),
};

for (const [name, layer] of Object.entries(layers))
  test(`a layer ${name} equals the one it stands for, and its kernels their bodies`, async () => {
    const { y, values, isWide = false } = layer();
    const plain = t.graph({ y });
    for (const [measured, kind] of [
      [new Map<string, Float32Array>(), "int8Fine"],
      [new Map([["w", Float32Array.from({ length: 64 }, (_, i) => 1 + (i % 7))]]), isWide ? "int8Rows" : "int8Fine"],
    ] as const) {
      const fused = t.fuse(plain, t.int8Fusions(measured));
      assert.match(t.printGraph(fused), new RegExp(`= ${kind}`));
      const rows = [...(uniform(5, 64).data as Float32Array), ...new Float32Array(64)];
      const given = { ...values, x: floats([6, 64], rows) };
      const [got, body, wanted] = [
        await evaluate(fused, given),
        await evaluate(primitivesOnly(fused), given),
        await evaluate(primitivesOnly(plain), given),
      ].map(({ y: numbers }) => numbers as Float32Array) as [Float32Array, Float32Array, Float32Array];
      assert.ok(relativeError(got, body) < 2e-6, `kernel: ${relativeError(got, body)}`);
      const error = relativeError(got, wanted);
      assert.ok(error > 0 && error < 0.015, `layer: ${error}`);
    }
  });

test("an input is taken with 16 bits: exact weights give an exact product", async () => {
  const whole = Float32Array.from({ length: 64 * 48 }, (_, i) =>
    i % 64 === 0 ? 127 : Math.floor(255 * random.next()) - 127,
  );
  const { y } = (layers["over any input"] as () => Layer)();
  const given = { w: floats([48, 64], whole), x: uniform(7, 64) };
  const [got, wanted] = [
    await evaluate(t.fuse(t.graph({ y }), t.int8Fusions()), given),
    await evaluate(primitivesOnly(t.graph({ y })), given),
  ];
  assert.ok(relativeError(got.y as Float32Array, wanted.y as Float32Array) < 1e-4);
});

test("a row has the same bits in any batch", async () => {
  const { y, values } = (layers["over any input"] as () => Layer)();
  const fused = t.fuse(t.graph({ y }), t.int8Fusions());
  const all = uniform(33, 64);
  const { y: together } = await evaluate(fused, { ...values, x: all });
  for (const r of [0, 7, 32]) {
    const row = (all.data as Float32Array).slice(r * 64, (r + 1) * 64);
    const { y: alone } = await evaluate(fused, { ...values, x: floats([1, 64], row) });
    assert.deepEqual(alone, (together as Float32Array).slice(r * 48, (r + 1) * 48));
  }
});
