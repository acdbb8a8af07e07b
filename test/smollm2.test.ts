// The real model against its goldens (transformers on the dequantised weights): greedy, top logits, likelihoods.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { KvCache, kvCacheBytes } from "../src/engine/kv-cache.ts";
import type { Candidates } from "../src/engine/logits.ts";
import { Engine, type Form, GREEDY, type Lease, type LeaseOptions } from "../src/engine/mod.ts";
import { Runtime } from "../src/runtime/mod.ts";
import { openResident, rowOf } from "./setup/resident.ts";
import { smollm2 } from "./setup/smollm2.ts";

interface Golden {
  readonly texts: readonly {
    text: string;
    ids: number[];
    last_top8_ids: number[];
    last_top8_logits: number[];
    mean_nll: number;
    greedy32: number[];
    greedy_min_margin: number;
  }[];
  readonly chats: readonly {
    messages: { role: string; content: string }[];
    rendered: string;
    ids: number[];
    greedy48: number[];
    greedy_text: string;
    greedy_min_margin: number;
  }[];
  readonly long_text: { tokens: number; mean_nll: number; argmax: number[] };
}
const read = (name: string) => readFile(new URL(`goldens/real/${name}`, import.meta.url), "utf8");
const golden = JSON.parse(await read("smollm2-135m-q4_1.json")) as Golden;

let engine: Engine;
before(async () => {
  engine = await Engine.open({
    home: (await smollm2()).home,
    threads: 2,
    spinning: false,
    budgetBytes: () => 8e9,
    now: () => performance.now(),
  });
});
after(() => engine[Symbol.asyncDispose]());

async function greedy(lease: Lease, ids: readonly number[], maxTokens: number): Promise<readonly number[]> {
  for await (const event of lease.generate({ prompt: { ids }, seed: 0, sampling: GREEDY, maxTokens }))
    if (event.type === "end") return event.ids;
  return assert.fail("no end");
}

async function longText(form: Form) {
  const lease = await engine.lease("smollm2-135m", { form });
  const { tokens, mean_nll, argmax } = golden.long_text;
  const ids = lease.tokenize(await read("long-text.txt")).slice(0, tokens);
  const score = await lease.score(ids);
  const same = score.argmax.filter((id, i) => id === argmax[i]).length / argmax.length;
  return { score, same, error: Math.abs(score.meanNll / mean_nll - 1) };
}

describe("float32", () => {
  test("greedy continuations of texts equal the golden ones; one may part at a margin below 0.01", async () => {
    const lease = await engine.lease("smollm2-135m", { form: "f32" });
    for (const { text, ids, greedy32, greedy_min_margin } of golden.texts) {
      assert.deepEqual(await lease.promptIds({ text, control: true }), ids);
      const got = await greedy(lease, ids, greedy32.length);
      if (greedy_min_margin >= 0.01) assert.deepEqual(got, greedy32, text);
    }
  });

  test("chats render, tokenise and continue as the golden ones", async () => {
    const lease = await engine.lease("smollm2-135m", { form: "f32" });
    for (const chat of golden.chats) {
      assert.equal(await lease.renderChat(chat.messages), chat.rendered);
      assert.deepEqual(await lease.promptIds({ messages: chat.messages }), chat.ids);
      const got = await greedy(lease, chat.ids, chat.greedy48.length);
      if (chat.greedy_min_margin >= 0.01) assert.deepEqual(got, chat.greedy48);
      if (chat.greedy_min_margin >= 0.01) assert.equal(lease.detokenize(got, { control: true }), chat.greedy_text);
    }
  });

  test("the top 8 logits are within 1e-3, and each text's mean likelihood within 1e-4", async () => {
    const stored = await engine.pull("smollm2-135m");
    await using runtime = await Runtime.open({ threads: 2, spinning: false });
    await using resident = await openResident(await engine.prepare(stored, "f32"), runtime);
    for (const { ids, last_top8_ids, last_top8_logits } of golden.texts) {
      using row = rowOf(resident, ids.length);
      const candidates = (await row.feed(ids)) as Candidates;
      assert.deepEqual(candidates.ids.slice(0, 8), last_top8_ids);
      last_top8_logits.forEach((logit, i) => {
        assert.ok(
          Math.abs((candidates.logits[i] as number) - logit) <= 1e-3 * Math.abs(logit),
          `${candidates.logits[i]} for ${logit}`,
        );
      });
    }
    const lease = await engine.lease("smollm2-135m", { form: "f32" });
    for (const { ids, mean_nll } of golden.texts)
      assert.ok(Math.abs((await lease.score(ids)).meanNll / mean_nll - 1) < 1e-4);
  });

  test("the long text: mean likelihood within 1e-4, the same argmax at 99.5 % of positions", async (t) => {
    const { error, same, score } = await longText("f32");
    t.diagnostic(
      `mean NLL ${score.meanNll}, relative error ${error.toExponential(1)}, same argmax ${(100 * same).toFixed(2)} %`,
    );
    assert.ok(error < 1e-4 && same >= 0.995);
  });
});

describe("the serving form", () => {
  test("the long text: mean likelihood within 1 %, the same argmax at 95 % of positions", async (t) => {
    const { error, same, score } = await longText("blocks");
    t.diagnostic(
      `mean NLL ${score.meanNll}, relative error ${error.toExponential(1)}, same argmax ${(100 * same).toFixed(2)} %`,
    );
    assert.ok(error < 0.01 && same >= 0.95);
  });

  for (const [what, options] of [
    ["a KvCache of 8-bit integers", { kvType: "int8" }],
    ["linear layers in 8-bit integers", { form: "int8" }],
  ] as const satisfies readonly (readonly [string, LeaseOptions])[])
    test(`${what}: perplexity of the long text within 0.5 %`, async (t) => {
      const { ids, meanNll } = (await longText("blocks")).score;
      await using lease = await engine.lease("smollm2-135m", options);
      const change = Math.exp((await lease.score(ids)).meanNll - meanNll) - 1;
      t.diagnostic(`perplexity ${(100 * change).toFixed(3)} %`);
      assert.ok(change < 0.005);
    });

  test("a KvCache of 8-bit integers takes at most 0.27 of the memory", async () => {
    const { config } = (await engine.lease("smollm2-135m")).manifest;
    assert.ok(kvCacheBytes(config, 4096, "int8") <= 0.27 * kvCacheBytes(config, 4096));
    using cache = new KvCache(config, 4096, "int8");
    assert.equal(cache.untouchedBytes, kvCacheBytes(config, 4096, "int8"));
  });
});
