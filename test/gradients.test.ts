// vjp = central differences, for every op and function.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { seededRandom } from "../src/base/mod.ts";
import type { Graph, Value } from "../src/tensor/mod.ts";
import * as t from "../src/tensor/mod.ts";
import {
  type Array_,
  type Compiled,
  compiled,
  evaluate,
  floats,
  ints,
  primitivesOnly,
  testRuntime,
  type Values,
  withKernels,
} from "./evaluate.ts";

after(async () => (await testRuntime())[Symbol.asyncDispose]());

const random = seededRandom(7);
const uniform = (shape: readonly number[], low = -1, high = 1): Array_ =>
  floats(
    shape,
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => low + (high - low) * random.next()),
  );
const input = (name: string, shape: readonly number[]): Value => t.input(name, "float32", shape);

interface Case {
  readonly name: string;
  /** Shapes of the differentiable inputs a, b, c … */
  readonly shapes: readonly (readonly number[])[];
  readonly build: (...inputs: Value[]) => Value | readonly Value[];
  readonly low?: number;
  readonly high?: number;
  /** Values of further inputs. */
  readonly fixed?: Values;
  readonly isRounded?: boolean;
}
/** An op of the table that no public function applies alone. */
const of = (name: string, inputs: readonly (Value | undefined)[], attrs = {}): Value =>
  t.apply(t.opTable.get(name) as t.Op, inputs as Value[], attrs);
const S = [2, 3];
const index = ints([3], [2, 0, 2]);
const indexInput = t.input("index", "int64", [3]);
const tables = [
  t.constant(
    Float32Array.from({ length: 10 }, (_, i) => Math.cos(i)),
    [5, 2],
  ),
  t.constant(
    Float32Array.from({ length: 10 }, (_, i) => Math.sin(i)),
    [5, 2],
  ),
] as const;
const causal = t.lessEqual(t.reshape(t.arange(3), [1, 1, 1, 3]), t.reshape(t.arange(3), [1, 1, 3, 1]));
const codes = t.constant(
  Uint8Array.from({ length: 32 }, (_, i) => i * 37),
  [2, 1, 16],
);

type Unary = (a: Value) => Value;
type Binary = (a: Value, b: Value) => Value;
const unary = (ops: Readonly<Record<string, Unary>>, low = -1, high = 1): Case[] =>
  Object.entries(ops).map(([name, op]) => ({ name, shapes: [S], low, high, build: (a) => op(a as Value) }));
const binary = (ops: Readonly<Record<string, Binary>>, shapes: Case["shapes"]): Case[] =>
  Object.entries(ops).map(([name, op]) => ({ name, shapes, build: (a, b) => op(a as Value, b as Value) }));
const {
  neg,
  exp,
  tanh,
  sigmoid,
  erf,
  sin,
  cos,
  silu,
  gelu,
  geluTanh,
  softmax,
  logSumExp,
  log,
  sqrt,
  reciprocal,
  add,
  sub,
  mul,
  max,
} = t;

/** Keeps what `max` compares more than a difference step apart: at a tie it has no derivative. */
const apart = t.constant(Float32Array.of(-5, 5, 0), [3]);

