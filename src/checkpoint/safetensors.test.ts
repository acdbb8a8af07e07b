// The safetensors reader on files written here: what it reads, and the sentence for each thing that can be wrong.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Bytes, safetensorsBytes, smallSafetensors } from "../../test/model-bytes.ts";
import { IroriError } from "../base/mod.ts";
import { openCheckpoint } from "./open.ts";

const folder = await mkdtemp(join(tmpdir(), "irori-safetensors-"));
after(() => rm(folder, { recursive: true }));
const path = join(folder, "model.safetensors");

async function opened(bytes: Uint8Array) {
  await writeFile(path, bytes);
  return await openCheckpoint(path);
}

async function refusal(bytes: Uint8Array): Promise<IroriError> {
  try {
    await using checkpoint = await opened(bytes);
    assert.fail(`opened with ${checkpoint.tensors.size} tensors`);
  } catch (error) {
    if (error instanceof IroriError) return error;
    throw error;
  }
}

test("metadata and tensors are what the file says", async () => {
  await using checkpoint = await opened(smallSafetensors());
  assert.equal(checkpoint.format, "safetensors");
  assert.deepEqual([...checkpoint.metadata], [["format", "pt"]]);
  assert.deepEqual(
    [...checkpoint.tensors.values()].map(({ name, type, shape, byteLength }) => [name, type, shape, byteLength]),
    [
      ["a", "F32", [2, 2], 16],
      ["b", "BF16", [3], 6],
      ["empty", "F16", [0, 4], 0],
    ],
  );
  assert.deepEqual(await checkpoint.read("b"), Uint8Array.of(16, 17, 18, 19, 20, 21));
  assert.equal((await checkpoint.readFloat32("empty")).length, 0);
});

test("F16, BF16, F64 and integers read as float32", async () => {
  const types = { F64: 8, I64: 8, F16: 2, BF16: 2, I16: 2, U8: 1, BOOL: 1 };
  const header: Record<string, object> = {};
  const data = new Bytes();
  for (const [dtype, bytes] of Object.entries(types)) {
    header[dtype] = { dtype, shape: [1], data_offsets: [data.length, data.length + bytes] };
    data.raw(new Uint8Array(bytes).fill(1));
  }
  await using checkpoint = await opened(safetensorsBytes(header, data.done()));
  const view = new DataView(new Uint8Array(8).fill(1).buffer);
  const value = async (name: string) => (await checkpoint.readFloat32(name))[0];
  assert.equal(await value("F64"), Math.fround(view.getFloat64(0)));
  assert.equal(await value("I64"), Math.fround(Number(0x0101010101010101n)));
  assert.equal(await value("F16"), view.getFloat16(0));
  assert.equal(await value("BF16"), Math.fround(2 ** -125 * (1 + 1 / 128)));
  assert.equal(await value("I16"), 257);
  assert.equal(await value("U8"), 1);
  assert.equal(await value("BOOL"), 1);
});

const a = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
const b = { dtype: "F32", shape: [2], data_offsets: [8, 16] };
const wrong: readonly [fact: string, header: object | string, bytes: number, message: RegExp][] = [
  [
    "a hole between tensors",
    { a, b: { ...b, data_offsets: [12, 20] } },
    20,
    /"b": a hole or an overlap before it: got start/,
  ],
  ["an overlap", { a, b: { ...b, data_offsets: [4, 12] } }, 12, /"b": a hole or an overlap/],
  ["bytes after the last tensor", { a }, 12, /the end of the last tensor/],
  ["data cut", { a, b }, 12, /the end of the last tensor/],
  [
    "a length that is not its shape's",
    { a: { ...a, shape: [3] } },
    8,
    /data of tensor "a": got bytes 0 to 8, wanted 12/,
  ],
  ["offsets the wrong way round", { a: { ...a, data_offsets: [8, 0] } }, 8, /data of tensor "a"/],
  ["2^54 elements", { a: { ...a, shape: [2 ** 27, 2 ** 27] } }, 8, /less than 2\^53/],
  ["an unknown type", { a: { ...a, dtype: "F31" } }, 8, /type of tensor "a": got "F31"/],
  ["a GGUF type", { a: { ...a, dtype: "Q4_0" } }, 8, /type of tensor "a": got "Q4_0"/],
  ["a negative dimension", { a: { ...a, shape: [-2] } }, 8, /entry "a", "shape", "0"/],
  ["a dimension of 1.5", { a: { ...a, shape: [1.5] } }, 8, /entry "a", "shape", "0"/],
  ["no shape", { a: { dtype: "F32", data_offsets: [0, 8] } }, 8, /entry "a", "shape"/],
  ["three offsets", { a: { ...a, data_offsets: [0, 8, 8] } }, 8, /entry "a", "data_offsets"/],
  ["a key of no meaning", { a: { ...a, more: 1 } }, 8, /entry "a"/],
  ["metadata that is not text", { __metadata__: { n: 1 }, a }, 8, /entry "__metadata__", "n"/],
  ["a tensor that is null", { a: null }, 0, /entry "a"/],
  ["a name twice", `{"a":${JSON.stringify(a)},"\\u0061":${JSON.stringify(a)}}`, 8, /the header: got "a" twice/],
  ["a key twice in an entry", '{"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}', 8, /"shape" twice/],
  ["a header that is cut JSON", '{"a":', 8, /valid JSON in UTF-8/],
  ["a header with something behind", "{} x", 0, /valid JSON in UTF-8/],
];

for (const [fact, header, bytes, message] of wrong) {
  test(`${fact} is refused with a sentence`, async () => {
    const error = await refusal(safetensorsBytes(header, new Uint8Array(bytes)));
    assert.equal(error.code, "bad-file");
    assert.match(error.message, message);
    assert.ok(error.message.startsWith(path), error.message);
  });
}

test("a header length of 2^60 is refused before any allocation", async () => {
  const error = await refusal(
    new Bytes()
      .u64(2n ** 60n)
      .string("{}")
      .done(),
  );
  assert.match(error.message, /not a model file|header's length/);
  const braced = await refusal(
    new Bytes()
      .u64(2n ** 60n)
      .raw(Buffer.from("{}"))
      .done(),
  );
  assert.match(braced.message, /the header's length: got 1152921504606846976, wanted at most 2/);
});

test("a known type that Irori does not read is unsupported", async () => {
  const error = await refusal(safetensorsBytes({ a: { ...a, dtype: "F8_E4M3" } }, new Uint8Array(8)));
  assert.equal(error.code, "unsupported");
});

test("bad UTF-8 in the header is refused", async () => {
  const text = Buffer.from(JSON.stringify({ __metadata__: { x: "????" } })).map((byte) =>
    byte === 0x3f ? 0xff : byte,
  );
  assert.match((await refusal(new Bytes().u64(text.length).raw(text).done())).message, /valid JSON in UTF-8/);
});

test("a tensor called __proto__ is a tensor", async () => {
  await using checkpoint = await opened(safetensorsBytes(`{"__proto__":${JSON.stringify(a)}}`, new Uint8Array(8)));
  assert.deepEqual([...checkpoint.tensors.keys()], ["__proto__"]);
});

test("a small file cut at every byte is refused", async () => {
  const whole = smallSafetensors();
  for (let length = 0; length < whole.length; length++) {
    const error = await refusal(whole.subarray(0, length));
    assert.equal(error.code, "bad-file", `${length} bytes: ${error.message}`);
  }
});
