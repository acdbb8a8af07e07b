// The engine in a child process, killed under load: the server stays up, everybody is answered, the engine is back warm.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { ProcessHost, type RunningServer, startServer } from "../src/serve/mod.ts";
import { itemsOf } from "../src/serve/residency.ts";
import { smollm2 } from "./setup/smollm2.ts";

const model = "smollm2-135m";
let host: ProcessHost;
let server: RunningServer;
const seen: string[] = [];
before(async () => {
  process.env.IRORI_HOME = (await smollm2()).home;
  host = new ProcessHost({ rows: 2 });
  server = await startServer({
    host,
    models: [model],
    port: 0,
    version: "0",
    lanes: { slots: 4 },
    onEngine: ({ type }) => seen.push(type),
  });
});
after(() => server?.[Symbol.asyncDispose]());

const chat = (more: object = {}, signal?: AbortSignal) =>
  fetch(`${server.url}/v1/chat/completions`, {
    method: "POST",
    signal: signal ?? null,
    body: JSON.stringify({
      model,
      messages: [{ role: "user", content: "Name three fruits." }],
      temperature: 0,
      max_tokens: 12,
      ...more,
    }),
  });
const textOf = async (response: Response) =>
  ((await response.json()) as { choices: { message: { content: string } }[] }).choices[0]?.message.content;

test("the same answers come through another process, JSON held to its schema too", async () => {
  const { smollm2Server } = await import("./setup/server.ts");
  const whole = await textOf(await chat());
  await using here = await smollm2Server();
  const body = { model, messages: [{ role: "user", content: "Name three fruits." }], temperature: 0, max_tokens: 12 };
  const same = await fetch(`${here.url}/v1/chat/completions`, { method: "POST", body: JSON.stringify(body) });
  assert.equal(await textOf(same), whole);
  const schema = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"] };
  const held = await chat({ response_format: { type: "json_schema", json_schema: { schema } }, max_tokens: 40 });
  assert.equal(typeof JSON.parse((await textOf(held)) ?? "").ok, "boolean");
});

/** Files of models that a process has mapped, each with where it begins. */
async function mappedIn(pid: number | undefined): Promise<string[]> {
  const maps = await readFile(`/proc/${pid}/maps`, "utf8");
  const all = [...maps.matchAll(/^(\w+)-.* (\/\S*(?:prepared|models|blobs)\/\S+)$/gm)];
  return all.map(([, from, path]) => `${path} at ${from}`).sort();
}

test("check 9: what is planned of a model is within a tenth of what its process takes", async (t) => {
  if (process.platform !== "linux") return t.skip("reads /proc");
  const context = 2048;
  await using own = new ProcessHost({ rows: 1 });
  const resident = async () => {
    const status = await readFile(`/proc/${(await own.memory()).pid}/status`, "utf8");
    return [...status.matchAll(/^Rss(?:Anon|File):\s+(\d+)/gm)].reduce((sum, [, kB]) => sum + 1024 * Number(kB), 0);
  };
  const facts = await own.measure(model);
  const before = await resident();
  await own.load(model);
  const ids = Array.from({ length: context - 8 }, (_, i) => 300 + ((i * 7919) % 40_000));
  const request = { ids, seed: 1, maxTokens: 8, ignoreEos: true, sampling: { temperature: 0 } };
  for await (const _ of own.generate(model, request));
  const measured = (await resident()) - before;
  const planned = itemsOf({ facts, context }).reduce((sum, { bytes }) => sum + bytes, 0);
  assert.ok(Math.abs(planned / measured - 1) <= 0.1, `${planned} were planned, ${measured} are taken`);
});

test("check 8: a model that the budget has no room for is refused before the engine maps any of it", async () => {
  await using small = await startServer({
    ...{ host: new ProcessHost({ rows: 1 }), models: [], port: 0, version: "0", budgetBytes: 100e6 },
  });
  const { host } = small.serving;
  const before = await host.memory();
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hi" }] });
  const refused = await fetch(`${small.url}/v1/chat/completions`, { method: "POST", body });
  assert.equal(refused.status, 503);
  assert.match(await refused.text(), /weights .*mapped.*KV of .*scratch/);
  const after = await host.memory();
  assert.deepEqual(await mappedIn(after.pid), []);
  assert.ok(after.privateBytes - before.privateBytes < 16e6, `${after.privateBytes - before.privateBytes} bytes more`);
});

