// What must hold of a running model, on the real one: the serving form bit for bit, float32 within 1e-4.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { KvCache } from "../src/engine/kv-cache.ts";
import { Engine, type Form, GREEDY, type Lease } from "../src/engine/mod.ts";
import type { Step } from "../src/engine/programs.ts";
import { Resident } from "../src/engine/resident.ts";
import { Row, StepResults } from "../src/engine/row.ts";
import { StepBinding } from "../src/engine/step-binding.ts";
import { Runtime, Tensor } from "../src/runtime/mod.ts";
import { relativeError } from "./evaluate.ts";
import { smollm2 } from "./setup/smollm2.ts";

const TEXT =
  "The hearth stood in the middle of the house. People sat around it, talked, and remembered what the winter had been like when they were children; 1234 of them.";
/** Room for the tokens of these tests. */
const CONTEXT = 64;

for (const form of ["blocks", "f32"] as const satisfies readonly Form[])
  describe(`the ${form} form of a real model`, () => {
    let home: string;
    let engine: Engine;
    let runtime: Runtime;
    let resident: Resident;
    let step: Step;
    let ids: number[];
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
      const folder = await engine.prepare(stored, form);
      runtime = await Runtime.open({ threads: 2, spinning: false });
      resident = await Resident.open({
        model: stored.name,
        folder,
        runtime: async () => runtime,
        now: () => 0,
        onEvent: () => undefined,
      });
      step = await resident.step();
      ids = resident.tokenizer.encode(TEXT).slice(0, 48);
    });
    after(async () => {
      await resident[Symbol.asyncDispose]();
      await engine[Symbol.asyncDispose]();
      await runtime[Symbol.asyncDispose]();
    });

    /** Logits of every position, the tokens fed in runs of the given sizes, over and over. */
    async function logits(of: Step, sizes: readonly number[]): Promise<Float32Array> {
      const { vocabSize } = resident.manifest.config;
      using cache = new KvCache(resident.manifest.config, CONTEXT);
      using row = new Row(of, cache, vocabSize);
      const all = new Float32Array(ids.length * vocabSize);
      for (let at = 0, i = 0; at < ids.length; i++) {
        const chunk = ids.slice(at, at + (sizes[i % sizes.length] as number));
        all.set((await row.scores(chunk)).logits, at * vocabSize);
        at += chunk.length;
      }
      return all;
    }
    const bytesOf = (x: Float32Array): Buffer => Buffer.from(x.buffer, x.byteOffset, x.byteLength);
    const assertEqual = (got: Float32Array, wanted: Float32Array, what: string): void => {
      if (form === "blocks")
        assert.ok(
          bytesOf(got).equals(bytesOf(wanted)),
          `${what}: other bits, relative error ${relativeError(got, wanted)}`,
        );
      else assert.ok(relativeError(got, wanted) < 1e-4, `${what}: ${relativeError(got, wanted)}`);
    };

    test("one token at a time, chunks of any size and all at once give the same logits at every position", async () => {
      const whole = await logits(step, [ids.length]);
      for (const sizes of [[1], [16], [5, 1, 17]]) assertEqual(await logits(step, sizes), whole, `runs of ${sizes}`);
    });

    test("rows of one batch equal the same rows one by one, in prefill and decode", async () => {
      const { config } = resident.manifest;
      const pair = await resident.step(2);
      using caches = new DisposableStack();
      const [a, b] = [caches.use(new KvCache(config, CONTEXT)), caches.use(new KvCache(config, CONTEXT / 2))];
      const alone = [new KvCache(config, CONTEXT), new KvCache(config, CONTEXT / 2)].map((cache) => {
        caches.use(cache);
        return caches.use(new Row(step, cache, config.vocabSize));
      });
      const [first, second] = [ids.slice(0, 13), ids.slice(20, 25)];
      for (const [x, y] of [
        [first, second],
        [[7], [9]],
        [[11], ids.slice(30, 34)],
      ] as [number[], number[]][]) {
        const together = await runPair(pair, [a, b], [x, y]);
        for (const [i, tokens] of [x, y].entries()) {
          const one = await (alone[i] as Row).step(tokens, 0);
          assertEqual(
            together.subarray(i * config.vocabSize, (i + 1) * config.vocabSize),
            Float32Array.from(one.all),
            `row ${i}`,
          );
        }
      }
    });

    /** Logits [2, V] after each row's last token. */
    async function runPair(pair: Step, caches: readonly KvCache[], rows: readonly number[][]): Promise<Float32Array> {
      const inputs: Record<string, Tensor> = {};
      const outputs: Record<string, Tensor> = {};
      let end = 0;
      const wanted = rows.map((row) => {
        end += row.length;
        return BigInt(end - 1);
      });
      for (const [r, cache] of caches.entries()) {
        const row = rows[r] as number[];
        cache.makeRoom(row.length);
        const ports = cache.ports(r);
        Object.assign(inputs, ports.inputs, {
          [`ids.${r}`]: Tensor.of("int64", [row.length], BigInt64Array.from(row, BigInt)),
        });
        Object.assign(outputs, ports.outputs);
      }
      const { vocabSize } = resident.manifest.config;
      using results = new StepResults(2, vocabSize);
      results.wanted.data.set(wanted);
      results.inverseTemperature.data.fill(1);
      const tensors = { ...inputs, ...outputs, ...results.inputs, ...results.outputs };
      using binding = new StepBinding(pair, tensors, { tokens: end, positions: 2 });
      await binding.run(undefined);
      for (const [r, cache] of caches.entries()) cache.added((rows[r] as number[]).length);
      return Float32Array.from(rows.flatMap((_, r) => Array.from(results.candidates(r).all)));
    }

    test("a model opened again gives the same logits", async () => {
      const again = await Resident.open({
        model: "again",
        folder: engine.store.preparedFolder(await engine.pull("smollm2-135m"), form),
        runtime: async () => runtime,
        now: () => 0,
        onEvent: () => undefined,
      });
      const other = await logits(await again.step(), [ids.length]);
      await again[Symbol.asyncDispose]();
      assertEqual(other, await logits(step, [ids.length]), "reopened");
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
