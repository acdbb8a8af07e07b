// Every weight type against values from gguf-py, bit for bit; then the exact forms against the same values.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, suite, test } from "node:test";
import { IroriError } from "../base/mod.ts";
import type { BlockType } from "./block-type.ts";
import { blockTypes, blockTypesById } from "./block-types.ts";
import { openCheckpoint } from "./open.ts";

const goldens = new URL("../../test/goldens/gguf/", import.meta.url).pathname;
const real = await openCheckpoint(`${goldens}types.gguf`);
const expected = await openCheckpoint(`${goldens}types.expected.safetensors`);
after(() => Promise.all([real[Symbol.asyncDispose](), expected[Symbol.asyncDispose]()]));
const random: { types: Record<string, { blocks: string; values: string }> } = JSON.parse(
  await readFile(`${goldens}random-blocks.json`, "utf8"),
);

function typeNamed(name: string): BlockType {
  const type = blockTypes.get(name);
  assert.ok(type, name);
  return type;
}

/** Equal as bits: −0 is not +0. */
function sameBits(got: Float32Array, wanted: Float32Array): void {
  assert.equal(got.length, wanted.length);
  const a = new Uint32Array(got.buffer, got.byteOffset, got.length);
  const b = new Uint32Array(wanted.buffer, wanted.byteOffset, wanted.length);
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) assert.fail(`value ${i} of ${a.length}: got ${got[i]}, wanted ${wanted[i]}`);
  }
}

/** The formula of ExactForm, in float32 steps, from codes in MatMulNBits' layout. */
function fromExactForm(type: BlockType, source: Uint8Array): Float32Array {
  const { bits, block, zero, hasMin, split } = type.exact!;
  const count = (source.length / type.blockBytes) * type.blockSize;
  const codes = new Uint8Array((count * bits) / 8);
  const scales = new Float32Array(count / block);
  const mins = hasMin ? new Float32Array(count / block) : undefined;
  split(source, codes, scales, mins);
  return Float32Array.from({ length: count }, (_, i) => {
    const code = bits === 8 ? codes[i]! : (codes[i >> 1]! >> (4 * (i & 1))) & 15;
    const product = scales[Math.floor(i / block)]! * (code - zero);
    assert.ok(Object.is(Math.fround(product), product) || !Number.isFinite(Math.fround(product)), "an exact product");
    return mins ? Math.fround(product) + mins[Math.floor(i / block)]! : product;
  });
}

test("types.gguf carries 24 types", () => assert.equal(real.tensors.size, 24));

for (const { name, type: typeName, shape } of real.tensors.values()) {
  suite(typeName, () => {
    test("dequantises bit-equal to gguf-py's values", async () => {
      assert.deepEqual(shape, [3, 512]);
      sameBits(await real.readFloat32(name), await expected.readFloat32(name));
    });
    if (typeNamed(typeName).exact) {
      test("its exact form gives the same bits back", async () => {
        sameBits(fromExactForm(typeNamed(typeName), await real.read(name)), await expected.readFloat32(name));
      });
    }
  });
}

for (const [name, { blocks, values }] of Object.entries(random.types)) {
  test(`${name}: random bytes dequantise bit-equal, and so does their exact form`, () => {
    const source = new Uint8Array(Buffer.from(blocks, "base64"));
    const wanted = new Float32Array(new Uint8Array(Buffer.from(values, "base64")).buffer);
    const got = new Float32Array(wanted.length);
    typeNamed(name).dequantize(source, got);
    sameBits(got, wanted);
    sameBits(fromExactForm(typeNamed(name), source), wanted);
  });
}

test("every quantised type has an exact form whose codes lie around the kernel's centre", () => {
  const quantised = [...blockTypes.values()].filter((type) => type.blockSize > 1);
  assert.equal(quantised.length, Object.keys(random.types).length);
  for (const { name, exact, blockSize } of quantised) {
    assert.ok(exact, name);
    assert.equal(blockSize % exact.block, 0, name);
    const codes: readonly number[] = exact.hasMin ? [0, 6, 112] : [exact.bits === 4 ? 8 : 128];
    assert.ok(codes.includes(exact.zero), name);
  }
  for (const [id, type] of blockTypesById) assert.equal(type.id, id);
});

test("half a block, or room of another size, is a sentence", () => {
  const q4 = typeNamed("Q4_1");
  const badInput = (error: unknown) => error instanceof IroriError && error.code === "bad-input";
  assert.throws(() => q4.dequantize(new Uint8Array(19), new Float32Array(32)), badInput);
  assert.throws(() => q4.dequantize(new Uint8Array(20), new Float32Array(33)), badInput);
  assert.throws(
    () => q4.exact!.split(new Uint8Array(20), new Uint8Array(16), new Float32Array(1), undefined),
    badInput,
  );
});

test("plain numbers widen exactly and wide ones round to float32", () => {
  const read = (name: string, bytes: ArrayBufferView<ArrayBuffer>) => {
    const type = typeNamed(name);
    const values = new Float32Array(bytes.byteLength / type.blockBytes);
    type.dequantize(new Uint8Array(bytes.buffer), values);
    return [...values];
  };
  assert.deepEqual(read("F64", Float64Array.of(0.1, -1e300)), [Math.fround(0.1), Number.NEGATIVE_INFINITY]);
  assert.deepEqual(read("I64", BigInt64Array.of(-5n, 2n ** 53n + 1n)), [-5, 2 ** 53]);
  assert.deepEqual(read("I8", Int8Array.of(-128, 127)), [-128, 127]);
  assert.deepEqual(read("U8", Uint8Array.of(0, 255)), [0, 255]);
  assert.deepEqual(read("I16", Int16Array.of(-2)), [-2]);
  assert.deepEqual(read("U32", Uint32Array.of(2 ** 31)), [2 ** 31]);
  assert.deepEqual(read("BOOL", Uint8Array.of(0, 1)), [0, 1]);
  assert.deepEqual(read("F16", Uint16Array.of(0x0001, 0x8000, 0x7c00)), [2 ** -24, -0, Number.POSITIVE_INFINITY]);
  assert.deepEqual(read("BF16", Uint16Array.of(0xbf80, 0x8000)), [-1, -0]);
});
