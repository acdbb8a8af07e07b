// The server over a scripted engine: loads, lanes, refusals and streams. Numbers of checks: reference/serving-alt.md §7.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { Ollama } from "ollama";
import { type ServerOptions, startServer } from "../src/serve/mod.ts";
import { type Script, ScriptedHost } from "./setup/scripted-host.ts";

async function serve(script: Script = {}, options: Partial<ServerOptions> = {}) {
  const host = new ScriptedHost(script);
  const server = await startServer({ host, models: ["one"], port: 0, version: "0", ...options });
  const post = (path: string, body: object, init: RequestInit = {}) =>
    fetch(server.url + path, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "content-type": "application/json" },
      ...init,
    });
  const chat = (more: object = {}, init: RequestInit = {}) =>
    post(
      "/v1/chat/completions",
      { model: "one", messages: [{ role: "user", content: "Hi" }], max_tokens: 3, ...more },
      init,
    );
  const lanes = () => server.serving.lanes.state();
  return { host, server, post, chat, lanes, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}
async function until(is: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (is()) return;
    await wait(5);
  }
  assert.fail(what);
}
const words = (count: number) => Array.from({ length: count }, () => "word").join(" ");

test("checks 1, 2: 200 requests of 300 and 7,000 tokens with mixed options: one load, and the answers say what was ignored", async () => {
  await using it = await serve();
  for (let i = 0; i < 200; i++) {
    const options = { num_ctx: [8192, 12_288, 16_384][i % 3], num_batch: [512, 1024][i % 2], num_predict: 1 };
    const keep_alive = ["0", "24h"][i % 2];
    const content = words(i % 2 ? 7000 : 300);
    const isChat = i % 5 < 2;
    const response = await it.post(isChat ? "/api/chat" : "/api/generate", {
      ...(isChat ? { messages: [{ role: "user", content }] } : { prompt: content }),
      ...{ model: "one", stream: i % 7 < 3, options, keep_alive },
    });
    const last = (await response.text()).trim().split("\n").at(-1) ?? "";
    const body = JSON.parse(last) as { load_duration: number; warnings: string[] };
    assert.equal(response.status, 200);
    assert.equal(body.load_duration, 0);
    assert.match(body.warnings.join(), /num_ctx .*num_batch .*keep_alive/);
  }
  assert.deepEqual(it.host.loads, ["one"]);
  assert.deepEqual(it.server.serving.residents.loads(), { first: 1 });
});

test("check 3: ready is told only when the models are open; who asks before waits for that load", async () => {
  const gate = Promise.withResolvers<void>();
  const host = new ScriptedHost({ onLoad: () => gate.promise });
  const starting = startServer({ host, models: ["one"], port: 18_435, version: "0" });
  const url = "http://127.0.0.1:18435";
  await until(() => host.loads.length > 0, "nothing was loaded");
  const ready = await fetch(`${url}/health/ready`);
  assert.equal(ready.status, 503);
  assert.equal((await fetch(`${url}/health/live`)).status, 200);
  gate.resolve();
  await using _server = await starting;
  assert.equal((await fetch(`${url}/health/ready`)).status, 200);
});

test("checks 4, 6: 50 first requests for a model are one load with its cause; waiting for a slot is no load", async () => {
  let opens = Promise.resolve();
  await using it = await serve(
    { loadMs: 50, stepMs: 2, onLoad: () => opens },
    { lanes: { slots: 1, reserved: { interactive: 0, batch: 0 } } },
  );
  const all = await Promise.all(Array.from({ length: 50 }, () => it.chat({ model: "two" })));
  assert.deepEqual(it.host.loads, ["one", "two"]);
  const abouts = await Promise.all(
    all.map(async (response) => ((await response.json()) as { irori: { load?: { cause: string; ms: number } } }).irori),
  );
  const waited = abouts.filter(({ load }) => load !== undefined);
  assert.ok(waited.length > 0 && waited.every(({ load }) => load?.cause === "first" && load.ms >= 45));
  const { residents } = it.server.serving;
  assert.deepEqual(residents.loads(), { first: 2 });
  // its seconds are the load's alone, whatever each waited for a slot
  const ms = residents.open().find(({ model }) => model === "two")?.load?.ms ?? 0;
  assert.ok(waited.every(({ load }) => Math.abs((load?.ms ?? 0) - ms) < 0.1));
  // who asks while it loads waits for that load too, and is told so
  const gate = Promise.withResolvers<void>();
  opens = gate.promise;
  const early = residents.use("three");
  await until(() => it.host.loads.length === 3, "nothing is loaded");
  const late = residents.use("three");
  gate.resolve();
  for (const using of await Promise.all([early, late])) {
    assert.equal(using.load?.cause, "first");
    using[Symbol.dispose]();
  }
  assert.deepEqual(residents.loads(), { first: 3 });
  const busy = it.chat({ max_tokens: 50 });
  await until(() => it.host.running === 1, "none runs");
  const queued = await it.chat();
  assert.equal((await busy).status, 200);
  const { irori } = (await queued.json()) as { irori: { load?: object; queue_ms: number } };
  assert.ok(irori.load === undefined && irori.queue_ms > 0);
});

