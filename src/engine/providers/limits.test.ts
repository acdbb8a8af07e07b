// What providers may not wait for, nor believe: a caller who leaves while a model opens, a server that never ends, and a reader who
// takes his time, which is not the server's silence.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { LeaseOptions } from "../engine.ts";
import type { Lease } from "../lease.ts";
import type { GeneratorEvent } from "./generator.ts";
import { localEmbedder, localGenerator } from "./local.ts";
import { serverGenerator } from "./server-generator.ts";

const ask = { prompt: { messages: [{ role: "user", content: "x" }] }, seed: 3 };
const piece = (content: string, finish_reason: string | null = null) =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason }] })}\n\n`;

async function served(answer: (response: ServerResponse) => Promise<void>) {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    void answer(response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    [Symbol.dispose]: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

test("a server that goes on beyond the longest answer is left, and named", async () => {
  let isOpen = true;
  using server = await served(async (response) => {
    response.once("close", () => {
      isOpen = false;
    });
    while (isOpen) {
      response.write(piece("word "));
      await wait(1);
    }
  });
  const generator = serverGenerator({ url: server.url, model: "m", retries: 0 });
  let tokens = 0;
  const reading = async () => {
    for await (const { type } of generator.generate({ ...ask, maxTokens: 4 })) if (type === "token") tokens++;
  };
  await assert.rejects(reading(), {
    code: "library",
    message: /#m: its answer goes on and on: got 11 pieces, wanted at most 4/,
  });
  assert.ok(tokens <= 11, `${tokens}`);
  while (isOpen) await wait(1);
});

test("a reader who takes longer than a server may be silent gets the whole answer", async () => {
  using server = await served(async (response) => {
    for (let i = 0; i < 4; i++) response.write(piece("a"));
    await wait(20);
    response.end(`${piece("b", "stop")}data: [DONE]\n\n`);
  });
  const generator = serverGenerator({ url: server.url, model: "m", idleMs: 1_000, retries: 0 });
  let end: GeneratorEvent | undefined;
  for await (const event of generator.generate(ask)) {
    if (end === undefined) await wait(1_500);
    end = event;
  }
  assert.ok(end?.type === "end");
  assert.deepEqual([end.text, end.stop], ["aaaab", "stop"]);
});

test("who leaves while a model opens waits no longer; the opening ends with the last who leaves, and begins anew with the next", async () => {
  const openings: AbortSignal[] = [];
  const engine = {
    lease: (_: string, { signal }: LeaseOptions = {}) => {
      openings.push(signal as AbortSignal);
      return new Promise<Lease>((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
    },
  };
  await using generator = localGenerator(engine, "m");
  const [first, second] = [new AbortController(), new AbortController()];
  const endOf = async ({ signal }: AbortController) => {
    for await (const event of generator.generate(ask, { signal })) if (event.type === "end") return event.stop;
    return "no end";
  };
  const [one, two] = [endOf(first), endOf(second)];
  await wait(1);
  first.abort();
  assert.equal(await one, "cancelled");
  assert.deepEqual([openings.length, openings[0]?.aborted], [1, false]);
  second.abort();
  assert.equal(await two, "cancelled");
  assert.equal(openings[0]?.aborted, true);
  const embedder = localEmbedder(engine, "m");
  await assert.rejects(embedder.embed(["a"], { signal: AbortSignal.timeout(5) }), { code: "cancelled" });
  const third = new AbortController();
  const again = endOf(third);
  await wait(1);
  third.abort();
  assert.equal(await again, "cancelled");
  assert.equal(openings.length, 3);
});
