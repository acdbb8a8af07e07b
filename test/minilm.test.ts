// all-MiniLM-L6-v2 from its package: pulled as a folder, prepared, tokenised as by sentence-transformers (goldens/real).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Engine } from "../src/engine/mod.ts";
import { Tokenizer } from "../src/text/mod.ts";
import { minilm } from "./setup/minilm.ts";

const real = JSON.parse(readFileSync(join(import.meta.dirname, "goldens/real/all-minilm-l6-v2.json"), "utf8"));
const { home, path } = await minilm();

test("the folder holds the model as sentence-transformers lays it out", async () => {
  const names = (await readdir(path, { recursive: true })).sort();
  assert.deepEqual(names, [
    "1_Pooling",
    "1_Pooling/config.json",
    "config.json",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
  ]);
});

test("prepared, it tells how a sentence becomes a vector, and every sentence has the ids of sentence-transformers", async () => {
  await using engine = await Engine.open({
    home,
    threads: 2,
    spinning: false,
    budgetBytes: () => 2e9,
    now: () => performance.now(),
  });
  const stored = await engine.store.find("all-minilm-l6-v2");
  assert.ok(stored);
  await engine.store.verify(stored);
  await using lease = await engine.lease("all-minilm-l6-v2", { form: "f32", warm: false });
  assert.deepEqual([lease.manifest.family, lease.manifest.sentence], ["bert", { pooling: "mean", isNormalized: true }]);
  const tokenizer = Tokenizer.open(readFileSync(join(engine.store.preparedFolder(stored, "f32"), "tokenizer.bin")));
  assert.equal(tokenizer.maxTokens, real.max_seq_length);
  assert.equal(tokenizer.padId, 0);
  for (const { text, ids } of real.sentences) assert.deepEqual(tokenizer.encodeFramed(text).ids, ids);
  const long = tokenizer.encodeFramed(
    real.sentences
      .map(({ text }: { text: string }) => text)
      .join(" ")
      .repeat(9),
  );
  assert.deepEqual([long.ids.length, long.ids[0], long.ids.at(-1)], [256, 101, 102]);
  assert.ok(long.cutTokens > 100);
});
