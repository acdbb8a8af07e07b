import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { addDims, type Dim, divideDims, evaluateDim, mulDims, subDims } from "./dim.ts";
import * as t from "./mod.ts";
import { sha256Hex } from "./sha256.ts";

const x = t.input("x", "float32", ["T", 4]);

test("the hash of a graph does not depend on the order of construction", () => {
  const first = () => t.exp(x);
  const second = () => t.tanh(x);
  const [a1, b1] = [first(), second()];
  const b2 = second();
  const a2 = first();
  const one = t.graph({ sum: t.add(a1, b1), a: a1 });
  const other = t.graph({ a: a2, sum: t.add(a2, b2) });
  assert.equal(t.graphHash(one), t.graphHash(other));
  assert.deepEqual(t.onnxBytes(one), t.onnxBytes(other));
});

test("another op, attribute, shape, order of inputs or output name is another hash", () => {
  const hashes = [
    t.graph({ y: t.exp(x) }),
    t.graph({ z: t.exp(x) }),
    t.graph({ y: t.tanh(x) }),
    t.graph({ y: t.exp(t.input("x", "float32", ["T", 5])) }),
    t.graph({ y: t.sum(x, [0]) }),
    t.graph({ y: t.sum(x, [1]) }),
    t.graph({ y: t.sub(x, t.exp(x)) }),
    t.graph({ y: t.sub(t.exp(x), x) }),
    t.graph({ y: t.mul(x, t.scalar(1)) }),
    t.graph({ y: t.mul(x, t.scalar(2)) }),
  ].map(t.graphHash);
  assert.equal(new Set(hashes).size, hashes.length);
});

test("a graph with HookPoints that nobody asks for compiles to the same bytes as one without", () => {
  const plain = t.graph({ y: t.tanh(t.rmsNorm(t.exp(x), t.input("w", "float32", [4]), 1e-5)) });
  const hooked = t.graph({
    y: t.tap(t.tanh(t.rmsNorm(t.tap(t.exp(x), "a"), t.input("w", "float32", [4]), 1e-5)), "b"),
  });
  assert.deepEqual(t.onnxBytes(t.fuse(hooked)), t.onnxBytes(t.fuse(plain)));
});

test("asking for a HookPoint inside a function opens that function only", () => {
  const w = t.input("w", "float32", [4]);
  const g = t.graph({ y: t.rmsNorm(t.rmsNorm(x, w, 1e-5, "first"), w, 1e-5, "second") });
  assert.deepEqual(t.hookPoints(g).sort(), [
    "first.hook_normalized",
    "first.hook_scale",
    "second.hook_normalized",
    "second.hook_scale",
  ]);
  const asked = t.withTaps(g, ["second.hook_scale"]);
  assert.deepEqual(Object.keys(asked.outputs), ["y", "second.hook_scale"]);
  assert.match(t.printGraph(asked), /rmsNorm.*hook="first"/);
  assert.doesNotMatch(t.printGraph(asked), /rmsNorm.*hook="second"/);
  assert.throws(() => t.withTaps(g, ["third.hook_scale"]), /there is no HookPoint "third.hook_scale"; there are first/);
});

test("a graph prints one readable line a node", () => {
  assert.equal(
    t.printGraph(t.graph({ y: t.add(t.exp(x), t.weight("bias", "float32", [4])) })),
    [
      'input "x": float32[T,4]',
      '%1 float32[T,4] = exp(input "x")',
      'weight "bias": float32[4]',
      '%3 float32[T,4] = add(%1, weight "bias")',
      'output "y" = %3',
    ].join("\n"),
  );
});

test("what does not fit is a sentence that names the op and its inputs", () => {
  const y = t.input("y", "float32", ["T", 5]);
  assert.throws(
    () => t.add(x, y),
    /op add cannot take \(float32\[T,4\], float32\[T,5\]\): shapes \[T,4\] and \[T,5\] do not broadcast: 4 against 5/,
  );
  assert.throws(() => t.matmul(x, x), /op matmul cannot take .*: the inner dimensions are 4 and T/);
  assert.throws(() => t.reshape(x, ["T", 3]), /\[T,4\] holds 4\*T elements, \[T,3\] wants 3\*T/);
  assert.throws(() => t.verify(t.graph({})), /no outputs/);
  assert.throws(
    () => t.verify(t.graph({ a: t.exp(x), b: t.exp(t.input("x", "float32", [1])) })),
    /input "x" stands for two types/,
  );
  assert.throws(() => t.withGradients(t.graph({ loss: x }), "loss", { x }), /wanted a scalar/);
});

const symbols = { T: 5, B: 3, C: 2 };
const dim: fc.Arbitrary<Dim> = fc.letrec<{ d: Dim }>((tie) => ({
  d: fc.oneof(
    { maxDepth: 3 },
    fc.integer({ min: -4, max: 9 }),
    fc.constantFrom("T", "B", "C"),
    fc.tuple(tie("d"), tie("d")).map(([a, b]) => addDims(a, b)),
    fc.tuple(tie("d"), tie("d")).map(([a, b]) => mulDims(a, b)),
  ),
})).d;

test("arithmetic of dimensions agrees with their values, and equal dimensions are spelt alike", () => {
  fc.assert(
    fc.property(dim, dim, dim, (a, b, c) => {
      const value = (d: Dim) => evaluateDim(d, symbols);
      assert.equal(value(addDims(a, b)), value(a) + value(b));
      assert.equal(value(mulDims(a, b)), value(a) * value(b) + 0);
      assert.equal(addDims(a, b), addDims(b, a));
      assert.equal(mulDims(a, addDims(b, c)), addDims(mulDims(a, b), mulDims(a, c)));
      assert.equal(subDims(addDims(a, b), b), addDims(a, 0));
      for (const monomial of ["T", 3, "2*B*T"]) assert.equal(divideDims(mulDims(a, monomial), monomial), addDims(a, 0));
    }),
  );
});

test("SHA-256 equals node's", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.equal(sha256Hex(bytes), createHash("sha256").update(bytes).digest("hex"));
    }),
  );
});
