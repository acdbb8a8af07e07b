// What must hold of a running model, on the real one: the serving form bit for bit, float32 within 1e-4.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { KvType } from "../src/engine/kv-cache.ts";
import { Engine, GREEDY, type Lease, type LeaseForm } from "../src/engine/mod.ts";
import type { Resident } from "../src/engine/resident.ts";
import { Runtime } from "../src/runtime/mod.ts";
import { relativeError } from "./evaluate.ts";
import { logitsOf, openResident, rowOf } from "./setup/resident.ts";
import { smollm2 } from "./setup/smollm2.ts";

const TEXT =
  "The hearth stood in the middle of the house. People sat around it, talked, and remembered what the winter had been like when they were children; 1234 of them.";
/** Room for the tokens of these tests. */
const CONTEXT = 64;

for (const [form, kvType] of [
  ["blocks", "f32"],
  ["blocks", "int8"],
  ["int8", "f32"],
  ["f32", "f32"],
] as const satisfies readonly (readonly [LeaseForm, KvType])[])
  describe(`the ${form} form of a real model over a KvCache of ${kvType}`, () => {
    let home: string;
    let engine: Engine;
    let runtime: Runtime;
    let resident: Resident;
    let ids: number[];
    let folder: string;
    const kernels = form === "int8" ? "int8" : "own";
    before(async () => {
      ({ home } = await smollm2());
      engine = await Engine.open({
        home,
        threads: 2,
        spinning: false,
        budgetBytes: () => 8e9,
        now: () => performance.now(),
      });
      const stored = await engine.pull("smollm2-135m");
      folder = await engine.prepare(stored, form === "int8" ? "blocks" : form);
      runtime = await Runtime.open({ threads: 2, spinning: false });
      resident = await openResident(folder, runtime, { kernels, kvType });
      ids = resident.tokenizer.encode(TEXT).slice(0, 48);
    });
    after(async () => {
      await resident[Symbol.asyncDispose]();
      await engine[Symbol.asyncDispose]();
      await runtime[Symbol.asyncDispose]();
    });

    const bytesOf = (x: Float32Array): Buffer => Buffer.from(x.buffer, x.byteOffset, x.byteLength);
    const assertEqual = (got: Float32Array, wanted: Float32Array, what: string): void => {
      if (form !== "f32")
        assert.ok(
          bytesOf(got).equals(bytesOf(wanted)),
          `${what}: other bits, relative error ${relativeError(got, wanted)}`,
        );
      else assert.ok(relativeError(got, wanted) < 1e-4, `${what}: ${relativeError(got, wanted)}`);
    };

    test("one token at a time, chunks of any size and all at once give the same logits at every position", async () => {
      const whole = await logitsOf(resident, ids, [ids.length]);
      for (const sizes of [[1], [16], [5, 1, 17]])
        assertEqual(await logitsOf(resident, ids, sizes), whole, `runs of ${sizes}`);
    });

    test("rows of one batch equal the same rows one by one, whoever else is in it", async () => {
      const texts = Array.from({ length: 7 }, (_, r) => ids.slice(3 * r, 3 * r + 5 + r));
      const next = (r: number, i: number): number => ids[(11 * r + 7 * i) % ids.length] as number;
      /** Logits behind each of five more tokens, of row r. */
      const go = async (r: number): Promise<Float32Array[]> => {
        using row = rowOf(resident, CONTEXT);
        await row.feed(texts[r] as number[]);
        const all: Float32Array[] = [];
        for (let i = 0; i < 5; i++) all.push(Float32Array.from((await row.feed([next(r, i)]))?.all ?? []));
        return all;
      };
      await resident.batcher.open(8);
      const alone: Float32Array[][] = [];
      for (const r of texts.keys()) alone.push(await go(r));
      const together = await Promise.all(texts.map((_, r) => go(r)));
      for (const [r, rows] of together.entries())
        for (const [i, got] of rows.entries()) assertEqual(got, alone[r]?.[i] as Float32Array, `row ${r}, token ${i}`);
    });

    test("a model opened again gives the same logits", async () => {
      await using again = await openResident(folder, runtime, { kernels, kvType });
      const wanted = await logitsOf(resident, ids, [ids.length]);
      assertEqual(await logitsOf(again, ids, [ids.length]), wanted, "reopened");
    });
  });

