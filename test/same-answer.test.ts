// A seeded answer is the same however it comes about: alone, among others, after a pause, over what was read before, over a saved
// chat, in another process; of every family, also changed inside.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { PauseController } from "../src/base/mod.ts";
import { Engine, type GenerateRequest, type Lease, type LeaseOptions } from "../src/engine/mod.ts";
import { families } from "../src/models/mod.ts";
import { answerTo } from "./setup/answers.ts";
import { randomAdapter } from "./setup/random-adapter.ts";
import { smollm2 } from "./setup/smollm2.ts";

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "irori-same-"));
});
after(() => rm(folder, { recursive: true }));

const openEngine = (home: string, keptBytes = 2 ** 28): Promise<Engine> =>
  Engine.open({ home, threads: 2, spinning: false, now: () => performance.now(), budgetBytes: () => 8e9, keptBytes });

const text = (length: number, seed: number): number[] =>
  Array.from({ length }, (_, i) => 5 + ((i * 37 + seed * 11) % 150));
const requestOf = (ids: readonly number[], seed: number, more: Partial<GenerateRequest> = {}): GenerateRequest => ({
  ...{ prompt: { ids }, seed, sampling: { temperature: 0.9, topK: 40, topP: 0.95, repetitionPenalty: 1.05 } },
  ...{ maxTokens: 12, ignoreEos: true, ...more },
});
const idsOf = async (lease: Lease, request: GenerateRequest): Promise<readonly number[]> =>
  (await answerTo(lease, request)).ids;

/** The answer to a request that is paused twice on its way, what it holds given up once. */
async function paused(lease: Lease, request: GenerateRequest): Promise<readonly number[]> {
  const pause = new PauseController();
  let tokens = 0;
  const { ids } = await answerTo(
    lease,
    { ...request, pause },
    {
      onEvent: (event) => {
        if (event.type !== "token") return;
        tokens++;
        if (tokens !== 3 && tokens !== 6) return;
        pause.pause({ release: tokens === 6 });
        setTimeout(() => pause.resume(), 5);
      },
    },
  );
  return ids;
}

/** What must be equal, over one way to lease a model. */
async function same(home: string, model: string, options: LeaseOptions, ids: readonly number[]): Promise<void> {
  const request = requestOf(ids, 7);
  await using first = await openEngine(home, 0);
  await using plain = await first.lease(model, options);
  const wanted = await idsOf(plain, request);
  assert.equal(wanted.length, 12);

  await using other = await openEngine(home);
  await using lease = await other.lease(model, options);
  const others = Array.from({ length: 7 }, (_, i) => requestOf(text(4 + 3 * i, i), i, { maxTokens: 6 + 2 * i }));
  const [among] = await Promise.all([request, ...others].map((each) => idsOf(lease, each)));
  assert.deepEqual(among, wanted, "among seven others");
  assert.deepEqual(await paused(lease, request), wanted, "after a pause");
  const again = await answerTo(lease, request);
  assert.deepEqual(again.ids, wanted, "over what was read before");
  assert.ok(again.reusedTokens >= ids.length - 1, `${again.reusedTokens} of ${ids.length} tokens reused`);
  const on = requestOf([...ids, ...wanted, 9], 8);
  assert.deepEqual(await idsOf(lease, on), await idsOf(plain, on), "going on from an answer");
  assert.deepEqual(await idsOf(lease, { ...request, speculate: true }), wanted, "with drafts");

  const path = join(folder, `${model.replaceAll(/\W/g, "-")}.chat`);
  const saved = await lease.saveChat(path, { ids });
  assert.deepEqual(saved.ids, ids);
  await using third = await openEngine(home);
  await using restored = await third.lease(model, options);
  assert.deepEqual((await restored.restoreChat(path)).ids, ids);
  const longer = requestOf([...ids, 9], 9);
  const continued = await answerTo(restored, longer);
  assert.equal(continued.reusedTokens, ids.length);
  assert.deepEqual(continued.ids, await idsOf(plain, longer), "over a saved chat");
}

