// Logs and spans of a server: one line a request without what callers say, spans to a stand-in of a collector.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { openLog, openTraces, type ServerOptions, startServer } from "../src/serve/mod.ts";
import { ScriptedHost } from "./setup/scripted-host.ts";

type Line = Record<string, unknown> & { readonly answers?: readonly Record<string, unknown>[] };
function logged(level: "info" | "debug" | "warn", more: { with?: readonly ("path" | "prompt")[] } = {}) {
  const lines: Line[] = [];
  const to = { write: (text: string) => void lines.push(JSON.parse(text)) };
  return { lines, log: openLog({ level, to, clock: () => 1_000, ...more }) };
}
const serving = (options: Partial<ServerOptions>) =>
  startServer({
    host: new ScriptedHost({ prefillMs: 5, stepMs: 2 }),
    models: ["one"],
    port: 0,
    version: "0",
    ...options,
  });
const post = (url: string, path: string, body: object, headers: Record<string, string> = {}) =>
  fetch(`${url}${path}`, { method: "POST", body: JSON.stringify(body), headers });
const secret = "the-secret-of-the-night";
const chat = { messages: [{ role: "user", content: "a private matter" }], max_tokens: 3, lane: "batch" };

test("a request is one line of the log: its id, route, status, model, tokens and times; no path, prompt or key", async () => {
  const { lines, log } = logged("info");
  await using server = await serving({ watchers: [log], keys: [{ name: "night", key: secret }] });
  const headers = { authorization: `Bearer ${secret}`, "x-request-id": "r-1" };
  await (await post(server.url, "/v1/chat/completions", { ...chat, stream: true }, headers)).text();
  await (
    await post(server.url, "/v1/chat/completions", { ...chat, n: 2 }, { ...headers, "x-request-id": "r-2" })
  ).text();
  await (await post(server.url, "/v1/chat/completions?private=matter", chat, { "x-request-id": "r-3" })).text();
  await (
    await post(
      server.url,
      "/api/generate",
      { model: "one", prompt: "a private matter", options: { num_predict: 3 } },
      headers,
    )
  ).text();
  await (await fetch(`${server.url}/private/matter`, { headers })).text();
  await (await fetch(`${server.url}/health/ready`)).text();
  const [load, first, several, refused, ollama, missing, ...more] = lines;
  assert.deepEqual(load, { level: 30, time: 1000, model: "one", cause: "first", ms: load?.ms, msg: "model loaded" });
  const { ms, firstTokenMs, waitedMs, ...rest } = first as Line;
  assert.ok((ms as number) >= (firstTokenMs as number) && (waitedMs as number) >= 0);
  assert.deepEqual(rest, {
    ...{ level: 30, time: 1000, requestId: "r-1", method: "POST", route: "/v1/chat/completions", status: 200 },
    ...{ caller: "night", model: "one", lane: "batch", promptTokens: 3, reusedTokens: 0, tokens: 3, pauses: 0 },
    ...{ end: "length", prefillMs: 5, decodeMs: 6, msg: "request" },
  });
  assert.equal(several?.answers?.length, 2);
  assert.deepEqual([refused?.status, refused?.caller], [401, "refused"]);
  assert.equal(ollama?.tokens, 3);
  assert.equal(missing?.status, 404);
  assert.deepEqual(more, [], "health is told at the level debug only");
  assert.doesNotMatch(JSON.stringify(lines), /private|matter|secret/);
});

test("asked to, the log tells path and prompt; levels leave out what is below them", async () => {
  const asked = logged("debug", { with: ["path", "prompt"] });
  const strict = logged("warn");
  await using server = await serving({ watchers: [asked.log, strict.log] });
  await (await post(server.url, "/v1/chat/completions", chat)).text();
  await (await fetch(`${server.url}/health/ready`)).text();
  assert.equal(asked.lines[1]?.path, "/v1/chat/completions");
  assert.match(JSON.stringify(asked.lines[1]?.prompt), /a private matter/);
  assert.equal(asked.lines[2]?.level, 20);
  assert.deepEqual(strict.lines, []);
});

