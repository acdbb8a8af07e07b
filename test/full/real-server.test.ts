// A server that nobody here wrote (`transformers serve`) answers through the provider what the same weights answer here.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { pythonOf } from "../../bench/python.ts";
import {
  Engine,
  type Generated,
  type Generator,
  type GeneratorRequest,
  localGenerator,
  serverGenerator,
} from "../../src/engine/mod.ts";
import { writeTinyModel } from "../setup/tiny-model.ts";

let folder: string;
let model: string;
let url: string;
let server: ChildProcess;
before(async () => {
  const python = await pythonOf("torch", (text) => console.log(text));
  folder = await mkdtemp(join(tmpdir(), "irori-real-server-"));
  model = writeTinyModel(join(folder, "tiny"));
  const port = await freePort();
  url = `http://127.0.0.1:${port}/v1`;
  const args = ["serve", "--host", "127.0.0.1", "--port", `${port}`, "--device", "cpu"];
  const env = { ...process.env, HF_HUB_OFFLINE: "1" };
  server = spawn(join(dirname(python), "transformers"), args, { env, stdio: "ignore" });
  for (let i = 0; i < 240 && server.exitCode === null; i++) {
    const isThere = await fetch(`http://127.0.0.1:${port}/health`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isThere) return;
    await setTimeout(500);
  }
  assert.fail("the server did not start");
});
after(async () => {
  const ended = once(server, "exit");
  server.kill("SIGKILL");
  await ended;
  await rm(folder, { recursive: true });
});

async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, "close");
  return port;
}

async function answerOf(generator: Generator, request: GeneratorRequest, signal?: AbortSignal): Promise<Generated> {
  for await (const event of generator.generate(request, { signal })) if (event.type === "end") return event;
  return assert.fail("no end");
}

test("greedy answers to a chat are those of the same weights here; a stop, a limit and a cancel hold", async () => {
  const now = () => performance.now();
  await using engine = await Engine.open({ home: folder, threads: 2, spinning: false, now, budgetBytes: () => 8e9 });
  await using here = localGenerator(engine, `file:${model}`, { form: "f32" });
  await using there = serverGenerator({ url, model });
  for (const content of ["the hat", "in the thin hen", "007"]) {
    const prompt = { messages: [{ role: "user", content }] };
    const request = { prompt, seed: 1, maxTokens: 24, sampling: { temperature: 0 } };
    const [wanted, got] = [await answerOf(here, request), await answerOf(there, request)];
    assert.equal(got.text, wanted.text, content);
    assert.deepEqual([got.tokens, got.promptTokens, got.stop], [wanted.tokens, wanted.promptTokens, wanted.stop]);
  }
  const control = new AbortController();
  const prompt = { messages: [{ role: "user", content: "the hat" }] };
  const long = answerOf(there, { prompt, seed: 1, maxTokens: 2000, sampling: { temperature: 0 } }, control.signal);
  await setTimeout(300);
  control.abort();
  assert.equal((await long).stop, "cancelled");
});

test("a model that it does not have is its own sentence", async () => {
  await using there = serverGenerator({ url, model: join(folder, "nowhere"), retries: 0 });
  await assert.rejects(
    answerOf(there, { prompt: { messages: [{ role: "user", content: "a" }] }, seed: 1 }),
    /#.*nowhere: status \d+/,
  );
});