test("check 14: a full batch lane answers 429 with Retry-After, its depth and name, and never reaches the engine; interactive goes on", async () => {
  await using it = await serve(
    { stepMs: 20 },
    { lanes: { slots: 1, reserved: { interactive: 0, batch: 0 }, queue: { interactive: 4, batch: 1 } } },
  );
  const leaving = new AbortController();
  const batch = () => it.chat({ lane: "batch", max_tokens: 500 }, { signal: leaving.signal }).catch(() => undefined);
  const held = [batch(), batch()];
  await until(() => it.lanes().batch.waiting === 1, "none waits");
  const lanes = (await (await fetch(`${it.server.url}/irori/lanes`)).json()) as { batch: { waiting: number } };
  assert.equal(lanes.batch.waiting, 1);
  const { started } = it.host;
  const refused = await it.chat({ lane: "batch" });
  assert.equal(refused.status, 429);
  assert.match(refused.headers.get("retry-after") ?? "", /^\d+$/);
  const { error } = (await refused.json()) as { error: { code: string; lane: string; depth: number } };
  assert.deepEqual([error.code, error.lane, error.depth], ["lane_full", "batch", 1]);
  assert.equal(it.host.started, started);
  assert.equal((await it.chat()).status, 200);
  leaving.abort();
  await Promise.all(held);
});

test("check 15: a batch answer that stood still for others is the answer that it would have been", async () => {
  await using it = await serve({ stepMs: 5 }, { lanes: { slots: 1, reserved: { interactive: 0, batch: 0 } } });
  const alone = (await (await it.chat({ lane: "batch", max_tokens: 20 })).json()) as {
    choices: { message: { content: string } }[];
  };
  const made: (number | undefined)[] = [];
  const generate = it.host.generate.bind(it.host);
  it.host.generate = async function* (...args) {
    for await (const event of generate(...args)) {
      if (event.type === "token") made.push(args[1].urgency);
      yield event;
    }
  };
  const batch = it.chat({ lane: "batch", max_tokens: 20 });
  await until(() => it.host.running === 1, "batch does not run");
  await wait(20);
  assert.equal((await it.chat()).status, 200);
  const paused = (await (await batch).json()) as typeof alone & { irori: { pauses: number } };
  assert.equal(paused.irori.pauses, 1);
  assert.match(made.join(""), /^0+1110+$/, "batch stood still meanwhile");
  assert.equal(paused.choices[0]?.message.content, alone.choices[0]?.message.content);
});

test("check 16: a client that leaves while queued, in prefill or in decode frees its slot, and the engine stops", async () => {
  await using it = await serve(
    { prefillMs: 40, stepMs: 10 },
    { lanes: { slots: 1, reserved: { interactive: 0, batch: 0 } } },
  );
  for (const delay of [5, 80]) {
    const leaving = new AbortController();
    const runs = it.chat({ stream: true, max_tokens: 1000 }, { signal: leaving.signal }).catch(() => undefined);
    await until(() => it.lanes().interactive.running === 1, "none runs");
    const queued = new AbortController();
    const waits = it
      .chat({ stream: true }, { signal: queued.signal })
      .then((response) => response.text())
      .catch(() => undefined);
    await until(() => it.lanes().interactive.waiting === 1, "none waits");
    queued.abort();
    await until(() => it.lanes().interactive.waiting === 0, "it still waits");
    await wait(delay);
    leaving.abort();
    await until(() => it.lanes().free === 1 && it.host.running === 0, "the slot is still held");
    await Promise.all([runs, waits]);
  }
});

