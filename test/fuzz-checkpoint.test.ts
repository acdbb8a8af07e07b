// 2,000 mutated model files (6,000 in `npm run test:full`): each is an error sentence, or exactly the tensors that its header now describes.
// The seed of a failing file is in the message; IRORI_FUZZ_SEED moves the start.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { IroriError } from "../src/base/mod.ts";
import { blockTypes } from "../src/checkpoint/block-types.ts";
import { type Checkpoint, openCheckpoint } from "../src/checkpoint/mod.ts";
import { smallGguf, smallSafetensors } from "./model-bytes.ts";
import { type Base, busyMs, firstSeed, isFull, mutated } from "./mutations.ts";

const folder = await mkdtemp(join(tmpdir(), "irori-fuzz-"));
after(() => rm(folder, { recursive: true }));
const path = join(folder, "model");
const golden = (name: string) => readFile(new URL(`goldens/${name}`, import.meta.url));

/** How many tensors the header counts, read without the reader under test. */
function countedTensors(format: Checkpoint["format"], bytes: Uint8Array): number {
  const buffer = Buffer.from(bytes);
  if (format === "gguf") return Number(buffer.readBigUInt64LE(8));
  const header = JSON.parse(buffer.toString("utf8", 8, 8 + Number(buffer.readBigUInt64LE(0))));
  return Object.keys(header).filter((name) => name !== "__metadata__").length;
}

async function requireWhole(checkpoint: Checkpoint, bytes: Uint8Array): Promise<void> {
  assert.equal(checkpoint.tensors.size, countedTensors(checkpoint.format, bytes));
  for (const [name, { type: typeName, shape, offset, byteLength }] of checkpoint.tensors) {
    const spelled = checkpoint.format === "gguf" ? name : JSON.stringify(name);
    assert.ok(Buffer.from(bytes).includes(spelled) || spelled.includes("\\"), `${spelled} is not in the file`);
    const type = blockTypes.get(typeName);
    assert.ok(type);
    const elements = shape.reduce((product, size) => product * size, 1);
    assert.equal(byteLength, (elements / type.blockSize) * type.blockBytes);
    assert.ok(offset + byteLength <= bytes.length);
    const raw = await checkpoint.read(name);
    assert.ok(Buffer.from(bytes.buffer, bytes.byteOffset + offset, byteLength).equals(raw));
    assert.equal((await checkpoint.readFloat32(name)).length, elements);
  }
}

async function fuzz(base: Base, files: number): Promise<{ refused: number; opened: number }> {
  const result = { refused: 0, opened: 0 };
  for (let seed = firstSeed; seed < firstSeed + files; seed++) {
    const bytes = mutated(base, seed);
    await writeFile(path, bytes);
    try {
      const [, ms] = await busyMs(async () => {
        await using checkpoint = await openCheckpoint(path);
        await requireWhole(checkpoint, bytes);
      });
      assert.ok(ms < 2000, `seed ${seed}: ${ms} ms of a core`);
      result.opened++;
    } catch (error) {
      if (!(error instanceof IroriError)) throw new Error(`seed ${seed}: not a sentence`, { cause: error });
      assert.ok(error.message.startsWith(path) && error.message.length < 1000, `seed ${seed}: ${error.message}`);
      assert.doesNotMatch(error.message, /\p{Cc}/u, `seed ${seed}: control characters`);
      assert.ok(["bad-file", "unsupported"].includes(error.code), `seed ${seed}: ${error.message}`);
      result.refused++;
    }
  }
  return result;
}

const types = await golden("gguf/types.gguf");
const llama = await golden("families/llama/model.safetensors");
const bases: readonly [name: string, base: Base, files: number][] = [
  ["types.gguf", { bytes: types, headerBytes: 1440 }, 600],
  ["a small GGUF file", { bytes: smallGguf(), headerBytes: 400 }, 500],
  ["the tiny llama's safetensors", { bytes: llama, headerBytes: 8 + Number(llama.readBigUInt64LE(0)) }, 400],
  ["a small safetensors file", { bytes: smallSafetensors(), headerBytes: 260 }, 500],
];

for (const [name, base, few] of bases) {
  const files = isFull ? 3 * few : few;
  test(`${files} mutations of ${name}: a sentence, or exactly what the header says`, {
    timeout: 600_000,
  }, async (t) => {
    const { refused, opened } = await fuzz(base, files);
    t.diagnostic(`${refused} refused, ${opened} opened`);
    assert.ok(refused > files / 4 && opened > 0, `${refused} refused, ${opened} opened: the mutations miss one side`);
  });
}