for (const { name } of families.filter((family) => family.head !== undefined)) {
  const model = `file:${fileURLToPath(new URL(`goldens/families/${name}`, import.meta.url))}`;
  test(`${name}: alone, among others, paused, reused, speculated and restored`, () =>
    same(folder, model, { form: "f32" }, text(20, 1)));

  test(`${name}: changed inside among others, each answer is its own`, async () => {
    await using engine = await openEngine(folder, 0);
    await using lease = await engine.lease(model, { form: "f32" });
    const vector = Array.from({ length: lease.manifest.config.hiddenSize }, (_, i) => Math.sin(i * i));
    const changes: readonly Partial<GenerateRequest>[] = [
      {},
      { interventions: [{ at: "blocks.1.hook_resid_pre", do: "steer", vector, strength: 3 }] },
      { interventions: [{ at: "blocks.0.attn.hook_z", do: "zero", heads: [1] }] },
      { adapter: await randomAdapter(lease, (await lease.inside()).family.loraTargets, 2, 3) },
      { adapter: await randomAdapter(lease, (await lease.inside()).family.loraTargets, 3, 4) },
      {},
    ];
    const requests = changes.map((change, i) => requestOf(text(10, 2), 5, { ...change, maxTokens: 8 + i }));
    const alone: (readonly number[])[] = [];
    for (const request of requests) alone.push(await idsOf(lease, request));
    assert.deepEqual(await Promise.all(requests.map((request) => idsOf(lease, request))), alone);
    assert.notDeepEqual(alone[1]?.slice(0, 8), alone[0]);
    assert.deepEqual(alone[5]?.slice(0, 8), alone[0]);
  });
}

test("continuations after which layers with windows have forgotten the prompt's end", async () => {
  const path = join(folder, "long-gemma3");
  await cp(new URL("goldens/families/gemma3", import.meta.url), path, { recursive: true });
  const config = JSON.parse(await readFile(join(path, "config.json"), "utf8"));
  await writeFile(join(path, "config.json"), JSON.stringify({ ...config, max_position_embeddings: 1024 }));
  await using engine = await openEngine(folder);
  await using lease = await engine.lease(`file:${path}`, { form: "f32" });
  const prompt = text(300, 1);
  const continuations = [text(280, 2), text(3, 3), [...text(270, 2), 9, 9], text(2, 4)];
  const scores = await lease.scoreContinuations({ ids: prompt }, continuations);
  for (const [i, { logprobs }] of scores.entries()) {
    const { nll } = await lease.score([...prompt, ...(continuations[i] as number[])]);
    for (const [j, each] of nll.slice(prompt.length - 1).entries())
      assert.ok(Math.abs(each + (logprobs[j] as number)) < 1e-4, `${i}, ${j}`);
  }
  assert.deepEqual(await idsOf(lease, requestOf(prompt, 1)), await idsOf(lease, requestOf(prompt, 1)));
});