test("check 16: leaving while the model loads, while queued, in prefill, in decode, whole or streamed: each phase is counted, nothing is held", async () => {
  const unforeseen: unknown[] = [];
  await using it = await serve(
    { loadMs: 150, prefillMs: 150, stepMs: 10 },
    {
      lanes: { slots: 1, reserved: { interactive: 0, batch: 0 } },
      onError: (_, error) => unforeseen.push(error),
    },
  );
  const counted = async (phase: string) => {
    const text = await (await fetch(`${it.server.url}/metrics`)).text();
    return Number(new RegExp(`cancelled_total{lane="interactive",phase="${phase}"} (\\d+)`).exec(text)?.[1] ?? 0);
  };
  const left = { queue: 0, prefill: 0, decode: 0 };
  const leave = async (phase: keyof typeof left, more: object, isThere: () => boolean) => {
    const leaving = new AbortController();
    const asked = it.chat({ max_tokens: 1000, ...more }, { signal: leaving.signal });
    const ended = asked.then((response) => response.text()).catch(() => undefined);
    await until(isThere, `it never came to ${phase}`);
    leaving.abort();
    await ended;
    left[phase]++;
    await until(() => it.lanes().interactive.waiting === 0, "it still waits");
    for (let i = 0; i < 100 && (await counted(phase)) < left[phase]; i++) await wait(5);
    assert.equal(await counted(phase), left[phase], phase);
  };
  let tokens = 0;
  const generate = it.host.generate.bind(it.host);
  it.host.generate = async function* (...args) {
    for await (const event of generate(...args)) {
      if (event.type === "token") tokens++;
      yield event;
    }
  };
  for (const stream of [true, false]) {
    const [model, loads] = [stream ? "two" : "one", it.host.loads.length];
    if (stream) await leave("queue", { stream, model }, () => it.host.loads.length > loads);
    await leave("prefill", { stream, model: "one" }, () => it.host.running === 1);
    await until(() => it.lanes().free === 1 && it.host.running === 0, "the slot is still held");
    const before = tokens;
    await leave("decode", { stream, model: "one" }, () => tokens > before);
    await until(() => it.lanes().free === 1 && it.host.running === 0, "the slot is still held");
    const busy = new AbortController();
    const runs = it.chat({ max_tokens: 1000 }, { signal: busy.signal }).catch(() => undefined);
    await until(() => it.host.running === 1, "none runs");
    await leave("queue", { stream, model: "one" }, () => it.lanes().interactive.waiting === 1);
    const at = tokens;
    await until(() => tokens > at, "it does not run");
    busy.abort();
    await runs;
    left.decode++;
    await until(() => it.lanes().free === 1 && it.host.running === 0, "the slot is still held");
  }
  // while its prompt is made into tokens
  const encode = it.host.encode.bind(it.host);
  let encoding = 0;
  it.host.encode = async (...args) => {
    encoding++;
    await wait(50);
    return encode(...args);
  };
  await leave("queue", { model: "one" }, () => encoding === 1);
  assert.deepEqual(unforeseen, []);
  // an answer that nobody reads holds nothing
  const request = {
    model: "one",
    prompt: { text: "Hi" },
    lane: "interactive",
    caller: "me",
    seed: 0,
    sampling: {},
  } as const;
  await it.server.serving.answers.answer(request).return();
  assert.deepEqual([it.lanes().free, it.server.serving.residents.open().every(({ users }) => users === 0)], [1, true]);
});

