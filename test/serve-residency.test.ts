// Models that do not all fit, behind the server and a scripted engine. Numbers of checks: reference/serving-alt.md §7.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { type ServerOptions, startServer } from "../src/serve/mod.ts";
import { type Script, ScriptedHost } from "./setup/scripted-host.ts";

async function serve(script: Script, options: Partial<ServerOptions>) {
  const host = new ScriptedHost({ models: ["A", "B", "C"], weightBytes: () => 1e6, ...script });
  const room = { reserveBytes: 0, plannedContext: 100 };
  const server = await startServer({ host, models: [], port: 0, version: "0", ...room, ...options });
  const chat = async (model: string, more: object = {}) => {
    const body = { model, messages: [{ role: "user", content: "Hi" }], max_tokens: 3, ...more };
    const response = await fetch(`${server.url}/v1/chat/completions`, { method: "POST", body: JSON.stringify(body) });
    return { status: response.status, body: JSON.parse(await response.text()) };
  };
  return { host, server, chat, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

test("check 5: A B A A C A B C at once, room for one: three loads, each with its cause, a pinned model stays", async () => {
  await using it = await serve({ stepMs: 2, loadMs: 5 }, { budgetBytes: 1.5e6 });
  const all = await Promise.all([..."ABAACABC"].map((model) => it.chat(model)));
  assert.ok(all.every(({ status }) => status === 200));
  assert.deepEqual(it.host.loads, ["A", "B", "C"]);
  assert.deepEqual(it.host.unloads, ["A", "B"]);
  const again = await it.chat("A");
  assert.equal(again.body.irori.load.cause, "evicted");
  await using pinned = await serve({}, { budgetBytes: 1.5e6, models: ["A"] });
  const refused = await pinned.chat("B");
  assert.equal(refused.status, 503);
  assert.match(refused.body.error.message, /B at 100 tokens needs .*weights .*no context would fit/);
  assert.deepEqual(pinned.host.unloads, []);
});

test("check 5: others who go on asking for an open model delay a switch by the bound at most", async () => {
  await using it = await serve({ stepMs: 5 }, { budgetBytes: 1.5e6, mostSwitchWaitMs: 100 });
  await it.chat("A");
  let isDone = false;
  const crowd = async () => {
    while (!isDone) assert.equal((await it.chat("A", { max_tokens: 8 })).status, 200);
  };
  const crowds = [crowd(), crowd(), crowd()];
  await wait(20);
  const b = await it.chat("B"); // never ends where the bound does not hold: two of the crowd always overlap
  isDone = true;
  assert.equal(b.status, 200);
  await Promise.all(crowds);
});

test("check 8: a model that is larger than the budget never reaches the engine", async () => {
  await using it = await serve({ weightBytes: (model) => (model === "B" ? 9e6 : 1e6) }, { budgetBytes: 1.5e6 });
  assert.equal((await it.chat("B")).status, 503);
  assert.deepEqual(it.host.loads, []);
  assert.equal((await it.chat("A")).status, 200);
  // with the table, and the longest context that would fit
  await using long = await serve({}, { budgetBytes: 1.0055e6, reserveBytes: 500, plannedContext: 8192 });
  const refused = await long.chat("A");
  assert.equal(refused.status, 503);
  assert.match(refused.body.error.message, /A at 8,?192 tokens needs .*weights .*4,999 tokens would fit/);
  assert.deepEqual(long.host.loads, []);
});

test("check 10: two models asked for at once, room for one: they are never open together", async () => {
  let open = 0;
  let most = 0;
  const onLoad = async () => {
    most = Math.max(most, ++open);
  };
  await using it = await serve({ loadMs: 20, onLoad }, { budgetBytes: 1.5e6 });
  const { unload } = it.host;
  it.host.unload = async (model) => {
    open--;
    await unload.call(it.host, model);
  };
  const all = await Promise.all(["A", "B", "A", "B"].map((model) => it.chat(model)));
  assert.ok(all.every(({ status }) => status === 200));
  assert.equal(most, 1);
});

test("checks 9, 22: /api/ps tells what is measured, shared out as the plans say, and the metrics how that stands to the plan", async () => {
  await using it = await serve({ weightBytes: () => 1000 }, {});
  const measure = it.host.measure.bind(it.host);
  it.host.measure = async (model) => ({ ...(await measure(model)), ownBytes: model === "B" ? 303 : 0 });
  it.host.privateBytes = 500; // before the first is opened
  await it.chat("A");
  it.host.privateBytes = 4000;
  await it.chat("B");
  it.host.privateBytes = 9500;
  const { models } = (await (await fetch(`${it.server.url}/api/ps`)).json()) as {
    models: { size: number; planned_bytes: number }[];
  };
  assert.deepEqual(
    models.map(({ size }) => size),
    [1000 + 1800, 1000 + 7200], // 101 and 404 are planned beside the weights
  );
  const status = (await (await fetch(`${it.server.url}/irori/status`)).json()) as {
    models: { plan: { bytes: number; isMapped: boolean }[] }[];
  };
  const planned = status.models.map(({ plan }) => plan.reduce((sum, { bytes }) => sum + bytes, 0));
  assert.deepEqual(
    models.map(({ planned_bytes }) => planned_bytes),
    planned,
  );
  assert.deepEqual(planned, [1101, 1404]);
  const text = await (await fetch(`${it.server.url}/metrics`)).text();
  const ratio = Number(/^irori_memory_used_of_plan_ratio (.*)$/m.exec(text)?.[1]);
  assert.equal(ratio, 9000 / (101 + 404));
  assert.match(text, /irori_model_plan_bytes\{model="B",item="weights"\} 1000/);
  assert.match(text, /irori_memory_bytes\{kind="private"\} 9500/);
});

test("a model that is not pinned closes when nobody used it for the time that is set", async () => {
  await using it = await serve({}, { closeAfterMs: 20 });
  await it.chat("A");
  for (let i = 0; i < 200 && it.host.unloads.length === 0; i++) await wait(5);
  assert.deepEqual(it.host.unloads, ["A"]);
  assert.equal((await it.chat("A")).body.irori.load.cause, "evicted");
});

test("who waits for a switch and leaves holds nobody up", async () => {
  await using it = await serve({ stepMs: 5 }, { budgetBytes: 1.5e6, mostSwitchWaitMs: 20 });
  const { residents } = it.server.serving;
  const first = await residents.use("A");
  const leaving = new AbortController();
  const b = residents.use("B", leaving.signal);
  await wait(40);
  const second = residents.use("A"); // behind B, which has waited too long
  await wait(20);
  leaving.abort();
  await assert.rejects(b);
  (await second)[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.deepEqual(it.host.loads, ["A"]);
});
