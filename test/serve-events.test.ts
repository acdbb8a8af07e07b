// /irori/events over a scripted engine: what is told, to whom, from where on, and that nothing grows.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Events, type Told } from "../src/serve/events.ts";
import { type ServerOptions, startServer } from "../src/serve/mod.ts";
import { type Script, ScriptedHost } from "./setup/scripted-host.ts";

interface Heard {
  readonly id: string | undefined;
  readonly event: string;
  // biome-ignore lint/suspicious/noExplicitAny: each test says what it expects
  readonly data: any;
}

async function serve(script: Script = {}, options: Partial<ServerOptions> = {}) {
  const host = new ScriptedHost(script);
  const server = await startServer({ host, models: ["one"], port: 0, version: "0", beatMs: 20, ...options });
  const post = (path: string, body: object, headers: Record<string, string> = {}) =>
    fetch(server.url + path, { method: "POST", body: JSON.stringify(body), headers });
  /** Listens until `isEnough` says so; all that came, comments apart. */
  async function listen(
    isEnough: (heard: readonly Heard[], beats: number) => boolean,
    init: RequestInit = {},
    query = "",
  ) {
    const leaving = new AbortController();
    const response = await fetch(`${server.url}/irori/events${query}`, { ...init, signal: leaving.signal });
    const heard: Heard[] = [];
    let [text, beats] = ["", 0];
    for await (const chunk of (response.body as ReadableStream<Uint8Array>).pipeThrough(
      new TextDecoderStream() as never,
    )) {
      text += chunk;
      const frames = text.split("\n\n");
      text = frames.pop() ?? "";
      for (const frame of frames) {
        if (frame.startsWith(":")) beats++;
        else {
          const of = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(frame)?.[1];
          heard.push({ id: of("id"), event: of("event") ?? "", data: JSON.parse(of("data") ?? "") });
        }
      }
      if (isEnough(heard, beats)) break;
    }
    leaving.abort();
    return heard;
  }
  return { host, server, post, listen, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}
const last = (type: string, is: (data: Heard["data"]) => boolean) => (heard: readonly Heard[]) =>
  heard.some(({ event, data }) => event === type && is(data));

test("loads with their cause, closings, the engine's death, jobs' progress and lanes are told; heartbeats come between", async () => {
  await using it = await serve({ stepMs: 20 }, { closeAfterMs: 30 });
  const hearing = it.listen((heard, beats) => beats > 0 && last("engine", ({ state }) => state === "back")(heard));
  for (let i = 0; i < 200 && it.server.serving.events.listeners === 0; i++) await new Promise((r) => setTimeout(r, 5));
  const messages = [{ role: "user", content: "Hi" }];
  await (await it.post("/v1/chat/completions", { model: "two", messages, max_tokens: 2 })).text();
  const job = await it.post("/irori/jobs", { url: "/v1/chat/completions", body: { messages, max_tokens: 40 } });
  const { id } = (await job.json()) as { id: string };
  await (await fetch(`${it.server.url}/irori/jobs/${id}?wait_ms=5000`)).text();
  it.host.onEngine?.({ type: "lost", reason: "SIGKILL", ms: 100 });
  it.host.onEngine?.({ type: "back", reason: "SIGKILL", ms: 300 });
  const heard = await hearing;
  const of = (type: string) => heard.filter(({ event }) => event === type).map(({ data }) => data);
  assert.deepEqual([of("load")[0].model, of("load")[0].cause], ["two", "first"]);
  assert.deepEqual([of("unload")[0].model, of("unload")[0].cause], ["two", "evicted"]);
  assert.deepEqual(
    of("job").map(({ status }) => status),
    ["queued", "running", "done"],
  );
  assert.ok(of("job").every((told) => told.id === id && told.caller === undefined));
  assert.deepEqual(
    of("engine").map(({ state }) => state),
    ["lost", "back"],
  );
  assert.ok(of("lanes").some(({ batch }) => batch.running === 1));
  const numbers = heard.flatMap(({ id: own }) => (own === undefined ? [] : [Number(own.split(".")[1])]));
  assert.deepEqual(
    numbers,
    numbers.toSorted((a, b) => a - b),
  );
  for (let i = 0; i < 200 && it.server.serving.events.listeners > 0; i++) await new Promise((r) => setTimeout(r, 5));
  assert.equal(it.server.serving.events.listeners, 0);
});

test("who comes back with Last-Event-ID hears what was missed; types choose; others' jobs are not told", async () => {
  const keys = [
    { name: "a", key: "key-a" },
    { name: "b", key: "key-b" },
  ];
  await using it = await serve({}, { keys });
  const as = (key: string, more: Record<string, string> = {}) => ({ authorization: `Bearer ${key}`, ...more });
  const body = { messages: [{ role: "user", content: "Hi" }], max_tokens: 1 };
  const job = async (key: string) => {
    const submitted = await it.post("/irori/jobs", { url: "/v1/chat/completions", body }, as(key));
    const { id } = (await submitted.json()) as { id: string };
    await (await fetch(`${it.server.url}/irori/jobs/${id}?wait_ms=5000`, { headers: as(key) })).text();
    return id;
  };
  const first = await job("key-a");
  const done = last("job", ({ status }) => status === "done");
  const query = "?after=0&types=job";
  const heard = await it.listen(done, { headers: as("key-a") }, query);
  assert.deepEqual(new Set(heard.map(({ event }) => event)), new Set(["job"]));
  assert.ok(heard.every(({ data }) => data.id === first));
  const [second, theirs] = [await job("key-a"), await job("key-b")];
  const headers = as("key-a", { "last-event-id": heard.at(-1)?.id ?? "" });
  const later = await it.listen(done, { headers }, "?types=job");
  assert.deepEqual(new Set(later.map(({ data }) => data.id)), new Set([second]));
  const other = await it.listen(done, { headers: as("key-b") }, query);
  assert.deepEqual(new Set(other.map(({ data }) => data.id)), new Set([theirs]));
  assert.equal((await fetch(`${it.server.url}/irori/events?types=nothing`, { headers: as("key-a") })).status, 400);
  assert.equal((await fetch(`${it.server.url}/irori/events`)).status, 401);
});

test("the buffer and a slow listener's queue are bounded, and say how much was missed; another start's ids are all new", async () => {
  const events = new Events({ run: "r", clock: () => 0, most: 3 });
  const stop = new AbortController();
  for (let i = 1; i <= 5; i++) events.tell({ type: "load", i });
  const told: Told[] = [];
  const take = async (count: number, after: string) => {
    told.length = 0;
    for await (const one of events.listen(() => true, { after, signal: stop.signal }))
      if (told.push(one) === count) break;
    return told.map(({ id, event }) => [id, event.type, event.count ?? event.i]);
  };
  assert.deepEqual(await take(4, "r.1"), [
    [undefined, "missed", 1],
    ["r.3", "load", 3],
    ["r.4", "load", 4],
    ["r.5", "load", 5],
  ]);
  assert.deepEqual((await take(1, "old.99"))[0], [undefined, "missed", 2]);
  const slow = events.listen(() => true, { signal: stop.signal });
  const first = slow.next();
  events.tell({ type: "load", i: 6 });
  await first;
  for (let i = 7; i <= 20; i++) events.tell({ type: "load", i });
  const rest: unknown[] = [];
  for (let i = 0; i < 4; i++) {
    const { value } = await slow.next();
    rest.push((value as Told).event.count ?? (value as Told).event.i);
  }
  assert.deepEqual(
    rest.toSorted((a, b) => Number(a) - Number(b)),
    [11, 18, 19, 20],
  );
  assert.equal(events.listeners, 1);
  events.close();
  assert.equal((await slow.next()).done, true);
  assert.equal(events.listeners, 0);
});
