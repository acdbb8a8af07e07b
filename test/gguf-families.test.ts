// The golden families as GGUF files (goldens/gguf-families, written by the Python package `gguf`) against transformers on the
// weights that the files hold, in both forms; and against the same checkpoints from safetensors.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { readSafetensors } from "../src/checkpoint/mod.ts";
import { Engine, GREEDY, type Lease } from "../src/engine/mod.ts";
import { relativeError } from "./evaluate.ts";
import { gguf, ggufBytes } from "./model-bytes.ts";

const goldens = join(import.meta.dirname, "goldens");
const names = readdirSync(join(goldens, "gguf-families")).filter((name) => name.endsWith(".gguf"));

let engine: Engine;
let home: string;
before(async () => {
  home = await mkdtemp(join(tmpdir(), "irori-gguf-"));
  engine = await Engine.open({
    home,
    threads: 2,
    spinning: false,
    budgetBytes: () => 2e9,
    now: () => performance.now(),
  });
});
after(async () => {
  await engine[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

interface Rows {
  readonly ids: number[][];
  readonly mask: number[][];
  readonly logits: Float32Array;
}

async function expectedOf(name: string): Promise<Rows> {
  const family = name.replace(/-(f16|q8_0)\.gguf$/, "");
  const inputs = await readSafetensors(join(goldens, "families", family, "expected.safetensors"));
  const { logits } = await readSafetensors(join(goldens, "gguf-families", name.replace(/\.gguf$/, ".safetensors")));
  const rows = (key: string): number[][] => {
    const { shape, data } = inputs[key] ?? assert.fail(key);
    const [count = 0, length = 0] = shape;
    return Array.from({ length: count }, (_, b) => [...data.slice(b * length, (b + 1) * length)].map(Number));
  };
  return { ids: rows("input_ids"), mask: rows("attention_mask"), logits: logits?.data as Float32Array };
}

async function answer(lease: Lease, ids: readonly number[]): Promise<readonly number[]> {
  for await (const event of lease.generate({
    prompt: { ids },
    seed: 0,
    sampling: GREEDY,
    maxTokens: 6,
    ignoreEos: true,
  }))
    if (event.type === "end") return event.ids;
  return assert.fail("no end");
}

for (const name of names) {
  const path = join(goldens, "gguf-families", name);
  test(`${name}: transformers' logits in float32, and the serving form answers like it`, async () => {
    const { ids, mask, logits } = await expectedOf(name);
    await using f32 = await engine.lease(path, { form: "f32" });
    const traced = await f32.trace({ ids, attentionMask: mask });
    const got = traced.logits?.data as Float32Array;
    const width = f32.manifest.config.vocabSize;
    const atReal = (data: Float32Array) => data.map((x, i) => x * (mask.flat()[Math.floor(i / width)] as number));
    assert.ok(relativeError(atReal(got), logits) <= 1e-4, `${relativeError(atReal(got), logits)}`);
    await using blocks = await engine.lease(path, { form: "blocks" });
    const row = ids[0] as number[];
    const [exact, served] = [await f32.score(row), await blocks.score(row)];
    // the kernel rounds what it multiplies quantised blocks with to 8 bits
    const bound = name.includes("q8_0") ? 0.02 : 1e-3;
    assert.ok(Math.abs(served.meanNll / exact.meanNll - 1) < bound, `${served.meanNll} ${exact.meanNll}`);
    assert.equal((await answer(blocks, row)).length, 6);
    if (!name.includes("q8_0")) return;
    const kinds = new Set(blocks.manifest.report.map(({ form }) => form));
    assert.ok(kinds.has("8 bit, blocks of 32"));
  });
}

test("every family whose GGUF is read is among them", async () => {
  const { families } = await import("../src/models/mod.ts");
  const read = families.flatMap(({ name, gguf }) => (gguf ? [name] : []));
  for (const family of read)
    assert.ok(
      names.some((name) => name.startsWith(`${family}-`)),
      family,
    );
});

test("a GGUF of an architecture that is not run says so and names the nearest", async () => {
  const open = async (architecture: string, more: readonly (readonly [string, ReturnType<typeof gguf.u32>])[] = []) => {
    const path = join(home, `${architecture}.gguf`);
    await writeFile(path, ggufBytes({ metadata: [["general.architecture", gguf.string(architecture)], ...more] }));
    return engine.lease(path);
  };
  await assert.rejects(open("gemma3n"), {
    code: "unsupported",
    message: /"gemma3n".*nothing nearer than gemma3, wanted llama/,
  });
  await assert.rejects(open("rwkv7"), {
    code: "unsupported",
    message: /"rwkv7", which Irori does not run: wanted llama/,
  });
  const experts = open("llama", [["llama.expert_count", gguf.u32(8)]]);
  await assert.rejects(experts, { code: "unsupported", message: /mixtures of 8 experts/ });
});