test("check 17: what cannot start in time is refused at once", async () => {
  await using it = await serve({ stepMs: 10 }, { lanes: { slots: 1, reserved: { interactive: 0, batch: 0 } } });
  const leaving = new AbortController();
  const runs = it.chat({ max_tokens: 1000 }, { signal: leaving.signal }).catch(() => undefined);
  await until(() => it.lanes().interactive.running === 1, "none runs");
  const late = await it.chat({ timeout_ms: 10 });
  assert.equal(late.status, 429);
  assert.equal(((await late.json()) as { error: { code: string } }).error.code, "lane_late");
  leaving.abort();
  await runs;
});

test("check 21: a stream that is cut is an error event and no [DONE]; who waits gets heartbeats with a position", async () => {
  await using cut = await serve({ cutAfter: 2 });
  const text = await (await cut.chat({ stream: true, max_tokens: 9 })).text();
  assert.match(text, /"error":.*without its last record/);
  assert.ok(!text.includes("[DONE]"));
  await using it = await serve(
    { stepMs: 10 },
    { beatMs: 20, lanes: { slots: 1, reserved: { interactive: 0, batch: 0 } } },
  );
  const busy = it.chat({ max_tokens: 20 });
  await until(() => it.lanes().interactive.running === 1, "none runs");
  const waited = await (await it.chat({ stream: true })).text();
  assert.match(waited, /^: waiting, position 1\n\n/);
  assert.match(waited, /data: \[DONE\]\n\n$/);
  for (const frame of waited.split("\n\n").filter(Boolean)) assert.match(frame, /^(: [^\n]+|data: [^\n]+)$/);
  await busy;
});

test("check 23: chat, streams, generate and batch all move the metrics; loads by cause, refusals and leavings too", async () => {
  await using it = await serve(
    { stepMs: 2 },
    { lanes: { slots: 1, reserved: { interactive: 0, batch: 0 }, queue: { interactive: 0, batch: 4 } } },
  );
  const metric = async (name: string) => {
    const text = await (await fetch(`${it.server.url}/metrics`)).text();
    return Number(
      text
        .split("\n")
        .find((line) => line.startsWith(name))
        ?.split(" ")
        .at(-1) ?? 0,
    );
  };
  const began = performance.now();
  await (await it.chat()).text();
  await (await it.chat({ stream: true })).text();
  await (await it.post("/api/generate", { model: "one", prompt: "Hi", options: { num_predict: 3 } })).text();
  await (await it.post("/v1/completions", { model: "one", prompt: "Hi", max_tokens: 3 })).text();
  await (await it.post("/v1/responses", { input: "Hi", max_output_tokens: 3 })).text();
  await (await it.post("/v1/responses", { input: "Hi", max_output_tokens: 3, stream: true })).text();
  await (await it.post("/irori/captures", { prompt: "Hi", capture: ["hook_embed"], max_tokens: 3 })).text();
  await (await it.chat({ lane: "batch" })).text();
  assert.equal(await metric('irori_generation_tokens_total{lane="interactive"}'), 21);
  assert.equal(await metric('irori_generation_tokens_total{lane="batch"}'), 3);
  assert.equal(await metric('irori_time_to_first_token_seconds_count{lane="interactive"}'), 7);
  assert.equal(await metric('irori_inter_token_latency_seconds_count{lane="interactive"}'), 14);
  assert.equal(await metric('irori_request_queue_time_seconds_count{lane="batch"}'), 1);
  assert.equal(await metric('irori_model_loads_total{cause="first"}'), 1);
  assert.equal(await metric("irori_model_load_seconds_count"), 1);
  assert.equal(await metric('irori_prompt_tokens_total{lane="interactive"}'), 7);
  assert.equal(await metric('irori_requests_total{lane="interactive",reason="length"}'), 7);
  assert.equal(await metric('irori_e2e_request_latency_seconds_count{lane="interactive"}'), 7);
  const tookS = (performance.now() - began) / 1000;
  for (const name of ["time_to_first_token", "inter_token_latency", "request_queue_time", "e2e_request_latency"])
    assert.ok((await metric(`irori_${name}_seconds_sum{lane="interactive"}`)) < tookS, `${name} is in seconds`);
  const leaving = new AbortController();
  const runs = it
    .chat({ stream: true, max_tokens: 1000 }, { signal: leaving.signal })
    .then((response) => response.text())
    .catch(() => undefined);
  await until(() => it.host.running === 1, "none runs");
  assert.equal(await metric('irori_num_requests_running{lane="interactive"}'), 1);
  assert.deepEqual([await metric('irori_slots{state="free"}'), await metric('irori_slots{state="held"}')], [0, 1]);
  assert.equal((await it.chat()).status, 429);
  const paused = it.chat({ lane: "batch", max_tokens: 200 });
  await until(() => it.lanes().batch.waiting === 1, "none waits");
  assert.equal(await metric('irori_num_requests_waiting{lane="batch"}'), 1);
  assert.equal(await metric('irori_num_requests_waiting{lane="interactive"}'), 0);
  assert.equal(await metric('irori_admission_rejections_total{lane="interactive",reason="full"}'), 1);
  leaving.abort();
  await runs;
  await until(() => it.lanes().batch.running === 1, "batch does not run");
  assert.equal((await it.chat()).status, 200);
  assert.equal((await paused).status, 200);
  assert.equal(await metric("irori_preemptions_total"), 1);
  assert.equal(await metric('irori_cancelled_total{lane="interactive",phase="decode"}'), 1);
  assert.deepEqual([await metric('irori_slots{state="free"}'), await metric('irori_slots{state="held"}')], [1, 0]);
});

