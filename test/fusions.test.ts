// Every kernel equals its function's body, and every fusion of the list equals what it replaces: one comparison for all.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { seededRandom } from "../src/base/mod.ts";
import { rotate } from "../src/engine/own-blocks.ts";
import type { Graph, Value } from "../src/tensor/mod.ts";
import * as t from "../src/tensor/mod.ts";
import {
  type Array_,
  evaluate,
  floats,
  ints,
  primitivesOnly,
  relativeError,
  testRuntime,
  type Values,
  withKernels,
} from "./evaluate.ts";

after(async () => (await testRuntime())[Symbol.asyncDispose]());

const random = seededRandom(11);
const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const uniform = (...shape: number[]): Array_ =>
  floats(
    shape,
    Array.from({ length: size(shape) }, () => 2 * random.next() - 1),
  );
/** Whole numbers from -127 to 127 with ±127 in each block: the kernel's 8-bit rounding of x is exact. */
const whole = (rows: number, columns: number): Array_ =>
  floats(
    [rows, columns],
    Array.from({ length: rows * columns }, (_, i) => (i % 32 === 0 ? 127 : Math.floor(255 * random.next()) - 127)),
  );
/** Of the same kind once its blocks are rotated. */
function wholeTurned(rows: number, columns: number): Array_ {
  const { shape, data } = whole(rows, columns);
  rotate(data as Float32Array);
  return { shape, data };
}
const bytes = (...shape: number[]): Array_ => ({
  shape,
  data: Uint8Array.from({ length: size(shape) }, () => Math.floor(256 * random.next())),
});

interface Example {
  readonly outputs: Readonly<Record<string, Value>>;
  readonly values: Values;
  /** Only so many leading elements of a result are defined. */
  readonly compare?: Readonly<Record<string, (data: Float32Array) => Float32Array>>;
}
const f32 = (name: string, ...shape: t.Dim[]): Value => t.input(name, "float32", shape);

function blocks(
  name: string,
  rows: number,
  columns: number,
  bits: 4 | 8,
  hasMin: boolean,
  zero: number,
  isRotated = false,
) {
  const count = columns / 32;
  const value = t.dequantize(
    t.weight(`${name}#codes`, "uint8", [rows, count, 4 * bits]),
    t.weight(`${name}#scales`, "float32", [rows, count]),
    hasMin ? t.weight(`${name}#mins`, "float32", [rows, count]) : undefined,
    { bits, block: 32, zero, isRotated },
  );
  const values: Values = {
    [`${name}#codes`]: bytes(rows, count, 4 * bits),
    [`${name}#scales`]: uniform(rows, count),
    ...(hasMin && { [`${name}#mins`]: uniform(rows, count) }),
  };
  return { value, values };
}

/** One row of two new tokens behind five remembered ones. */
/** `isApart`: the caches hold fewer tokens than there were before. */
/** `isCoded`: they are 8-bit integers. */
function cachedRow(options: Partial<t.AttentionOptions> = {}, isApart = false, isCoded = false): Example {
  const [heads, groups, width, capacity] = [4, 2, 16, 12];
  const [q, k, v] = [
    f32("q", 1, "T", heads * width),
    f32("k", 1, "T", groups * width),
    f32("v", 1, "T", groups * width),
  ];
  const [past, place] = [t.input("past", "int32", [1]), t.input("place", "int32", [1])];
  const caches = [
    t.input("kc", isCoded ? "int8" : "float32", [1, groups, "C", width]),
    t.input("vc", isCoded ? "int8" : "float32", [1, groups, "C", width]),
  ] as const;
  const steps = (first: number) => Float32Array.from({ length: groups * width }, (_, i) => first * (1 + (i % 5) / 9));
  const scales = isCoded
    ? { keys: t.constant(steps(0.01), [groups, 1, width]), values: t.constant(steps(0.012), [groups, 1, width]) }
    : undefined;
  const tables = [t.weight("cos", "float32", [32, 8]), t.weight("sin", "float32", [32, 8])] as const;
  const turn = (x: Value, n: number): Value =>
    t.rotary(t.reshape(x, [1, "T", n, width]), ...tables, t.positionsFrom(isApart ? place : past, "T"));
  const [z, keys, all] = t.cachedAttention(
    [turn(q, heads), turn(k, groups), t.reshape(v, [1, "T", groups, width])],
    caches,
    past,
    { scale: 0.25, hook: "h", ...options },
    scales,
  );
  const whole8 = (): Array_ => ({
    shape: [1, groups, capacity, width],
    data: Int8Array.from({ length: groups * capacity * width }, () => Math.floor(200 * random.next()) - 100),
  });
  const angles = Array.from({ length: 256 }, (_, i) => Math.floor(i / 8) / 2 ** (i % 8));
  const written = (data: Float32Array): Float32Array => data.filter((_, i) => Math.floor(i / width) % capacity < 7);
  return {
    outputs: { z, keys, all },
    values: {
      q: uniform(1, 2, heads * width),
      k: uniform(1, 2, groups * width),
      v: uniform(1, 2, groups * width),
      kc: isCoded ? whole8() : uniform(1, groups, capacity, width),
      vc: isCoded ? whole8() : uniform(1, groups, capacity, width),
      past: { shape: [1], data: Int32Array.of(5) },
      place: { shape: [1], data: Int32Array.of(19) },
      cos: floats([32, 8], angles.map(Math.cos)),
      sin: floats([32, 8], angles.map(Math.sin)),
    },
    compare: { keys: written, all: written },
  };
}

