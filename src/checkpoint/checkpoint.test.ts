// openCheckpoint on folders, shards and things that are no model.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { safetensorsBytes, smallGguf, smallSafetensors } from "../../test/model-bytes.ts";
import { IroriError } from "../base/mod.ts";
import { openCheckpoint } from "./open.ts";

const root = await mkdtemp(join(tmpdir(), "irori-checkpoint-"));
after(() => rm(root, { recursive: true }));
let count = 0;

async function folderOf(files: Record<string, string | Uint8Array>): Promise<string> {
  const folder = join(root, String(count++));
  await mkdir(folder);
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
  return folder;
}

const shard = (name: string) =>
  safetensorsBytes({ [name]: { dtype: "U8", shape: [2], data_offsets: [0, 2] } }, Uint8Array.of(1, 2));
const index = (weight_map: Record<string, unknown>) => JSON.stringify({ metadata: {}, weight_map });
const indexName = "model.safetensors.index.json";

test("a folder with model.safetensors and config.json opens with both", async () => {
  const folder = await folderOf({ "model.safetensors": smallSafetensors(), "config.json": '{"model_type":"llama"}' });
  await using checkpoint = await openCheckpoint(folder);
  assert.deepEqual(checkpoint.config, { model_type: "llama" });
  assert.equal(checkpoint.tensors.size, 3);
  await using byFile = await openCheckpoint(join(folder, "model.safetensors"));
  assert.deepEqual(byFile.config, { model_type: "llama" });
});

test("shards are read through the index as one checkpoint", async () => {
  const map = { x: "one.safetensors", y: "two.safetensors" };
  const files = { [indexName]: index(map), "one.safetensors": shard("x"), "two.safetensors": shard("y") };
  const folder = await folderOf(files);
  await using checkpoint = await openCheckpoint(folder);
  assert.deepEqual(checkpoint.files, [join(folder, "one.safetensors"), join(folder, "two.safetensors")]);
  assert.deepEqual([...(await checkpoint.readFloat32("y"))], [1, 2]);
  assert.equal(checkpoint.tensors.get("y")?.file, join(folder, "two.safetensors"));
});

test("the content decides, not the name", async () => {
  const folder = await folderOf({ "a.safetensors": smallGguf() });
  await using checkpoint = await openCheckpoint(folder);
  assert.equal(checkpoint.format, "gguf");
});

test("a GGUF file opens whatever lies beside it", async () => {
  const folder = await folderOf({ "a.gguf": smallGguf(), "config.json": "not JSON" });
  await using checkpoint = await openCheckpoint(join(folder, "a.gguf"));
  assert.equal(checkpoint.config, undefined);
});

const one = { "one.safetensors": shard("x") };
const wrong: readonly [fact: string, files: Record<string, string | Uint8Array>, code: string, message: RegExp][] = [
  [
    "an index that names a missing shard",
    { [indexName]: index({ x: "no.safetensors" }) },
    "not-found",
    /shard "no.safetensors"/,
  ],
  [
    "an index that leaves the folder",
    { [indexName]: index({ x: "../x.safetensors" }) },
    "bad-file",
    /file name in this folder/,
  ],
  [
    "an index with an absolute path",
    { [indexName]: index({ x: "/etc/passwd" }) },
    "bad-file",
    /file name in this folder/,
  ],
  [
    "an index that promises another tensor",
    { ...one, [indexName]: index({ z: "one.safetensors" }) },
    "bad-file",
    /holds tensor "z"/,
  ],
  ["an index of numbers", { [indexName]: index({ x: 1 }) }, "bad-file", /weight_map.x/],
  ["an empty index", { [indexName]: index({}) }, "bad-file", /no files/],
  ["an index that is no JSON", { [indexName]: "{" }, "bad-file", /valid JSON/],
  [
    "a tensor in two shards",
    { ...one, "two.safetensors": shard("x"), [indexName]: index({ x: "one.safetensors", y: "two.safetensors" }) },
    "bad-file",
    /"x" is in .*one.safetensors and in .*two.safetensors/,
  ],
  [
    "a config.json that is cut",
    { "model.safetensors": smallSafetensors(), "config.json": '{"a":' },
    "bad-file",
    /config.json: got/,
  ],
  [
    "two weight files",
    { "a.gguf": smallGguf(), "b.gguf": smallGguf() },
    "bad-input",
    /several weight files: got a.gguf, b.gguf/,
  ],
  ["only a pickle", { "pytorch_model.bin": "PK" }, "unsupported", /pickle/],
  ["an empty folder", {}, "not-found", /no weights in this folder/],
  ["a web page", { "model.safetensors": "<!DOCTYPE html><title>404" }, "bad-file", /a web page instead of the file/],
  ["an LFS pointer", { "model.gguf": "version https://git-lfs.github.com/spec/v1\n" }, "bad-file", /Git LFS pointer/],
  ["a pickle by another name", { "model.safetensors": "PK\x03\x04 and more" }, "bad-file", /never opened/],
  ["an empty file", { "model.gguf": "" }, "bad-file", /got 0 bytes/],
];

for (const [fact, files, code, message] of wrong) {
  test(`${fact} is refused with a sentence`, async () => {
    const folder = await folderOf(files);
    await assert.rejects(openCheckpoint(folder), (error) => {
      assert.ok(error instanceof IroriError, String(error));
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    });
  });
}

test("a path that does not exist is not-found", async () => {
  await assert.rejects(
    openCheckpoint(join(root, "nowhere")),
    (error) => error instanceof IroriError && error.code === "not-found",
  );
});