const cases: readonly Case[] = [
  ...unary({ neg, exp, tanh, sigmoid, erf, sin, cos, silu, gelu, geluTanh, softmax, logSumExp }),
  ...unary({ log, sqrt, reciprocal }, 0.5, 2),
  ...binary({ add, sub, mul }, [S, S]),
  { name: "max", shapes: [S, S], build: (a, b) => max(a as Value, t.add(b as Value, apart)) },
  ...binary({ "add, broadcast": add, "sub, broadcast": sub, "mul, broadcast": mul }, [
    [2, 1, 3],
    [4, 1],
  ]),
  { name: "div", shapes: [S, [3]], low: 0.5, high: 2, build: (a, b) => t.div(a as Value, b as Value) },
  {
    name: "where",
    shapes: [S, [1, 3]],
    build: (a, b) => t.where(t.less(t.constant(Float32Array.of(0, 1, 0)), t.scalar(0.5)), a as Value, b as Value),
  },
  {
    name: "reshape",
    shapes: [S],
    build: (a) => t.mul(t.reshape(a as Value, [3, 2]), t.constant(Float32Array.of(1, 2), [2])),
  },
  {
    name: "transpose",
    shapes: [[2, 3, 4]],
    build: (a) => t.mul(t.transpose(a as Value, [2, 0, 1]), t.constant(Float32Array.of(1, 2, 3))),
  },
  { name: "expand", shapes: [[3, 1]], build: (a) => t.expandTo(a as Value, [2, 3, 4]) },
  { name: "slice", shapes: [[2, 5]], build: (a) => t.slice(a as Value, 1, 1, 4) },
  { name: "concat", shapes: [S, [2, 2]], build: (a, b) => t.concat([a as Value, b as Value], 1) },
  { name: "split", shapes: [[2, 5]], build: (a) => t.split(a as Value, 1, [2, 3]) },
  { name: "split, one part unused", shapes: [[2, 5]], build: (a) => t.split(a as Value, 1, [2, 3])[1] as Value },
  { name: "sum", shapes: [[2, 3, 4]], build: (a) => t.sum(a as Value, [0, 2]) },
  { name: "sum, axes kept", shapes: [[2, 3, 4]], build: (a) => t.sum(a as Value, [1], true) },
  { name: "maxOver", shapes: [S], build: (a) => t.maxOver(t.add(a as Value, apart), [1]) },
  { name: "mean", shapes: [S], build: (a) => t.mean(a as Value, [1], true) },
  ...[false, true].flatMap((transA) =>
    [false, true].map((transB) => ({
      name: `matmul${transA ? ", A transposed" : ""}${transB ? ", B transposed" : ""}`,
      shapes: [transA ? [2, 1, 4, 3] : [2, 1, 3, 4], transB ? [3, 5, 4] : [3, 4, 5]],
      build: (a: Value, b: Value) => t.matmul(a, b, { transA, transB, alpha: 0.5 }),
    })),
  ),
  { name: "gather", shapes: [[4, 2]], fixed: { index }, build: (a) => t.gather(a as Value, indexInput) },
  {
    name: "scatterAdd",
    shapes: [
      [4, 2],
      [3, 2],
    ],
    fixed: { index },
    build: (a, b) => t.scatterAdd(a as Value, indexInput, b as Value),
  },
  { name: "pick", shapes: [[3, 4]], fixed: { index }, build: (a) => t.pick(a as Value, indexInput) },
  { name: "place", shapes: [[3]], fixed: { index }, build: (a) => t.place(a as Value, indexInput, [3, 4]) },
  {
    name: "layerNorm",
    shapes: [[2, 2, 3], [3], [3]],
    build: (a, b, c) => t.layerNorm(a as Value, b as Value, c as Value, 1e-5),
  },
  { name: "rmsNorm", shapes: [[2, 2, 3], [3]], build: (a, b) => t.rmsNorm(a as Value, b as Value, 1e-5) },
  {
    name: "linear",
    shapes: [
      [2, 2, 3],
      [4, 3],
    ],
    build: (a, b) => t.linear(a as Value, b as Value),
  },
  { name: "linears", shapes: [S, [4, 3], [2, 3]], build: (a, b, c) => t.linears(a as Value, [b as Value, c as Value]) },
  { name: "rotateBlocks", shapes: [[2, 16]], build: (x) => t.rotateBlocks(x as Value, 8) },
  {
    name: "dequantize",
    shapes: [
      [2, 1],
      [2, 1],
    ],
    build: (a, b) => t.dequantize(codes, a as Value, b as Value, { bits: 4, block: 32, zero: 3 }),
  },
  {
    name: "rotary of part of the channels",
    shapes: [[3, 2, 6]],
    fixed: { index },
    build: (a) => t.rotary(a as Value, ...tables, indexInput),
  },
  {
    name: "attention in groups",
    shapes: [
      [1, 3, 4, 2],
      [1, 3, 2, 2],
      [1, 3, 2, 2],
    ],
    build: (q, k, v) => t.attention(q as Value, k as Value, v as Value, causal, { scale: 0.7, hook: "h" }),
  },
  {
    name: "linearCrossEntropy",
    shapes: [
      [3, 2],
      [4, 2],
    ],
    fixed: { index },
    build: (h, w) => t.linearCrossEntropy(h as Value, w as Value, indexInput),
  },
  { name: "tap", shapes: [S], build: (a) => t.tap(a as Value, "here") },
  { name: "after", shapes: [S], build: (a) => of("after", [a, t.constant(Float32Array.of(Number.NaN, 3))]) },
  {
    name: "crossEntropy",
    shapes: [[3, 4]],
    fixed: { index },
    build: (a) => t.crossEntropy(a as Value, indexInput),
  },
  {
    name: "crossEntropy of a linear layer",
    shapes: [
      [3, 2],
      [4, 2],
    ],
    fixed: { index },
    build: (h, w) => t.crossEntropy(t.linear(h as Value, w as Value), indexInput),
  },
  ...[false, true].map((isInOut) => ({
    name: `mixHeads${isInOut ? " of a weight stored [in, out]" : ""}`,
    shapes: [[2, 3, 4], isInOut ? [4, 5] : [5, 4]],
    build: (z: Value, w: Value) => t.mixHeads(z, w, { heads: 2, hook: "h", isInOut }),
  })),
  {
    name: "skipRmsNorm",
    shapes: [[2, 2, 3], [2, 2, 3], [3]],
    build: (a, b, w) => of("skipRmsNorm", [a, b, w], { epsilon: 1e-5 }),
  },
  { name: "unitRows", shapes: [[2, 3]], build: (x) => of("unitRows", [x]) },
  { name: "addProduct", shapes: [[2, 4], S, [4, 3]], build: (c, a, b) => of("addProduct", [c, a, b]) },
  // their kernels round: the bodies alone are differentiated
  {
    name: "blockProduct",
    shapes: [
      [2, 32],
      [2, 1],
    ],
    isRounded: true,
    build: (x, scales) => of("blockProduct", [x, codes, scales], { bits: 4, block: 32 }),
  },
  {
    name: "offsetProduct",
    shapes: [
      [2, 32],
      [2, 1],
      [2, 1],
    ],
    isRounded: true,
    build: (x, scales, offsets) => of("offsetProduct", [x, codes, scales, offsets], { bits: 4, block: 32 }),
  },
];