const x = f32("x", "T", 32);
const wide = f32("x", "T", 64);
const turned = f32("turned", "T", 64);
const norm = (a: Value): Value => t.rmsNorm(a, f32("w", 32), 1e-5);

/** For each entry of the list of fusions, a Graph that it changes. */
const examples: Readonly<Record<string, () => Example>> = {
  "tap vanishes": () => ({ outputs: { y: t.exp(t.tap(x, "here")) }, values: { x: uniform(3, 32) } }),
  "heads together": () => ({
    outputs: { y: t.mixHeads(x, f32("w", 8, 32), { heads: 4, hook: "h" }) },
    values: { x: uniform(3, 32), w: uniform(8, 32) },
  }),
  "gather of quantised rows": () => {
    const [table, rotated] = [blocks("table", 6, 64, 8, true, 100), blocks("rotated", 6, 64, 8, false, 128, true)];
    const ids = t.input("ids", "int64", ["T"]);
    return {
      outputs: { y: t.gather(table.value, ids), rotated: t.gather(rotated.value, ids) },
      values: { ...table.values, ...rotated.values, ids: ints([3], [5, 0, 5]) },
    };
  },
  "quantised linears of one input": () => {
    const [a, b] = [blocks("a", 8, 64, 4, true, 0), blocks("b", 16, 64, 4, true, 0)];
    const [c, d] = [blocks("c", 8, 64, 8, false, 128, true), blocks("d", 16, 64, 8, false, 128, true)];
    const [ya, yb] = t.linears(wide, [a.value, b.value]) as [Value, Value];
    const [yc, yd] = t.linears(turned, [c.value, d.value]) as [Value, Value];
    const values = { ...a.values, ...b.values, ...c.values, ...d.values };
    return { outputs: { ya, yb, yc, yd }, values: { ...values, x: whole(3, 64), turned: wholeTurned(3, 64) } };
  },
  "linears apart": () => {
    const [ya, yb] = t.linears(x, [f32("a", 4, 32), f32("b", 5, 32)]) as [Value, Value];
    return { outputs: { ya, yb }, values: { x: uniform(3, 32), a: uniform(4, 32), b: uniform(5, 32) } };
  },
  "product with a transposed table": () => {
    const w = blocks("w", 16, 64, 8, false, 128);
    return { outputs: { y: t.matmul(wide, t.transpose(w.value, [1, 0])) }, values: { ...w.values, x: whole(3, 64) } };
  },
  "quantised linear": () => {
    const outputs: Record<string, Value> = {};
    const values: Record<string, Array_> = { x: whole(3, 64), turned: wholeTurned(3, 64) };
    for (const [bits, hasMin, zero] of [
      [4, false, 8],
      [4, true, 0],
      [4, true, 6],
      [8, false, 128],
      [8, true, 112],
    ] as const) {
      const w = blocks(`w${bits}${hasMin}${zero}`, 16, 64, bits, hasMin, zero);
      Object.assign(values, w.values);
      outputs[`y${bits}${hasMin}${zero}`] = t.linear(wide, w.value);
      const own = blocks(`t${bits}${hasMin}${zero}`, 16, 64, bits, hasMin, zero, true);
      Object.assign(values, own.values);
      outputs[`t${bits}${hasMin}${zero}`] = t.linear(turned, own.value);
    }
    return { outputs, values };
  },
  "skip + norm": () => {
    const sum = t.add(x, f32("b", "T", 32));
    return {
      outputs: { y: norm(sum), again: t.mul(sum, sum) },
      values: { x: uniform(3, 32), b: uniform(3, 32), w: uniform(32) },
    };
  },
  "attention over whole texts": () => {
    const heads = (name: string) => f32(name, "B", "T", 4, 8);
    const mask = t.cast(t.reshape(t.input("mask", "int64", ["B", "T"]), ["B", 1, 1, "T"]), "bool");
    return {
      outputs: { z: t.attention(heads("q"), heads("k"), heads("v"), mask, { scale: 0.3, hook: "h" }) },
      values: {
        ...{ q: uniform(2, 5, 4, 8), k: uniform(2, 5, 4, 8), v: uniform(2, 5, 4, 8) },
        mask: ints([2, 5], [1, 1, 1, 1, 1, 1, 1, 0, 0, 0]),
      },
    };
  },
  "attention over a KV cache": () => cachedRow(),
};

