// Batch work that goes to other servers: who gets it, what happens when they fail, are full or are left, with stand-ins and a real
// second Irori.
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { remotesOf, type ServerOptions, startServer } from "../src/serve/mod.ts";
import { ScriptedHost } from "./setup/scripted-host.ts";

type Mischief = "cut" | "full" | "broken" | "bad" | "hang" | undefined;
/** A server that answers a word a step, in OpenAI's shapes, and misbehaves when told to. */
async function standin(stepMs = 0) {
  const it = { mischief: undefined as Mischief, isDown: false, asked: 0, running: 0, most: 0, left: 0 };
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    if (it.isDown) return void request.socket.destroy();
    if (request.url === "/v1/models") return void response.end(JSON.stringify({ data: [{ id: "big-one" }] }));
    it.asked++;
    it.most = Math.max(it.most, ++it.running);
    response.on("close", () => {
      it.running--;
      if (!response.writableFinished) it.left++;
    });
    let text = "";
    for await (const piece of request) text += piece;
    const body = JSON.parse(text);
    assert.equal(body.model, "big-one");
    const refuse = { full: 429, broken: 500, bad: 400 }[it.mischief as string];
    if (refuse) return void response.writeHead(refuse).end(JSON.stringify({ error: { message: "as told" } }));
    const send = (value: unknown) => response.write(`data: ${JSON.stringify(value)}\n\n`);
    for (let i = 0; i < body.max_tokens && !response.closed; i++) {
      await wait(stepMs);
      send({ choices: [{ index: 0, delta: { content: `r${i} ` }, finish_reason: null }] });
      if (it.mischief === "cut" && i === 1) return void response.destroy();
      if (it.mischief === "hang" && i === 1) return;
    }
    send({ choices: [{ index: 0, delta: {}, finish_reason: "length" }] });
    send({ choices: [], usage: { prompt_tokens: 7, completion_tokens: body.max_tokens } });
    response.end("data: [DONE]\n\n");
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  return Object.assign(it, {
    url,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

async function serve(urls: readonly string[], inFlight: number, options: Partial<ServerOptions> = {}, stepMs = 1) {
  const host = new ScriptedHost({ stepMs });
  const settings = Object.fromEntries(urls.map((url, i) => [`r${i}`, { url, models: { one: "big-one" }, inFlight }]));
  const changes: string[] = [];
  const server = await startServer({
    ...{ host, models: ["one"], port: 0, version: "0", remotes: remotesOf(settings, () => undefined) },
    ...{ lanes: { slots: 2, reserved: { interactive: 1, batch: 1 } } },
    onRemote: (name, isWell) => void changes.push(`${name} ${isWell}`),
    ...options,
  });
  const chat = (more: object = {}, signal: AbortSignal | null = null) =>
    fetch(`${server.url}/v1/chat/completions`, {
      ...{ method: "POST", signal },
      body: JSON.stringify({
        messages: [{ role: "user", content: "Hi" }],
        max_tokens: 4,
        lane: "batch",
        seed: 1,
        ...more,
      }),
    });
  const remotes = () => server.serving.remotes.state();
  await until(() => remotes().every(({ is_well }) => is_well), "remotes are not well");
  return { host, server, chat, remotes, changes, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}
async function until(is: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (is()) return;
    await wait(5);
  }
  assert.fail(what);
}
interface Told {
  readonly choices: readonly { readonly message: { readonly content: string } }[];
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
  readonly irori: { readonly remote?: string };
}
const told = async (asked: Promise<Response>): Promise<Told> => {
  const response = await asked;
  assert.equal(response.status, 200);
  return (await response.json()) as Told;
};

test("batch goes to the other server with its tokens counted; interactive, tools and JSON stay here", async () => {
  await using other = await standin();
  await using it = await serve([other.url], 4);
  const answer = await told(it.chat());
  assert.equal(answer.choices[0]?.message.content, "r0 r1 r2 r3 ");
  assert.equal(answer.irori.remote, "r0");
  assert.deepEqual([answer.usage.prompt_tokens, answer.usage.completion_tokens], [7, 4]);
  const streamed = await (await it.chat({ stream: true })).text();
  assert.match(streamed, /r3 [\s\S]*data: \[DONE\]\n\n$/);
  assert.equal(it.host.started, 0);
  for (const more of [{ lane: "interactive" }, { response_format: { type: "json_object" } }, { logprobs: true }])
    assert.equal((await told(it.chat(more))).irori.remote, undefined);
  assert.equal(other.asked, 2);
  const metrics = await (await fetch(`${it.server.url}/metrics`)).text();
  assert.match(metrics, /irori_remote_requests_total\{remote="r0",outcome="answered"\} 2/);
  assert.match(metrics, /irori_remote_up\{remote="r0"\} 1/);
  assert.match(metrics, /irori_generation_tokens_total\{lane="batch"\} 1[26]/);
});

test("no server gets more at once than it may have, the rest runs in the batch lane's own slots, and all are answered", async () => {
  await using a = await standin(5);
  await using b = await standin(5);
  await using it = await serve([a.url, b.url], 3, {}, 5);
  let most = 0;
  const watching = setInterval(() => {
    most = Math.max(most, it.host.running);
  }, 1);
  const answers = await Promise.all(Array.from({ length: 40 }, () => told(it.chat())));
  clearInterval(watching);
  assert.ok(a.most === 3 && b.most === 3, `${a.most} and ${b.most}`);
  assert.ok(most <= 2, `${most} of 2 slots`);
  const byPlace = Map.groupBy(answers, ({ irori }) => irori.remote ?? "here");
  for (const place of ["r0", "r1", "here"]) assert.ok((byPlace.get(place)?.length ?? 0) >= 3, place);
  assert.deepEqual(
    it.remotes().map(({ in_flight }) => in_flight),
    [0, 0],
  );
  assert.equal(it.server.serving.lanes.state().free, 2);
});

for (const mischief of ["cut", "broken"] as const)
  test(`a server that fails (${mischief}) is taken over from the beginning within the slots, gets no more work, and is asked again`, async () => {
    await using other = await standin();
    await using it = await serve([other.url], 8);
    other.mischief = mischief;
    let most = 0;
    const watching = setInterval(() => {
      most = Math.max(most, it.host.running);
    }, 1);
    const texts = await Promise.all(Array.from({ length: 8 }, () => it.chat({ stream: true }).then((r) => r.text())));
    clearInterval(watching);
    for (const text of texts) assert.doesNotMatch(text, /r0/, "nothing of what broke off is told");
    for (const text of texts) assert.match(text, /w0[\s\S]*w3[\s\S]*\[DONE\]/);
    assert.ok(most <= 2, `${most} of 2 slots`);
    assert.deepEqual(it.changes, ["r0 true", "r0 false"]);
    const before = other.asked;
    await told(it.chat());
    assert.equal(other.asked, before);
  });

test("one that is full is left alone for a while and bears less; one that calls the request bad is well all the same", async () => {
  await using other = await standin();
  await using it = await serve([other.url], 4);
  other.mischief = "full";
  assert.equal((await told(it.chat())).irori.remote, undefined);
  assert.deepEqual([it.remotes()[0]?.most, it.remotes()[0]?.is_well], [1, true]);
  other.mischief = "bad";
  await wait(2100);
  assert.equal((await told(it.chat())).irori.remote, undefined);
  assert.equal(it.remotes()[0]?.is_well, true);
  other.mischief = undefined;
  for (let i = 0; i < 16; i++) assert.equal((await told(it.chat())).irori.remote, "r0");
  assert.equal(it.remotes()[0]?.most, 3);
});

test("a caller who leaves, or a job that is cancelled, ends the work there", async () => {
  await using other = await standin(10);
  await using it = await serve([other.url], 2);
  const leaving = new AbortController();
  const asked = it.chat({ stream: true, max_tokens: 5000 }, leaving.signal).then((r) => r.text());
  asked.catch(() => undefined);
  await until(() => other.running === 1, "it is not asked");
  leaving.abort();
  await until(() => other.left === 1 && other.running === 0, "it still runs there");
  const body = { messages: [{ role: "user", content: "Hi" }], max_tokens: 5000 };
  const submitted = await fetch(`${it.server.url}/irori/jobs`, {
    ...{ method: "POST", body: JSON.stringify({ url: "/v1/chat/completions", body }) },
  });
  const { id } = (await submitted.json()) as { id: string };
  await until(() => other.running === 1, "the job is not there");
  await fetch(`${it.server.url}/irori/jobs/${id}/cancel`, { method: "POST" });
  await until(() => other.left === 2 && other.running === 0, "it still runs there");
  assert.equal(it.remotes()[0]?.in_flight, 0);
  assert.equal(it.remotes()[0]?.is_well, true, "leaving says nothing of it");
});

test("a real second Irori takes the batch lane of the first, in its own batch lane", async () => {
  const host = new ScriptedHost();
  await using second = await startServer({ host, models: ["big-one"], port: 0, version: "0" });
  await using it = await serve([`${second.url}/v1`], 4);
  const answers = await Promise.all(Array.from({ length: 6 }, () => told(it.chat())));
  assert.ok(answers.some(({ irori }) => irori.remote === "r0"));
  assert.equal(answers[0]?.choices[0]?.message.content, "w0 w1 w2 w3 ");
  assert.equal(host.started + it.host.started, 6);
  assert.ok(host.started >= 4);
});

test("a key that is missing, an address that is none and an unknown name are refused with their names", async () => {
  const { readSettings } = await import("../src/machine.ts");
  const url = "http://127.0.0.1:1/v1";
  const models = { one: "big-one" };
  assert.throws(() => remotesOf({ gpu: { url, models, keyVariable: "NOT_SET" } }, () => undefined), /gpu.*NOT_SET/);
  const set = (value: object) =>
    readSettings({ flags: [{ key: "remotes", value: JSON.stringify(value), from: "test" }] });
  assert.equal(set({ gpu: { url, models } }).settings.remotes.gpu?.url, url);
  assert.throws(() => set({ gpu: { url: "nowhere", models } }), /remotes.*gpu\.url/);
  assert.throws(() => set({ gpu: { url, models, inflight: 3 } }), /perhaps inFlight is meant/);
  assert.throws(() => set({ gpu: { url, models: {} } }), /gpu\.models/);
});