/** Ops that nothing can be differentiated through, and why. */
const without: Readonly<Record<string, string>> = {
  ...{ input: "a leaf", weight: "a leaf", constant: "a leaf" },
  ...{ less: "bool", lessEqual: "bool", equal: "bool", and: "bool" },
  ...{ bitAnd: "whole numbers", shiftRight: "whole numbers", cast: "whole numbers", dims: "whole numbers" },
  ...{ arange: "whole numbers", positionsFrom: "whole numbers", round: "whole numbers" },
  ...{
    int8Rows: "rounds its input",
    int8Fine: "rounds its input",
    multiHeadAttention: "the kernel of attention",
    topK: "an answer's candidates",
    scatterRows: "a KvCache is written in place",
  },
  ...{ cachedAttention: "over a KvCache", groupQueryAttention: "over a KvCache", spareToken: "over a KvCache" },
};

test("every op of the table has a case here, or a reason to have none", () => {
  const seen = new Set<string>();
  for (const { shapes, build } of cases) {
    const built = build(...shapes.map((shape, i) => input("abcdef".charAt(i), shape)));
    const results = Array.isArray(built) ? (built as readonly Value[]) : [built as Value];
    const stack = [...results];
    for (let value = stack.pop(); value !== undefined; value = stack.pop()) {
      seen.add(value.node.op.name);
      stack.push(...value.node.inputs);
    }
  }
  for (const [name, op] of t.opTable) {
    if (name in without) assert.equal(op.vjp, undefined, `${name} has a vjp and no case`);
    else assert.ok(seen.has(name), `no case has the op ${name}`);
  }
});

