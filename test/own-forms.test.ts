// Float checkpoints in blocks of our own: which tensors become what, how far they are, and that answers come from them.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Engine, GREEDY } from "../src/engine/mod.ts";

const goldens = join(import.meta.dirname, "goldens");
let engine: Engine;
let home: string;
before(async () => {
  home = await mkdtemp(join(tmpdir(), "irori-own-"));
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

const ids = [5, 17, 23, 42, 9, 77, 3, 120, 64, 8, 31];

for (const family of ["llama", "gpt2", "qwen3", "gemma3", "gpt_neox"]) {
  for (const form of ["q8", "q4"] as const) {
    test(`${family} as ${form}: near float32, and answers like it scores`, async () => {
      const model = join(goldens, "families", family);
      await using floats = await engine.lease(model, { form: "f32" });
      await using own = await engine.lease(model, { form });
      const { report, tensors } = own.manifest;
      const coded = report.filter(({ error }) => error !== undefined);
      assert.ok(coded.length > 0 && coded.every(({ isExact }) => !isExact));
      for (const { form: kind, error } of coded)
        assert.ok((error?.whole ?? 1) < (kind.startsWith("8 bit") ? 0.01 : 0.12), `${kind} ${error?.whole}`);
      const [near, exact] = [await own.score(ids), await floats.score(ids)];
      assert.ok(
        Math.abs(near.meanNll / exact.meanNll - 1) < (form === "q8" ? 0.02 : 0.12),
        `${near.meanNll} ${exact.meanNll}`,
      );
      for await (const event of own.generate({
        prompt: { ids },
        seed: 0,
        sampling: GREEDY,
        maxTokens: 4,
        ignoreEos: true,
      }))
        if (event.type === "end") assert.equal(event.ids.length, 4);
      const kinds = (part: string) =>
        Object.entries(tensors).flatMap(([name, stored]) =>
          name.includes(part) && "format" in stored ? [stored.format.bits] : [],
        );
      if (form === "q4" && family === "llama") {
        assert.deepEqual([kinds("embed_tokens"), kinds("v_proj"), kinds("q_proj")], [[8], [8, 8], [4, 4]]);
        assert.deepEqual(kinds("down_proj"), [], "rows of 56 are no whole blocks");
      }
      if (family === "gpt2") {
        const stored = tensors["transformer.h.0.attn.c_attn.weight"];
        assert.deepEqual([stored?.shape, stored?.isTransposed], [[96, 32], true]);
      }
    });
  }
}

test("blocks that a checkpoint has are kept where they have as few bits", async () => {
  const model = join(goldens, "gguf-families", "llama-q8_0.gguf");
  await using eight = await engine.lease(model, { form: "q8" });
  assert.ok(
    eight.manifest.report.every(({ isExact, type }) => isExact || type === "F16"),
    JSON.stringify(eight.manifest.report),
  );
  await using four = await engine.lease(model, { form: "q4" });
  assert.ok(four.manifest.report.some(({ type, form }) => type === "Q8_0" && form.startsWith("4 bit")));
});

test("where no form is named, a small model of floats stays as it is and a GGUF keeps its blocks", async () => {
  await using small = await engine.lease(join(goldens, "families", "mistral"));
  assert.equal(small.manifest.form, "blocks");
  assert.deepEqual(
    small.manifest.report.map(({ form }) => form),
    ["float32"],
  );
  await using blocks = await engine.lease(join(goldens, "gguf-families", "qwen2-q8_0.gguf"));
  assert.equal(blocks.manifest.form, "blocks");
});
