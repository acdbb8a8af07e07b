// Jobs over HTTP: submitted once whatever is sent twice, done though engines and processes die, told once.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type RunningServer, type ServerOptions, startServer } from "../src/serve/mod.ts";
import { ScriptedHost } from "./setup/scripted-host.ts";

const folder = mkdtempSync(join(tmpdir(), "irori-jobs-"));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Told {
  readonly id: string;
  readonly status: string;
  readonly attempts: number;
  readonly progress?: unknown;
  readonly response?: {
    readonly status_code: number;
    readonly body: { choices: { message: { content: string } }[]; irori: { lane: string }; error?: { code: string } };
  };
}

const starting = (host: ScriptedHost, options: Partial<ServerOptions> = {}): Promise<RunningServer> =>
  startServer({ host, models: ["one"], port: 0, version: "0", lanes: { slots: 4 }, ...options });
const chat = (words: number, more: object = {}) => ({
  url: "/v1/chat/completions",
  body: { messages: [{ role: "user", content: "Count." }], max_tokens: words, seed: 1 },
  ...more,
});
async function call<T = Told>(
  url: string,
  method: string,
  path: string,
  body?: object,
  headers: Record<string, string> = {},
) {
  const response = await fetch(`${url}${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) });
  return { status: response.status, told: (await response.json()) as T, headers: response.headers };
}
async function ended(url: string, id: string): Promise<Told> {
  for (let i = 0; i < 40; i++) {
    const { told } = await call(url, "GET", `/irori/jobs/${id}?wait_ms=2000`);
    if (told.status !== "queued" && told.status !== "running") return told;
  }
  throw new Error(`${id} does not end`);
}

test("a job is answered in the batch lane and its answer stays; what was wrong with one is its answer too", async () => {
  await using server = await starting(new ScriptedHost());
  const { status, told } = await call(server.url, "POST", "/irori/jobs", chat(3, { custom_id: "mine" }));
  assert.equal(status, 202);
  assert.equal(told.status, "queued");
  const done = await ended(server.url, told.id);
  assert.equal(done.response?.status_code, 200);
  assert.equal(done.response?.body.choices[0]?.message.content, "w0 w1 w2 ");
  assert.equal(done.response?.body.irori.lane, "batch");
  assert.deepEqual(await ended(server.url, told.id), done);
  const bad = await call(server.url, "POST", "/irori/jobs", { ...chat(3), body: { messages: [], model: "nobody" } });
  const failed = await ended(server.url, bad.told.id);
  assert.equal(failed.status, "failed");
  assert.ok((failed.response?.status_code ?? 0) >= 400);
  assert.match(await (await fetch(`${server.url}/metrics`)).text(), /irori_jobs_total\{status="done"\} 1/);
});

test("submitted twice under one key it is one job; under the same key another job is a conflict", async () => {
  await using server = await starting(new ScriptedHost());
  const headers = { "idempotency-key": "night-1" };
  const [first, second] = [
    await call(server.url, "POST", "/irori/jobs", chat(3), headers),
    await call(server.url, "POST", "/irori/jobs", chat(3), headers),
  ];
  assert.deepEqual([first.status, second.status], [202, 200]);
  assert.equal(first.told.id, second.told.id);
  assert.equal((await call(server.url, "POST", "/irori/jobs", chat(4), headers)).status, 409);
  // another caller's key of the same name is another key, and nobody sees another's jobs
  const other = { ...headers, "x-irori-caller": "other" };
  const theirs = await call(server.url, "POST", "/irori/jobs", chat(3), other);
  assert.notEqual(theirs.told.id, first.told.id);
  assert.equal((await call(server.url, "GET", `/irori/jobs/${first.told.id}`, undefined, other)).status, 404);
  assert.equal((await call<{ data: Told[] }>(server.url, "GET", "/irori/jobs", undefined, other)).told.data.length, 1);
});

test("what cannot be a job is refused with its name", async () => {
  await using server = await starting(new ScriptedHost(), {
    keys: [{ name: "live", key: "12345678", lanes: ["interactive"] }],
  });
  const headers = { authorization: "Bearer 12345678" };
  assert.equal((await call(server.url, "POST", "/irori/jobs", chat(1), headers)).status, 403);
  await using open = await starting(new ScriptedHost(), { jobs: { waiting: 1, atOnce: 1 } });
  for (const body of [
    { url: "/metrics", body: {} },
    chat(1, { body: { stream: true } }),
    chat(1, { body: { lane: "interactive" } }),
    {},
  ])
    assert.equal((await call(open.url, "POST", "/irori/jobs", body)).status, 400);
});

test("a cancelled job ends at once, whether it runs or waits, and frees its slot", async () => {
  const host = new ScriptedHost({ stepMs: 5 });
  await using server = await starting(host, { jobs: { atOnce: 1 } });
  const [running, waiting] = [
    (await call(server.url, "POST", "/irori/jobs", chat(5000))).told,
    (await call(server.url, "POST", "/irori/jobs", chat(5000))).told,
  ];
  while (host.running === 0) await wait(5);
  for (const { id } of [waiting, running]) {
    assert.equal((await call(server.url, "POST", `/irori/jobs/${id}/cancel`)).told.status, "cancelled");
    assert.equal((await ended(server.url, id)).response, undefined);
  }
  while (host.running > 0) await wait(5);
  assert.equal(server.serving.lanes.state().free, 4);
  assert.equal(host.started, 1);
  await call(server.url, "DELETE", `/irori/jobs/${running.id}`);
  assert.equal((await call(server.url, "GET", `/irori/jobs/${running.id}`)).status, 404);
});

test("check 31: a full lane makes jobs wait: 30 against a queue of 1, none lost, each done once", async () => {
  const host = new ScriptedHost({ stepMs: 1 });
  const lanes = { slots: 1, reserved: { interactive: 0, batch: 0 }, queue: { interactive: 1, batch: 1 } };
  await using server = await starting(host, { lanes, jobs: { atOnce: 6 } });
  const jobs = Array.from({ length: 30 }, (_, i) => chat(2, { custom_id: `c${i}` }));
  const { told } = await call<{ data: Told[] }>(server.url, "POST", "/irori/jobs", { jobs });
  const all = await Promise.all(told.data.map(({ id }) => ended(server.url, id)));
  assert.equal(new Set(all.map(({ id }) => id)).size, 30);
  assert.ok(
    all.every(({ status, attempts }) => status === "done" && attempts === 1),
    "what was not begun is no attempt",
  );
  assert.equal(host.started, 30);
});

test("an engine that dies under jobs: each is done again and told once", async () => {
  const host = new ScriptedHost({ stepMs: 1, dieEvery: 3 });
  await using server = await starting(host);
  const jobs = Array.from({ length: 12 }, () => chat(3));
  const { told } = await call<{ data: Told[] }>(server.url, "POST", "/irori/jobs", { jobs });
  const all = await Promise.all(told.data.map(({ id }) => ended(server.url, id)));
  assert.ok(all.every(({ status }) => status === "done"));
  assert.ok(all.some(({ attempts }) => attempts > 1));
  assert.deepEqual(await server.serving.jobs.counts(), { done: 12 });
});

async function child(file: string, stepMs: number): Promise<{ process: ChildProcess; url: string }> {
  const script = fileURLToPath(new URL("./setup/jobs-child.ts", import.meta.url));
  const process_ = spawn(process.execPath, [script, file, String(stepMs)], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(process_.stdout, "data")) as [Buffer];
  return { process: process_, url: line.toString().trim() };
}

test("a process killed three times over its jobs: all done, each result written once, ids and keys as before", async () => {
  const file = join(folder, "killed.db");
  const jobs = Array.from({ length: 24 }, (_, i) => chat(20, { custom_id: `k${i}` }));
  let ids: string[] = [];
  let finished = new Map<string, string>();
  for (let kill = 0; kill < 3; kill++) {
    const { process: killed, url } = await child(file, 3);
    const { told } = await call<{ data: Told[] }>(url, "POST", "/irori/jobs", { jobs });
    if (kill === 0) ids = told.data.map(({ id }) => id);
    assert.deepEqual(
      told.data.map(({ id }) => id),
      ids,
    );
    await wait(180);
    const { told: seen } = await call<{ data: Told[] }>(url, "GET", "/irori/jobs");
    for (const [id] of finished) assert.equal(seen.data.find((job) => job.id === id)?.status, "done");
    for (const { id, status } of seen.data)
      if (status === "done" && !finished.has(id))
        finished.set(id, JSON.stringify((await call(url, "GET", `/irori/jobs/${id}`)).told));
    killed.kill("SIGKILL");
    await once(killed, "exit");
  }
  const { process: last, url } = await child(file, 0);
  const all = await Promise.all(ids.map((id) => ended(url, id)));
  assert.ok(
    all.every(
      ({ status, response }) =>
        status === "done" && response?.body.choices[0]?.message.content.split(" ").length === 21,
    ),
  );
  assert.ok(
    all.some(({ attempts }) => attempts > 1),
    "some were killed in the middle",
  );
  for (const [id, text] of finished)
    assert.equal(JSON.stringify(all.find((job) => job.id === id)), text, "a result never changes");
  finished = new Map();
  last.kill("SIGTERM");
  const [code] = await once(last, "exit");
  assert.equal(code, 0);
});

test("a server that stops puts its jobs back; two servers over one file share them", async () => {
  const file = join(folder, "shared.db");
  {
    await using server = await starting(new ScriptedHost({ stepMs: 20 }), { workFile: file, jobs: { atOnce: 2 } });
    await call(server.url, "POST", "/irori/jobs", { jobs: Array.from({ length: 20 }, () => chat(4)) });
    await wait(50);
  }
  const hosts = [new ScriptedHost({ stepMs: 5 }), new ScriptedHost({ stepMs: 5 })];
  await using a = await starting(hosts[0] as ScriptedHost, { workFile: file, jobs: { atOnce: 2 } });
  await using b = await starting(hosts[1] as ScriptedHost, { workFile: file, jobs: { atOnce: 2 } });
  while (((await a.serving.jobs.counts()).done ?? 0) < 20) await wait(20);
  assert.deepEqual(await b.serving.jobs.counts(), { done: 20 });
  assert.ok(hosts.every(({ started }) => started > 0));
  const list = await call<{ data: Told[] }>(b.url, "GET", "/irori/jobs?status=done");
  assert.ok(
    list.told.data.every(({ attempts }) => attempts === 1),
    "put back in order, it was no failed attempt",
  );
});