async function assertSame(a: Graph, b: Graph, { values, compare = {} }: Example): Promise<void> {
  const [got, wanted] = [await evaluate(a, values), await evaluate(b, values)];
  for (const name of Object.keys(wanted)) {
    const cut = compare[name] ?? ((data: Float32Array) => data);
    const error = relativeError(cut(got[name] as Float32Array), cut(wanted[name] as Float32Array));
    assert.ok(error < 2e-6, `${name}: relative error ${error}`);
  }
}

test("every fusion of the list has an example here", () => {
  assert.deepEqual(
    Object.keys(examples),
    t.fusions.map((fusion) => fusion.name),
  );
});

for (const fusion of t.fusions)
  test(`the fusion "${fusion.name}" equals what it replaces`, async () => {
    const example = (examples[fusion.name] as () => Example)();
    const plain = t.graph(example.outputs);
    const changed = t.rewrite(plain, fusion.rule);
    t.verify(changed);
    assert.notEqual(t.graphHash(changed), t.graphHash(plain), "the rule changes its example");
    await assertSame(withKernels(changed), primitivesOnly(plain), example);
  });

test("the whole list together equals what it replaces", async () => {
  for (const [name, example] of Object.entries(examples)) {
    const { outputs } = example();
    const plain = t.graph(outputs);
    await assertSame(t.fuse(plain), primitivesOnly(plain), example()).catch((error) =>
      assert.fail(`${name}: ${error.message}`),
    );
  }
});

/** Two rows of 2 and 3 tokens whose q, k and v come from one product, as a step traces them. */
function packedRows(): Example {
  const [heads, groups, width, capacity] = [4, 2, 16, 12];
  const rows = [0, 1];
  const x = f32("x", 2, "T", 32);
  const ws = [heads, groups, groups].map((n, i) => f32(`w${i}`, n * width, 32));
  const [q, k, v] = t.linears(x, ws).map((part, i) => t.reshape(part, [2, "T", i === 0 ? heads : groups, width])) as [
    Value,
    Value,
    Value,
  ];
  const tables = [t.weight("cos", "float32", [32, 8]), t.weight("sin", "float32", [32, 8])] as const;
  const values: Record<string, Array_> = {
    x: uniform(2, 3, 32),
    cos: floats(
      [32, 8],
      Array.from({ length: 256 }, (_, i) => Math.cos(Math.floor(i / 8) / 2 ** (i % 8))),
    ),
    sin: floats(
      [32, 8],
      Array.from({ length: 256 }, (_, i) => Math.sin(Math.floor(i / 8) / 2 ** (i % 8))),
    ),
  };
  ws.forEach((w, i) => {
    values[`w${i}`] = uniform(...(w.shape as number[]));
  });
  const zs = rows.map((r) => {
    const past = t.input(`past${r}`, "int32", [1]);
    const row = (part: Value): Value => t.split(part, 0, [1, 1])[r] as Value;
    const turn = (part: Value): Value => t.rotary(row(part), ...tables, t.positionsFrom(past, "T"));
    const cache = (name: string): Value => t.input(`${name}${r}`, "float32", [1, groups, `C${r}`, width]);
    const [z] = t.cachedAttention([turn(q), turn(k), row(v)], [cache("kc"), cache("vc")], past, {
      scale: 0.25,
      hook: `h${r}`,
    });
    values[`past${r}`] = { shape: [1], data: Int32Array.of(3 + 2 * r) };
    values[`kc${r}`] = uniform(1, groups, capacity, width);
    values[`vc${r}`] = uniform(1, groups, capacity, width);
    return z;
  });
  return { outputs: { z: t.concat(zs, 0) }, values };
}