test("an op without a gradient is named, with the way from the loss to it", () => {
  const x = input("x", [2, 8]);
  const [largest] = t.topK(t.tap(t.mul(x, x), "blocks.0.hook_resid_pre"), 3);
  const loss = t.mean(t.reshape(t.tap(t.exp(largest), "here"), [6]), [0]);
  assert.throws(
    () => t.withGradients(t.graph({ loss }), "loss", { x }),
    /op topK has no gradient.*the way: div ← sum ← reshape ← tap here ← exp ← topK; give the op a vjp/,
  );
  assert.throws(() => t.withGradients(t.graph({ loss }), "los", { x }), /gradients of an output: got los, wanted loss/);
  assert.throws(() => t.withGradients(t.graph({ x }), "x", { x }), /got shape \[2,8\], wanted a scalar/);
  const other = input("other", [2]);
  assert.throws(
    () => t.withGradients(t.graph({ loss: t.mean(t.reshape(x, [16]), [0]) }), "loss", { other }),
    /does not depend on other/,
  );
});

const STEP = 1e-2;
/** Σ y·r in float64, r fixed: a scalar function of the inputs. */
const weighted = (results: Record<string, Float32Array>, weights: readonly Float32Array[]): number =>
  weights.reduce(
    (sum, r, i) => sum + r.reduce((part, x, j) => part + x * ((results[`y${i}`] as Float32Array)[j] as number), 0),
    0,
  );

for (const { name, shapes, build, low, high, fixed = {}, isRounded = false } of cases)
  test(`the vjp of ${name} equals central differences`, async () => {
    const names = shapes.map((_, i) => "abcdef".charAt(i));
    const inputs = shapes.map((shape, i) => input(names[i] as string, shape));
    const values: Record<string, Array_> = {
      ...fixed,
      ...Object.fromEntries(shapes.map((shape, i) => [names[i] as string, uniform(shape, low, high)])),
    };
    const built = build(...inputs);
    const ys = Array.isArray(built) ? (built as readonly Value[]) : [built as Value];
    const weights = ys.map((y) => uniform(y.shape as number[]).data as Float32Array);
    const loss = ys
      .map((y, i) =>
        t.sum(
          t.mul(y, t.constant(weights[i] as Float32Array, y.shape)),
          y.shape.map((_, axis) => axis),
        ),
      )
      .reduce(t.add);
    const outputs = { loss, ...Object.fromEntries(ys.map((y, i) => [`y${i}`, y])) };
    const withGradients = t.withGradients(
      t.graph(outputs),
      "loss",
      Object.fromEntries(inputs.map((value, i) => [names[i] as string, value])),
    );
    t.verify(withGradients);
    await using forward = await compiled(
      (isRounded ? primitivesOnly : withKernels)(t.graph(Object.fromEntries(ys.map((y, i) => [`y${i}`, y])))),
      values,
    );
    for (const form of (isRounded ? [primitivesOnly] : [withKernels, primitivesOnly]) as ((g: Graph) => Graph)[]) {
      const got = await evaluate(form(withGradients), values);
      for (const each of names) {
        const numeric = await centralDifferences(forward, values, each, weights);
        const largest = Math.max(0.1, ...numeric.map(Math.abs));
        (got[`grad.${each}`] as Float32Array).forEach((x, i) => {
          assert.ok(
            Math.abs(x - (numeric[i] as number)) <= 2e-3 * largest,
            `d/d${each}[${i}]: vjp ${x}, differences ${numeric[i]}`,
          );
        });
      }
    }
  });

async function centralDifferences(
  forward: Compiled,
  values: Values,
  name: string,
  weights: readonly Float32Array[],
): Promise<number[]> {
  const { shape, data } = values[name] as Array_;
  const at = async (i: number, step: number): Promise<number> => {
    const moved = Float32Array.from(data as Float32Array);
    moved[i] = (moved[i] as number) + step;
    return weighted(await forward.run({ ...values, [name]: { shape, data: moved } }), weights);
  };
  const slopes: number[] = [];
  for (let i = 0; i < data.length; i++) {
    // fourth order: the error falls with the step's fourth power
    const [p1, m1, p2, m2] = [await at(i, STEP), await at(i, -STEP), await at(i, 2 * STEP), await at(i, -2 * STEP)];
    slopes.push((8 * (p1 - m1) - (p2 - m2)) / (12 * STEP));
  }
  return slopes;
}
