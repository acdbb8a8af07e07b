// 2,000 mutated model files: each is an error sentence, or exactly the tensors that its header now describes.
// The seed of a failing file is in the message; IRORI_FUZZ_SEED moves the start.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { IroriError, type Random, seededRandom } from "../src/base/mod.ts";
import { blockTypes } from "../src/checkpoint/block-types.ts";
import { type Checkpoint, openCheckpoint } from "../src/checkpoint/mod.ts";
import { smallGguf, smallSafetensors } from "./model-bytes.ts";

const folder = await mkdtemp(join(tmpdir(), "irori-fuzz-"));
after(() => rm(folder, { recursive: true }));
const path = join(folder, "model");
const golden = (name: string) => readFile(new URL(`goldens/${name}`, import.meta.url));
const firstSeed = Number(process.env.IRORI_FUZZ_SEED ?? 1);

interface Base {
  readonly bytes: Uint8Array;
  /** Most mutations fall before this byte. */
  readonly headerBytes: number;
}

const lengths = [0n, 1n, 31n, 255n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 60n, 2n ** 63n, 2n ** 64n - 1n];

type Mutate = (bytes: Buffer, at: number, pick: (below: number) => number) => Uint8Array;
const mutations: readonly Mutate[] = [
  (bytes, at, pick) => bytes.fill(bytes[at]! ^ (1 << pick(8)), at, at + 1),
  (bytes, at, pick) => bytes.fill(pick(256), at, at + 1),
  (bytes, at, pick) => bytes.fill(pick(256), at, Math.min(bytes.length, at + 1 + pick(16))),
  (bytes, at) => bytes.subarray(0, at),
  (bytes, at, pick) =>
    Buffer.concat([bytes.subarray(0, at), Buffer.alloc(1 + pick(40), pick(256)), bytes.subarray(at)]),
  (bytes, at, pick) => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + pick(40))]),
  (bytes, at, pick) => Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - 1 - pick(64)))]), // a repeat
  (bytes, at, pick) => {
    if (at + 8 <= bytes.length) bytes.writeBigUInt64LE(lengths[pick(lengths.length)]!, at);
    return bytes;
  },
  (bytes, at, pick) => {
    if (at + 4 <= bytes.length) bytes.writeUInt32LE(pick(64), at);
    return bytes;
  },
  (bytes, at, pick) => bytes.fill(48 + pick(10), at, at + 1), // a digit: JSON stays JSON
];

function mutated({ bytes, headerBytes }: Base, random: Random): Uint8Array {
  const pick = (below: number) => Math.floor(random.next() * below);
  let now: Uint8Array = Buffer.from(bytes);
  for (let left = 1 + pick(3); left > 0 && now.length > 0; left--) {
    const within = pick(10) === 0 ? now.length : Math.min(now.length, headerBytes);
    now = mutations[pick(mutations.length)]!(Buffer.from(now), pick(within), pick);
  }
  return now;
}

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
    const bytes = mutated(base, seededRandom(seed));
    await writeFile(path, bytes);
    try {
      await using checkpoint = await openCheckpoint(path);
      await requireWhole(checkpoint, bytes);
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

for (const [name, base, files] of bases) {
  test(`${files} mutations of ${name}: a sentence, or exactly what the header says`, {
    timeout: 120_000,
  }, async (t) => {
    const { refused, opened } = await fuzz(base, files);
    t.diagnostic(`${refused} refused, ${opened} opened`);
    assert.ok(refused > files / 4 && opened > 0, `${refused} refused, ${opened} opened: the mutations miss one side`);
  });
}