test("packed rows: each row's share of one product goes to its kernel, equal to what it replaces", async () => {
  const example = packedRows();
  const plain = t.graph(example.outputs);
  const fused = t.fuse(plain);
  const printed = t.printGraph(fused);
  assert.equal(printed.match(/= groupQueryAttention/g)?.length, 2);
  assert.equal(printed.match(/= slice\(/g)?.length, 1, "the spare tokens are cut off once, of all rows");
  await assertSame(fused, primitivesOnly(plain), example);
});

for (const [options, isApart, isCoded] of [
  [{ window: 3 }, false, false],
  [{ softCap: 0.4 }, false, false],
  [{ window: 4, softCap: 0.4 }, false, false],
  [{ window: 3 }, true, false],
  [{}, false, true],
  [{ window: 3 }, true, true],
] as const)
  test(`attention over a KV cache${isCoded ? " of 8-bit integers" : ""} with ${JSON.stringify(options)}${isApart ? " that holds the last tokens" : ""} has a kernel that equals it`, async () => {
    const example = cachedRow(options, isApart, isCoded);
    const plain = t.graph(example.outputs);
    const fused = t.fuse(plain);
    assert.match(t.printGraph(fused), /groupQueryAttention/);
    await assertSame(fused, primitivesOnly(plain), example);
  });

const kernels: Readonly<Record<string, () => Example>> = {
  softmax: () => ({ outputs: { y: t.softmax(x) }, values: { x: uniform(3, 32) } }),
  rmsNorm: () => ({ outputs: { y: norm(x) }, values: { x: uniform(3, 32), w: uniform(32) } }),
  layerNorm: () => ({
    outputs: { y: t.layerNorm(x, f32("w", 32), f32("b", 32), 1e-5) },
    values: { x: uniform(3, 32), w: uniform(32), b: uniform(32) },
  }),
  silu: () => ({ outputs: { y: t.silu(x) }, values: { x: uniform(3, 32) } }),
  gelu: () => ({ outputs: { y: t.gelu(x) }, values: { x: uniform(3, 32) } }),
  geluTanh: () => ({ outputs: { y: t.geluTanh(x) }, values: { x: uniform(3, 32) } }),
};
for (const [name, example] of Object.entries(kernels))
  test(`the kernel of ${name} equals its body`, async () => {
    const made = example();
    const plain = t.graph(made.outputs);
    await assertSame(withKernels(plain), primitivesOnly(plain), made);
  });

test("what depends on weights alone folds into weights, and the folded Graph computes the same", async () => {
  const { outputs, values } = (examples["quantised linears of one input"] as () => Example)();
  const whole = t.fuse(t.graph(outputs));
  const { graph, derived } = t.fold(whole);
  const names = Object.keys(derived.outputs);
  assert.ok(names.length >= 3, names.join());
  const data = await evaluate(derived, values);
  const folded: Record<string, Array_> = {};
  for (const [name, value] of Object.entries(derived.outputs)) {
    const numbers = data[name] as Float32Array;
    folded[name] = {
      shape: value.shape as number[],
      data: value.dtype === "uint8" ? Uint8Array.from(numbers) : numbers,
    };
  }
  const [a, b] = [await evaluate(graph, { ...values, ...folded }), await evaluate(whole, values)];
  for (const name of Object.keys(b))
    assert.ok(relativeError(a[name] as Float32Array, b[name] as Float32Array) < 2e-6, name);
});