describe("an answer", () => {
  let engine: Engine;
  let lease: Lease;
  before(async () => {
    engine = await Engine.open({
      home: (await smollm2()).home,
      threads: 2,
      spinning: false,
      budgetBytes: () => 8e9,
      now: () => performance.now(),
    });
    lease = await engine.lease("smollm2-135m");
  });
  after(() => engine[Symbol.asyncDispose]());

  test("streams: its first piece arrives before half of its tokens exist", async () => {
    let tokens = 0;
    let atFirstPiece: number | undefined;
    for await (const event of lease.generate({
      prompt: { messages: [{ role: "user", content: "Count to twenty." }] },
      seed: 1,
      sampling: GREEDY,
      maxTokens: 40,
    })) {
      if (event.type !== "token") continue;
      tokens++;
      if (event.text !== "") atFirstPiece ??= tokens;
    }
    assert.ok(tokens >= 20);
    assert.ok((atFirstPiece as number) <= 2, `first piece with token ${atFirstPiece} of ${tokens}`);
  });

  test("pieces put together are the text, and ids decode to it", async () => {
    let pieces = "";
    for await (const event of lease.generate({
      prompt: { text: "囲炉裏は" },
      seed: 5,
      sampling: { temperature: 1.2 },
      maxTokens: 60,
      ignoreEos: true,
    })) {
      if (event.type === "token") pieces += event.text;
      if (event.type !== "end") continue;
      assert.ok(event.text.startsWith(pieces));
      assert.equal(event.ids.length, 60);
      assert.equal(event.text, lease.detokenize(event.ids));
      assert.equal(event.stop, "length");
    }
  });

  test("cancelling ends it within a step, with the tokens so far", async () => {
    const control = new AbortController();
    let tokens = 0;
    for await (const event of lease.generate(
      { prompt: { text: "Once upon a time" }, seed: 1, sampling: GREEDY, maxTokens: 500, ignoreEos: true },
      { signal: control.signal },
    )) {
      if (event.type === "token" && ++tokens === 3) control.abort();
      if (event.type === "end") {
        assert.equal(event.stop, "cancelled");
        assert.equal(event.ids.length, 3);
      }
    }
    assert.equal(tokens, 3);
    for await (const event of lease.generate({
      prompt: { text: "Once upon a time" },
      seed: 1,
      sampling: GREEDY,
      maxTokens: 2,
    }))
      if (event.type === "end") assert.equal(event.ids.length, 2);
  });

  test("a stop text ends it and is not part of it, also across token borders", async () => {
    const whole = await answer({ text: "1, 2, 3, 4," }, 30);
    const stop = whole.text.slice(7, 12);
    const cut = await answer({ text: "1, 2, 3, 4," }, 30, [stop]);
    assert.equal(cut.text, whole.text.slice(0, whole.text.indexOf(stop)));
    assert.equal(cut.stop, "stop");
  });

  test("two at once do not disturb each other", async () => {
    const [a, b] = [{ text: "The sea is" }, { text: "A mountain is" }];
    const alone = [await answer(a, 12), await answer(b, 12)];
    const together = await Promise.all([answer(a, 12), answer(b, 12)]);
    assert.deepEqual(
      together.map((each) => each.ids),
      alone.map((each) => each.ids),
    );
  });

  test("any number of callers cause one load", async () => {
    const opened: string[] = [];
    await using many = await Engine.open({
      home: (await smollm2()).home,
      threads: 2,
      spinning: false,
      budgetBytes: () => 8e9,
      now: () => 0,
      onEvent: (event) => opened.push(event.type),
    });
    const leases = await Promise.all(Array.from({ length: 8 }, () => many.lease("smollm2-135m")));
    await Promise.all(leases.map((each) => each.warm()));
    assert.deepEqual(opened.sort(), ["compile", "open"]);
  });

  test("a prompt beyond the context and a plan beyond the budget are refused with numbers", async () => {
    await assert.rejects(
      answer({ ids: Array<number>(9000).fill(5) }, 1),
      /longer than the context of smollm2-135m: got 9,000 tokens, wanted at most 8,191/,
    );
    await using small = await Engine.open({
      home: (await smollm2()).home,
      threads: 2,
      spinning: false,
      budgetBytes: () => 150e6,
      now: () => 0,
    });
    const poor = await small.lease("smollm2-135m", { warm: false });
    const refused = async () => {
      for await (const _ of poor.generate({ prompt: { text: "Hi" }, seed: 1, maxTokens: 8000 })) assert.fail("it ran");
    };
    await assert.rejects(refused, (error: Error & { code: string }) => {
      assert.equal(error.code, "no-room");
      assert.match(
        error.message,
        /needs \d+ MB \(weights .* \(mapped\), KvCache of 8,00\d tokens \d+ MB, scratch .*\): got a budget of 150 MB; [\d,]+ tokens would fit/,
      );
      return true;
    });
  });

  test("the same seed gives the same bytes in another process", async () => {
    const script = fileURLToPath(new URL("setup/answer-once.ts", import.meta.url));
    const { home } = await smollm2();
    const run = () =>
      new Promise<string>((resolve, reject) => {
        const child = spawn(process.execPath, [script, home], { stdio: ["ignore", "pipe", "inherit"] });
        let out = "";
        child.stdout.on("data", (chunk) => (out += chunk));
        child
          .on("error", reject)
          .on("close", (code) => (code === 0 ? resolve(out) : reject(new Error(`exit ${code}`))));
      });
    const [first, second] = [await run(), await run()];
    assert.ok(first.length > 100);
    assert.equal(second, first);
  });

  async function answer(
    prompt: Parameters<Lease["generate"]>[0]["prompt"],
    maxTokens: number,
    stop: readonly string[] = [],
  ) {
    for await (const event of lease.generate({ prompt, seed: 1, sampling: GREEDY, maxTokens, stop, ignoreEos: true }))
      if (event.type === "end") return event;
    return assert.fail("no end");
  }
});