test("a job's answer is a line too, by the job's id", async () => {
  const { lines, log } = logged("info");
  await using server = await serving({ watchers: [log] });
  const job = (await (await post(server.url, "/irori/jobs", { url: "/v1/chat/completions", body: chat })).json()) as {
    id: string;
  };
  await (await fetch(`${server.url}/irori/jobs/${job.id}?wait_ms=5000`)).text();
  assert.ok(lines.some(({ requestId, tokens, lane }) => requestId === job.id && tokens === 3 && lane === "batch"));
});

interface SentSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: Record<string, unknown> }[];
}

test("where an endpoint is configured a request is a span with queue, prefill and decode below, in the caller's trace", async () => {
  const sent: SentSpan[] = [];
  const paths: string[] = [];
  const collector = createServer(async (request, response) => {
    paths.push(`${request.url} ${request.headers.authorization}`);
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const told = JSON.parse(Buffer.concat(pieces).toString());
    for (const { scopeSpans } of told.resourceSpans) for (const { spans } of scopeSpans) sent.push(...spans);
    response.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
  await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
  const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}/`;
  const traces = await openTraces({ endpoint, headers: { authorization: "Basic x" }, version: "1", clock: Date.now });
  const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
  {
    await using server = await serving({ watchers: [traces] });
    const headers = { traceparent: `00-${traceId}-00f067aa0ba902b7-01`, "x-request-id": "r-1" };
    await (await post(server.url, "/v1/chat/completions", { ...chat, stream: true }, headers)).text();
    await wait(5);
  }
  collector.close();
  assert.deepEqual(paths, ["/v1/traces Basic x"]);
  const names = sent.map(({ name }) => name);
  assert.deepEqual(names.toSorted(), ["POST /v1/chat/completions", "chat one", "decode", "prefill", "queue"]);
  const by = (name: string) => sent.find((span) => span.name === name) as SentSpan;
  const root = by("POST /v1/chat/completions");
  assert.equal(root.parentSpanId, "00f067aa0ba902b7");
  assert.equal(by("chat one").parentSpanId, root.spanId);
  for (const name of ["queue", "prefill", "decode"]) assert.equal(by(name).parentSpanId, by("chat one").spanId);
  for (const { traceId: each, startTimeUnixNano, endTimeUnixNano } of sent) {
    assert.equal(each, traceId);
    assert.ok(BigInt(startTimeUnixNano) <= BigInt(endTimeUnixNano));
  }
  const told = by("chat one").attributes.find(({ key }) => key === "gen_ai.usage.output_tokens")?.value;
  assert.equal(Number(told?.intValue), 3);
  assert.doesNotMatch(JSON.stringify(sent), /private|matter/);
});

test("a stream whose reader leaves is told once, and no error with it", async () => {
  const { lines, log } = logged("info");
  const errors: unknown[] = [];
  await using server = await serving({ watchers: [log], onError: (_, error) => void errors.push(error) });
  for (const path of ["/v1/chat/completions", "/api/chat"]) {
    const leaving = new AbortController();
    const response = await fetch(`${server.url}${path}`, {
      ...{ method: "POST", signal: leaving.signal },
      body: JSON.stringify({ ...chat, model: "one", max_tokens: 5000, options: { num_predict: 5000 }, stream: true }),
    });
    await response.body?.getReader().read();
    leaving.abort();
    await wait(100);
  }
  const told = lines.filter(({ msg }) => msg === "request");
  assert.deepEqual(
    told.map(({ route }) => route),
    ["/v1/chat/completions", "/api/chat"],
  );
  for (const { end } of told) assert.match(String(end), /^left in (prefill|decode)$/);
  assert.deepEqual(errors, []);
});