describe("a real model", () => {
  let home: string;
  let lease: Lease;
  let engine: Engine;
  before(async () => {
    ({ home } = await smollm2());
    engine = await openEngine(home);
    lease = await engine.lease("smollm2-135m");
  });
  after(() => engine[Symbol.asyncDispose]());

  for (const options of [{}, { kvType: "int8" }, { form: "int8" }] as const satisfies readonly LeaseOptions[])
    test(`alone, among others, paused, reused, speculated and restored: ${JSON.stringify(options)}`, () =>
      same(
        home,
        "smollm2-135m",
        options,
        lease.tokenize("The hearth stood in the middle of the house, and people sat"),
      ));

  const chat = [
    { role: "system", content: "You answer in one short sentence." },
    { role: "user", content: "Where does the fire burn?" },
  ];

  test("a chat is saved, and another process goes on from it to the same answer", async () => {
    const first = await answerTo(lease, { prompt: { messages: chat }, seed: 3, maxTokens: 24 });
    const messages = [
      ...chat,
      { role: "assistant", content: first.text },
      { role: "user", content: "And who sits there?" },
    ];
    const request = { prompt: { messages }, seed: 11, maxTokens: 24 };
    const path = join(folder, "hearth.chat");
    const { ids, bytes } = await lease.saveChat(path, { messages: messages.slice(0, -1) });
    const wanted = await answerTo(lease, request);
    const script = fileURLToPath(new URL("setup/restore-once.ts", import.meta.url));
    const child = spawn(process.execPath, [script, home, path, JSON.stringify(request)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let out = "";
    for await (const chunk of child.stdout) out += chunk;
    const got = JSON.parse(out) as { ids: number[]; reusedTokens: number };
    assert.deepEqual(got.ids, wanted.ids);
    assert.equal(got.reusedTokens, ids.length);
    const { layers, kvHeads, headSize } = lease.manifest.config;
    assert.equal(bytes, ids.length * (8 + layers * 2 * kvHeads * headSize * 4));
  });

  test("a saved chat that is damaged, of another model or too large to be kept is refused, and nothing is lost", async () => {
    const path = join(folder, "damaged.chat");
    const ids = lease.tokenize("warmth in the hearth");
    await lease.saveChat(path, { ids });
    await using int8 = await engine.lease("smollm2-135m", { kvType: "int8" });
    await assert.rejects(
      int8.restoreChat(path),
      /saved by another model, form or type of KvCache: got smollm2-135m, f32/,
    );
    await using none = await openEngine(home, 0);
    await using small = await none.lease("smollm2-135m");
    await assert.rejects(small.restoreChat(path), /more than smollm2-135m keeps .* give the engine more keptBytes/);
    const bytes = await readFile(path);
    bytes[bytes.length - 5] = (bytes[bytes.length - 5] as number) ^ 1;
    await writeFile(path, bytes);
    await assert.rejects(lease.restoreChat(path), /not as it was written: got other bytes/);
    await writeFile(path, "hello");
    await assert.rejects(lease.restoreChat(path), /not a model file/);
    await assert.rejects(lease.restoreChat(join(folder, "nowhere.chat")), /nowhere/);
    assert.equal((await answerTo(lease, { prompt: { ids }, seed: 1, maxTokens: 2 })).ids.length, 2);
  });

  test("continuations are as likely as when each is scored after the prompt, whatever they have in common", async () => {
    const prompt = "The capital of France is";
    const texts = [" Paris", " Paris.", " London", " Paris, which lies on the Seine", " Paris", " Lyon"];
    const scores = await lease.scoreContinuations({ text: prompt }, texts);
    for (const [i, { ids, logprobs, logprob, meanLogprob }] of scores.entries()) {
      const before = await lease.promptIds({ text: prompt });
      const { nll } = await lease.score([...before, ...ids]);
      const wanted = nll.slice(before.length - 1);
      assert.equal(logprobs.length, ids.length);
      for (const [j, each] of wanted.entries())
        assert.ok(Math.abs(each + (logprobs[j] as number)) < 1e-5, `${i}, ${j}`);
      assert.ok(Math.abs(logprob - logprobs.reduce((a, b) => a + b)) < 1e-12);
      assert.ok(Math.abs(meanLogprob - logprob / ids.length) < 1e-12);
    }
    const best = scores.toSorted((a, b) => b.logprob - a.logprob)[0];
    assert.equal(lease.detokenize(best?.ids ?? []), " Paris");
    await assert.rejects(lease.scoreContinuations({ text: prompt }, [" a", ""]), /continuation 2 has no tokens/);
    await assert.rejects(
      lease.scoreContinuations({ text: prompt }, [Array<number>(9000).fill(5)]),
      /longer than the context of smollm2-135m: got 9,005 tokens, wanted at most 8,192/,
    );
  });

  test("several answers are those of the seeds, the likeliest first", async () => {
    const request = { prompt: { messages: chat }, seed: 20, maxTokens: 10, sampling: { temperature: 1 } };
    const answers = await lease.answers(request, 4);
    assert.deepEqual(answers.map(({ seed }) => seed).sort(), [20, 21, 22, 23]);
    for (const { seed, ids } of answers) assert.deepEqual(ids, await idsOf(lease, { ...request, seed }));
    const means = answers.map(({ meanLogprob }) => meanLogprob);
    assert.deepEqual(
      means,
      means.toSorted((a, b) => b - a),
    );
    await assert.rejects(lease.answers(request, 0), /the number of answers: got 0/);
  });

  test("a beam search finds answers at least as likely as the greedy one", async () => {
    const prompt = { text: "The fire in the hearth" };
    const found = await lease.beams({ prompt, beams: 3, maxTokens: 8, ignoreEos: true });
    assert.equal(found.length, 3);
    const greedy = await answerTo(lease, {
      ...{ prompt, seed: 1, sampling: { temperature: 0 }, maxTokens: 8, ignoreEos: true },
    });
    const [score] = await lease.scoreContinuations(prompt, [greedy.ids]);
    assert.ok((found[0]?.logprob as number) >= (score?.logprob as number) - 1e-4);
    assert.equal(found[0]?.text, lease.detokenize(found[0]?.ids ?? []));
    await assert.rejects(lease.beams({ prompt, beams: 0 }), /the beams of a beam search: got 0/);
  });
});