test("500 streams at once: no error, and nothing is held afterwards", async () => {
  await using it = await serve({}, { lanes: { queue: { interactive: 1000, batch: 10 } } });
  const texts = await Promise.all(Array.from({ length: 500 }, async () => (await it.chat({ stream: true })).text()));
  assert.ok(texts.every((text) => text.endsWith("data: [DONE]\n\n")));
  assert.equal(it.lanes().free, it.lanes().slots);
  assert.equal(it.host.running, 0);
});

test("a body that is too long is a 413, announced or in pieces; one that fits is read", async () => {
  await using it = await serve({}, { limits: { bodyBytes: 1000 } });
  const body = JSON.stringify({ model: "one", messages: [{ role: "user", content: "x".repeat(2000) }] });
  const pieces = () => new Blob([body]).stream();
  assert.equal((await it.chat({}, { body })).status, 413);
  assert.equal((await it.chat({}, { body: pieces(), duplex: "half" } as RequestInit)).status, 413);
  const short = JSON.stringify({ model: "one", messages: [{ role: "user", content: "Hi" }], max_tokens: 3 });
  const inPieces = { body: new Blob([short]).stream(), duplex: "half" } as RequestInit;
  assert.equal((await it.chat({}, inPieces)).status, 200);
  assert.equal((await it.chat()).status, 200);
});

test("more open requests than are allowed are a 503; whole answers, streams and those whose reader leaves make room again", async () => {
  await using it = await serve({ stepMs: 5 }, { limits: { openRequests: 2 } });
  const leaving = [new AbortController(), new AbortController()] as const;
  for (const { signal } of leaving) await it.chat({ stream: true, max_tokens: 5000 }, { signal });
  const refused = await it.chat();
  assert.equal(refused.status, 503);
  assert.equal(((await refused.json()) as { error: { code: string } }).error.code, "busy");
  leaving[0].abort();
  let status = 503;
  for (let i = 0; i < 200 && status === 503; i++) ({ status } = await it.chat());
  assert.equal(status, 200);
  for (let i = 0; i < 3; i++) assert.match(await (await it.chat({ stream: true })).text(), /\[DONE\]/);
  leaving[1].abort();
});

test("who serves is told while the engine tells nothing", async () => {
  await using it = await serve();
  it.host.stored = () => new Promise(() => undefined);
  const told = await fetch(`${it.server.url}/irori/server`, { signal: AbortSignal.timeout(10_000) });
  assert.deepEqual(((await told.json()) as { models: string[] }).models, ["one"]);
  it.host.stored = () => Promise.reject(new Error("it is away"));
  assert.equal((await fetch(`${it.server.url}/irori/server`)).status, 200);
});

