// The GGUF reader on files written here: what it reads, and the sentence for each thing that can be wrong.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type GgufFile, gguf, ggufBytes, smallGguf } from "../../test/model-bytes.ts";
import { IroriError } from "../base/mod.ts";
import { openCheckpoint } from "./open.ts";
import { TextList } from "./text-list.ts";

const folder = await mkdtemp(join(tmpdir(), "irori-gguf-"));
after(() => rm(folder, { recursive: true }));
const path = join(folder, "model.gguf");

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
  await using checkpoint = await opened(smallGguf());
  assert.equal(checkpoint.format, "gguf");
  assert.deepEqual(checkpoint.files, [path]);
  assert.equal(checkpoint.config, undefined);
  const { tokens, ...others } = Object.fromEntries(checkpoint.metadata);
  assert.ok(tokens instanceof TextList);
  assert.deepEqual([[...tokens], tokens.length, tokens.at(3)], [["a", "", "Ġé"], 3, undefined]);
  assert.deepEqual(others, {
    "general.architecture": "llama",
    囲炉裏: "\ufeff火 \ufffd",
    ints: Int32Array.of(1, -1),
    flags: [true, false],
    big: 2n ** 60n,
  });
  const shapes = [...checkpoint.tensors.values()].map(({ name, type, shape }) => [name, type, shape]);
  assert.deepEqual(shapes, [
    ["a", "F32", [2, 3]],
    ["b", "Q4_0", [32]],
    ["c", "F16", [2, 1, 2]],
  ]);
  assert.deepEqual(
    await checkpoint.read("a"),
    Uint8Array.from({ length: 24 }, (_, i) => i),
  );
  assert.deepEqual(
    await checkpoint.read("b"),
    Uint8Array.from({ length: 18 }, (_, i) => i + 32),
  );
  assert.equal((await checkpoint.readFloat32("b")).length, 32);
  await assert.rejects(checkpoint.read("d"), /no tensor "d" among its 3; it has "a", "b", "c" …/);
});

test("metadata of types.gguf is what its writer put in", async () => {
  await using checkpoint = await openCheckpoint(
    new URL("../../test/goldens/gguf/types.gguf", import.meta.url).pathname,
  );
  assert.equal(checkpoint.metadata.get("general.name"), "one tensor of each type");
  assert.deepEqual(checkpoint.metadata.get("test.ints"), Int32Array.of(1, -2, 3));
  assert.equal(checkpoint.metadata.get("test.float"), 0.5);
  assert.equal(checkpoint.metadata.get("test.bool"), true);
  assert.equal(checkpoint.metadata.get("test.u64"), 2 ** 40);
});

test("version 2 is read", async () => {
  await using checkpoint = await opened(ggufBytes({ version: 2, metadata: [["a", gguf.u32(7)]] }));
  assert.equal(checkpoint.metadata.get("a"), 7);
});

test("a header longer than the first piece is read whole", async () => {
  const words = Array.from({ length: 60_000 }, (_, i) => `word number ${i} Ġ`);
  const write = gguf.array(8, words.length, (out) => {
    for (const word of words) out.string(word);
  });
  const tensors = [{ name: "a", dimensions: [1], type: 0, offset: 0 }];
  await using checkpoint = await opened(ggufBytes({ metadata: [["w", write]], tensors, data: new Uint8Array(4) }));
  assert.deepEqual([...(checkpoint.metadata.get("w") as TextList)], words);
  assert.deepEqual([...(await checkpoint.readFloat32("a"))], [0]);
});

