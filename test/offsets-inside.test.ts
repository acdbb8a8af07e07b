// A product whose packed weights carry its offsets equals the product that adds them in nodes of its own.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { seededRandom } from "../src/base/mod.ts";
import { prepack } from "../src/engine/prepack.ts";
import { Tensor } from "../src/runtime/mod.ts";
import * as t from "../src/tensor/mod.ts";
import { evaluate, testRuntime } from "./evaluate.ts";

const [ROWS, COLUMNS] = [80, 192];
const random = seededRandom(5);
const runtime = await testRuntime();
const folder = await mkdtemp(join(tmpdir(), "irori-offsets-"));
after(async () => {
  await rm(folder, { recursive: true });
  await runtime[Symbol.asyncDispose]();
});

const parts: Uint8Array[] = [];
const located = new Map<string, t.WeightLocation>();
const locate = (name: string) => located.get(name);
function stored(name: string, dtype: "uint8" | "float32", shape: readonly number[]): t.Value {
  const length = shape.reduce((a, b) => a * b);
  const data =
    dtype === "uint8"
      ? Uint8Array.from({ length }, () => 256 * random.next())
      : new Uint8Array(Float32Array.from({ length }, () => random.next() - 0.5).buffer);
  lay(name, data);
  return t.weight(name, dtype, shape);
}
function lay(name: string, data: Uint8Array): void {
  const offset = parts.reduce((sum, part) => sum + part.length, 0);
  located.set(name, { location: "weights.bin", offset: String(offset), length: String(data.length) });
  parts.push(data, new Uint8Array(-data.length & 4095));
}

/** A layer in blocks of 32 with a minimum each. */
function layer(name: string, bits: 4 | 8, rows: number): t.Value {
  const blocks = COLUMNS / 32;
  const codes = stored(`${name}.codes`, "uint8", [rows, blocks, 4 * bits]);
  const [scales, mins] = ["scales", "mins"].map((part) => stored(`${name}.${part}`, "float32", [rows, blocks]));
  return t.dequantize(codes, scales as t.Value, mins, { bits, block: 32, zero: bits === 4 ? 8 : 128 });
}

const x = t.input("x", "float32", ["T", COLUMNS]);
const plain = t.fuse(t.graph({ four: t.linear(x, layer("a", 4, ROWS)), eight: t.linear(x, layer("b", 8, ROWS)) }));
const { graph: whole, derived } = t.fold(plain);
for (const [name, data] of Object.entries(await evaluate(derived, {}))) lay(name, new Uint8Array(data.buffer));
await writeFile(join(folder, "weights.bin"), Buffer.concat(parts));
const staging = join(folder, "staging");
await mkdir(staging);
const packed = await prepack(whole, { folder, staging, locate, runtime });

async function results(g: t.Graph, where: (name: string) => t.WeightLocation | undefined, tokens: number) {
  const bytes = t.onnxBytes(g, { locate: where });
  await using program = await runtime.compile(bytes, { weightsFolder: folder, optimization: "off" });
  const rows = Float32Array.from({ length: tokens * COLUMNS }, (_, i) => Math.sin(i * i));
  const got = await program.run({ x: Tensor.of("float32", [tokens, COLUMNS], rows) });
  return Object.fromEntries(
    Object.entries(got).map(([name, tensor]) => [name, Float32Array.from(tensor.data as Float32Array)]),
  );
}

const knows = runtime.instructionSet.startsWith("x64-avx");
test("the library's packed weights have room for them", { skip: !knows && "only x64 kernels add block sums" }, () => {
  assert.deepEqual([...packed.offsetsInside].sort(), ["a.codes", "b.codes"]);
});

for (const tokens of [1, 2, 19])
  test(`${tokens} tokens: equal within the rounding of the block sums`, async () => {
    const inside = t.withOffsetsInside(whole, packed.offsetsInside);
    const [wanted, got] = [
      await results(whole, locate, tokens),
      await results(inside, (name) => packed.locations[name], tokens),
    ];
    for (const [name, values] of Object.entries(wanted)) {
      const size = Math.max(...values.map(Math.abs));
      values.forEach((value, i) => {
        const off = Math.abs(value - (got[name]?.[i] ?? Number.NaN));
        assert.ok(off <= 0.01 * size, `${name}[${i}]: ${got[name]?.[i]} for ${value}`);
      });
    }
  });

test("the graph keeps its meaning: the body of such a product is the product and its offsets", () => {
  const inside = t.withOffsetsInside(whole, new Set(["a.codes"]));
  const opened = t.expand(inside, (node) => node.op.name === "offsetProduct");
  assert.equal(t.printGraph(t.fold(opened).graph), t.printGraph(whole));
});