test("checks 1, 2: short and long prompts with any options: the same process, the same mapped files, no load after the first", async () => {
  const { pid } = host;
  const mapped = () => mappedIn(pid);
  await (await chat()).text();
  const [files, loads] = [await mapped(), server.serving.residents.loads()];
  assert.ok(files.length > 0);
  for (let i = 0; i < 4; i++) {
    const response = await fetch(`${server.url}/api/generate`, {
      method: "POST",
      body: JSON.stringify({
        ...{ model, prompt: "word ".repeat(i % 2 ? 1000 : 300), stream: false, keep_alive: ["0", "24h"][i % 2] },
        options: { num_predict: 2, num_ctx: [2048, 4096, 8192][i % 3], num_batch: [512, 1024][i % 2] },
      }),
    });
    const { warnings, load_duration } = (await response.json()) as { warnings: string[]; load_duration: number };
    assert.equal(load_duration, 0);
    assert.match(warnings.join(), /num_ctx .*num_batch .*keep_alive/);
  }
  assert.equal(host.pid, pid);
  assert.deepEqual(await mapped(), files);
  assert.deepEqual(server.serving.residents.loads(), loads);
});

const kills = process.env.IRORI_FULL === "1" ? 10 : 3;

test("check 34: an engine killed again and again under load: retryable 503s, the server up, back warm with its load counted as a crash", async () => {
  const before = await textOf(await chat());
  for (let kill = 1; kill <= kills; kill++) {
    const { pid } = host;
    assert.ok(pid !== undefined);
    const asked = Array.from({ length: 6 }, (_, i) => chat({ max_tokens: 400, seed: i, stream: i % 2 === 0 }));
    await wait(300);
    process.kill(pid, "SIGKILL");
    for (const response of await Promise.all(asked)) {
      const text = await response.text();
      if (response.headers.get("content-type")?.includes("event-stream"))
        assert.ok(/engine_lost|\[DONE\]/.test(text), text.slice(-300));
      else
        assert.ok(
          response.status === 200 || (response.status === 503 && response.headers.has("retry-after")),
          `${response.status} ${text}`,
        );
    }
    assert.equal((await fetch(`${server.url}/health/live`)).status, 200);
    assert.equal(await textOf(await chat()), before);
    assert.notEqual(host.pid, pid);
    assert.equal(server.serving.residents.loads().crash, kill);
    assert.equal(server.serving.lanes.state().free, 4);
  }
  assert.deepEqual(seen, Array.from({ length: kills }, () => ["lost", "back"]).flat());
});

test(`an engine killed ${kills} times while jobs run: each job ends once, done, with the answer that it has without kills`, async () => {
  const submit = async (count: number) => {
    const jobs = Array.from({ length: count }, (_, i) => ({
      url: "/v1/chat/completions",
      body: { model, messages: [{ role: "user", content: `Count to ${i}.` }], temperature: 0, max_tokens: 16 },
    }));
    const response = await fetch(`${server.url}/irori/jobs`, { method: "POST", body: JSON.stringify({ jobs }) });
    return ((await response.json()) as { data: { id: string }[] }).data.map(({ id }) => id);
  };
  const ended = async (id: string) => {
    for (;;) {
      const job = (await (await fetch(`${server.url}/irori/jobs/${id}?wait_ms=5000`)).json()) as {
        status: string;
        attempts: number;
        response?: { body: { choices: { message: { content: string } }[] } };
      };
      if (job.status !== "queued" && job.status !== "running") return job;
    }
  };
  const wanted = await Promise.all((await submit(4)).map(ended));
  const before = server.serving.residents.loads().crash ?? 0;
  const finished = async () => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    return Number(/^irori_jobs_total\{status="done"\} (\d+)/m.exec(text)?.[1] ?? 0);
  };
  const doneBefore = await finished();
  const ids: string[] = [];
  for (let kill = 1; kill <= kills; kill++) {
    ids.push(...(await submit(4)));
    await wait(150);
    while (host.pid === undefined) await wait(20);
    process.kill(host.pid, "SIGKILL");
    await wait(200);
  }
  const all = await Promise.all(ids.map(ended));
  assert.ok(
    all.every(({ status }) => status === "done"),
    JSON.stringify(all.find(({ status }) => status !== "done")),
  );
  const textOf = ({ response }: (typeof all)[number]) => response?.body.choices[0]?.message.content;
  for (const [i, job] of all.entries()) assert.equal(textOf(job), textOf(wanted[i % 4] as typeof job));
  assert.ok(
    all.some(({ attempts }) => attempts > 1),
    "none was under way at a kill",
  );
  assert.equal(await finished(), doneBefore + ids.length, "each was told once");
  assert.ok((server.serving.residents.loads().crash ?? 0) > before);
  assert.equal(server.serving.lanes.state().free, 4);
});

test("a client that leaves stops the engine's work in the other process", async () => {
  const leaving = new AbortController();
  const response = await chat({ stream: true, max_tokens: 4000, ignore_eos: true }, leaving.signal);
  const reader = response.body?.getReader();
  await reader?.read();
  leaving.abort();
  for (let i = 0; i < 200 && server.serving.lanes.state().free < 4; i++) await wait(10);
  assert.equal(server.serving.lanes.state().free, 4);
});