const one = { name: "a", dimensions: [8], type: 0, offset: 0 };
const data = new Uint8Array(64);
const wrong: readonly [fact: string, file: GgufFile, code: string, message: RegExp][] = [
  ["a count of 2^60 tensors", { tensorCount: 2n ** 60n }, "bad-file", /number of tensors .*1152921504606846976/],
  ["a count of 2^64-1 values", { metadataCount: 2n ** 64n - 1n }, "bad-file", /number of metadata values/],
  [
    "an array of 2^61 numbers",
    { metadata: [["a", gguf.array(4, 2n ** 61n, () => {})]] },
    "bad-file",
    /length of metadata "a"/,
  ],
  [
    "an array of 2^61 strings",
    { metadata: [["a", gguf.array(8, 2n ** 61n, () => {})]] },
    "bad-file",
    /length of metadata "a"/,
  ],
  ["an array of arrays", { metadata: [["a", gguf.array(9, 0, () => {})]] }, "unsupported", /array of arrays/],
  ["an unknown value type", { metadata: [["a", [13, (out) => out.u32(1)]]] }, "bad-file", /value type .*got 13/],
  ["a boolean of 2", { metadata: [["a", gguf.bool(2)]] }, "bad-file", /boolean .*got 2, wanted 0 or 1/],
  [
    "bad UTF-8",
    { metadata: [["a", gguf.string(Uint8Array.of(0xff, 0xfe))]] },
    "bad-file",
    /got fffe, wanted valid UTF-8/,
  ],
  [
    "a key twice",
    {
      metadata: [
        ["a", gguf.u32(1)],
        ["a", gguf.u32(1)],
      ],
    },
    "bad-file",
    /metadata key 2 .*got "a"/,
  ],
  ["an empty key", { metadata: [["", gguf.u32(1)]] }, "bad-file", /metadata key 1/],
  ["version 1", { version: 1 }, "unsupported", /GGUF version: got 1, wanted 2 or 3/],
  ["a big-endian file", { version: 0x03000000 }, "unsupported", /big-endian/],
  [
    "a split file",
    { metadata: [["split.count", gguf.u32(2)]] },
    "unsupported",
    /one part of a split model: got 2 parts/,
  ],
  [
    "alignment 0",
    { metadata: [["general.alignment", gguf.u32(0)]] },
    "bad-file",
    /alignment: got 0, wanted a power of two/,
  ],
  ["alignment 24", { metadata: [["general.alignment", gguf.u32(24)]] }, "bad-file", /alignment: got 24/],
  ["alignment as text", { metadata: [["general.alignment", gguf.string("32")]] }, "bad-file", /alignment: got "32"/],
  [
    "5 dimensions",
    { tensors: [{ ...one, dimensions: [1, 1, 1, 1, 1] }], data },
    "bad-file",
    /dimensions of tensor "a" .*got 5/,
  ],
  ["2^54 elements", { tensors: [{ ...one, dimensions: [2n ** 27n, 2n ** 27n] }], data }, "bad-file", /less than 2\^53/],
  ["2^64-1 by 0", { tensors: [{ ...one, dimensions: [0, 2n ** 64n - 1n] }], data }, "bad-file", /less than 2\^53/],
  ["type 99", { tensors: [{ ...one, type: 99 }], data }, "bad-file", /type of tensor "a" .*got 99/],
  ["type Q8_K", { tensors: [{ ...one, type: 15 }], data }, "unsupported", /type Q8_K/],
  [
    "a row of half a block",
    { tensors: [{ ...one, dimensions: [16, 2], type: 2 }], data },
    "bad-file",
    /got 16, wanted a multiple of 32/,
  ],
  [
    "an unaligned tensor",
    { tensors: [{ ...one, offset: 4 }], data },
    "bad-file",
    /offset of tensor "a": got 4, wanted a multiple of 32/,
  ],
  ["a tensor past the end", { tensors: [{ ...one, offset: 64 }], data }, "bad-file", /the end of tensor "a"/],
  [
    "an offset of 2^63",
    { tensors: [{ ...one, offset: 2n ** 63n }], data },
    "bad-file",
    /the end of tensor "a": got 922337/,
  ],
  ["a name twice", { tensors: [one, { ...one, offset: 32 }], data }, "bad-file", /tensor "a": got two of this name/],
  [
    "an overlap",
    {
      tensors: [
        { ...one, dimensions: [16] },
        { ...one, name: "b", offset: 32 },
      ],
      data,
    },
    "bad-file",
    /"a" and "b" overlap/,
  ],
];

for (const [fact, file, code, message] of wrong) {
  test(`${fact} is refused with a sentence`, async () => {
    const error = await refusal(ggufBytes(file));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.ok(error.message.startsWith(path), error.message);
  });
}

test("a small file cut at every byte is refused, and whole it opens", async () => {
  const whole = smallGguf();
  for (let length = 0; length < whole.length; length++) {
    const error = await refusal(whole.subarray(0, length));
    assert.equal(error.code, "bad-file", `${length} bytes: ${error.message}`);
  }
  await using checkpoint = await opened(whole);
  assert.equal(checkpoint.tensors.size, 3);
});

test("after it is closed a checkpoint says so", async () => {
  const checkpoint = await opened(smallGguf());
  await checkpoint[Symbol.asyncDispose]();
  await assert.rejects(checkpoint.read("a"), /read after the checkpoint was closed/);
});

test("a file that shrinks while open is a sentence", async () => {
  await using checkpoint = await opened(smallGguf());
  await writeFile(path, smallGguf().subarray(0, 100));
  await assert.rejects(checkpoint.readFloat32("a"), /cut: got 100 bytes|it became shorter/);
});