test("keys: unknown ones are 401, a key of one lane gets 403 for the other, a quota 429", async () => {
  const keys = [{ name: "night", key: "night-secret", lanes: ["batch"] as const, perMinute: 3 }];
  await using it = await serve({}, { keys });
  const as = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });
  assert.equal((await it.chat()).status, 401);
  assert.equal((await it.chat({}, as("wrong-secret"))).status, 401);
  const answer = (await (await it.chat({}, as("night-secret"))).json()) as { irori: { lane: string } };
  assert.equal(answer.irori.lane, "batch");
  assert.equal((await it.chat({ lane: "interactive" }, as("night-secret"))).status, 403);
  assert.equal((await it.chat({}, as("night-secret"))).status, 200);
  const over = await it.chat({}, as("night-secret"));
  assert.equal(over.status, 429);
  assert.ok(Number(over.headers.get("retry-after")) > 0);
});

test("check 20: the official Ollama client: chat and generate, whole and streamed, embed, list, ps, show", async () => {
  await using it = await serve();
  const client = new Ollama({ host: it.server.url });
  const messages = [{ role: "user", content: "Hi" }];
  const options = { num_predict: 3 };
  const whole = await client.chat({ model: "one:latest", messages, options });
  assert.equal(whole.message.content, "w0 w1 w2 ");
  assert.equal(whole.eval_count, 3);
  let text = "";
  let isDone = false;
  for await (const part of await client.chat({ model: "one", messages, options, stream: true })) {
    text += part.message.content;
    isDone = part.done;
  }
  assert.ok(isDone);
  assert.equal(text, whole.message.content);
  let generated = "";
  for await (const part of await client.generate({ model: "one", prompt: "Hi", options, stream: true }))
    generated += part.response;
  assert.equal(generated, text);
  assert.deepEqual((await client.embed({ model: "one", input: ["a", "bc"] })).embeddings, [
    [1, 1],
    [2, 1],
  ]);
  assert.deepEqual(
    (await client.list()).models.map(({ name }) => name),
    ["one", "two"],
  );
  assert.deepEqual(
    (await client.ps()).models.map(({ name }) => name),
    ["one"],
  );
  assert.equal((await client.show({ model: "one" })).details.family, "scripted");
  await assert.rejects(client.copy({ source: "one", destination: "three" }), /not served here/);
});

test("check 20: the official Ollama client: pull says what is here and fetches nothing unless it may, delete, embeddings", async () => {
  await using it = await serve();
  const client = new Ollama({ host: it.server.url });
  assert.equal((await client.pull({ model: "two" })).status, "success");
  const lines: string[] = [];
  for await (const { status } of await client.pull({ model: "one", stream: true })) lines.push(status);
  assert.equal(lines.at(-1), "success");
  await assert.rejects(client.pull({ model: "three" }), /fetches nothing for callers/);
  assert.deepEqual(it.host.pulled, []);
  assert.deepEqual((await client.embeddings({ model: "one", prompt: "abc" })).embedding, [3, 1]);
  await client.delete({ model: "two" });
  assert.deepEqual(it.host.removed, ["two"]);
  await assert.rejects(client.delete({ model: "one" }), /one is served here/);
  await using may = await serve({}, { mayFetch: true });
  const statuses: string[] = [];
  const fetching = new Ollama({ host: may.server.url });
  for await (const { status } of await fetching.pull({ model: "three", stream: true })) statuses.push(status);
  assert.deepEqual(statuses, ["pulling manifest", "download three", "success"]);
  assert.deepEqual(may.host.pulled, ["three"]);
});

test("a server that is stopped lets answers end for a while; those that do not are told so, in streams too", async () => {
  await using it = await serve({ stepMs: 10 }, { patienceMs: 150 });
  const short = it.chat({ max_tokens: 3, stream: true }).then((response) => response.text());
  const whole = it.chat({ max_tokens: 1000 });
  const streamed = it.chat({ max_tokens: 1000, stream: true }).then((response) => response.text());
  await until(() => it.host.running === 3, "not all run");
  await it.server[Symbol.asyncDispose]();
  assert.match(await short, /\[DONE\]\n\n$/);
  assert.match(await streamed, /"content":"w1 "[\s\S]*"message":"the server is stopping[\s\S]*"code":"busy"/);
  assert.doesNotMatch(await streamed, /\[DONE\]/);
  const { status, headers } = await whole;
  assert.deepEqual([status, headers.get("retry-after")], [503, "1"]);
});
