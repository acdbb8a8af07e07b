// For every GGUF type called exact: the prepared arrays read back bit for bit, and the linear layer over them stays within its bound.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { seededRandom } from "../src/base/mod.ts";
import { blockTypes } from "../src/checkpoint/block-types.ts";
import { type BlockType, openCheckpoint } from "../src/checkpoint/mod.ts";
import type { Value } from "../src/tensor/mod.ts";
import * as t from "../src/tensor/mod.ts";
import { type Array_, evaluate, floats, primitivesOnly, testRuntime } from "./evaluate.ts";

after(async () => {
  for (const open of [await testRuntime(), checkpoint, expected]) await open[Symbol.asyncDispose]();
});

const golden = (name: string): string => fileURLToPath(new URL(`goldens/gguf/${name}`, import.meta.url));
const checkpoint = await openCheckpoint(golden("types.gguf"));
const expected = await openCheckpoint(golden("types.expected.safetensors"));
const [ROWS, COLUMNS, TOKENS] = [3, 512, 5];
const random = seededRandom(3);
const x = Float32Array.from({ length: TOKENS * COLUMNS }, () => 4 * random.next() - 2);

/** The arrays that `prepare` writes for a tensor, as weights of a Graph. */
function prepared(type: BlockType, bytes: Uint8Array) {
  const { bits, block, zero, hasMin, split } = type.exact as NonNullable<BlockType["exact"]>;
  const count = COLUMNS / block;
  const codes = new Uint8Array((ROWS * COLUMNS * bits) / 8);
  const [scales, mins] = [new Float32Array(ROWS * count), hasMin ? new Float32Array(ROWS * count) : undefined];
  split(bytes, codes, scales, mins);
  const shape = [ROWS, count];
  const leaf = (name: string) => t.weight(name, "float32", shape);
  const value = t.dequantize(
    t.weight("codes", "uint8", [...shape, (block * bits) / 8]),
    leaf("scales"),
    mins && leaf("mins"),
    { bits, block, zero },
  );
  const arrays: Record<string, Array_> = {
    codes: { shape: [...shape, (block * bits) / 8], data: codes },
    scales: floats(shape, scales),
  };
  if (mins) arrays.mins = floats(shape, mins);
  return {
    value,
    arrays,
    block,
    centre: (row: number, b: number) => offsetAt(bits, zero, scales, mins, row * count + b),
  };
}
/** What the block-sum product adds at every weight of a block. */
const offsetAt = (
  bits: 4 | 8,
  zero: number,
  scales: Float32Array,
  mins: Float32Array | undefined,
  at: number,
): number => ((bits === 4 ? 8 : 128) - zero) * (scales[at] as number) + (mins?.[at] ?? 0);

const exact = [...checkpoint.tensors.values()].filter((info) => blockTypes.get(info.type)?.exact);

test("all quantised types of the golden file have an exact form", () => assert.equal(exact.length, 21));

for (const info of exact)
  test(`${info.type}: exact when read back, and its linear layer within the bound`, async () => {
    const wanted = await expected.readFloat32(info.name);
    const { value, arrays, block, centre } = prepared(
      blockTypes.get(info.type) as BlockType,
      await checkpoint.read(info.name),
    );
    const back = await evaluate(primitivesOnly(t.graph({ w: value })), arrays);
    assert.deepEqual(new Uint32Array((back.w as Float32Array).buffer), new Uint32Array(wanted.buffer));

    const input: Value = t.input("x", "float32", ["T", COLUMNS]);
    const { graph, derived } = t.fold(t.fuse(t.graph({ y: t.linear(input, value) })));
    const values: Record<string, Array_> = { ...arrays, x: floats([TOKENS, COLUMNS], x) };
    if (Object.keys(derived.outputs).length > 0)
      for (const [name, data] of Object.entries(await evaluate(derived, arrays)))
        values[name] = floats(derived.outputs[name]?.shape as number[], data);
    const { y } = await evaluate(graph, values);
    for (let token = 0; token < TOKENS; token++)
      for (let row = 0; row < ROWS; row++) {
        const { product, bound } = inFloat64(wanted, token, row, block, centre);
        const got = (y as Float32Array)[token * ROWS + row] as number;
        assert.ok(Math.abs(got - product) <= bound, `${got} for ${product}, bound ${bound}`);
      }
  });

/** The product in float64, and how far rounding each block of x to 8 bits may move it: max|x| / 254 a weight, plus float32's share. */
function inFloat64(
  w: Float32Array,
  token: number,
  row: number,
  block: number,
  centre: (row: number, b: number) => number,
) {
  let product = 0;
  let bound = 0;
  for (let b = 0; b < COLUMNS / block; b++) {
    let [largest, weights, size] = [0, 0, 0];
    for (let j = b * block; j < (b + 1) * block; j++) {
      const [xj, wj] = [x[token * COLUMNS + j] as number, w[row * COLUMNS + j] as number];
      product += xj * wj;
      largest = Math.max(largest, Math.abs(xj));
      weights += Math.abs(wj - centre(row, b));
      size += Math.abs(xj) * (Math.abs(wj) + 2 * Math.abs(centre(row, b)));
    }
    bound += (largest / 254) * weights + 2e-6 * size;
  }
  return { product, bound };
}
