// Commands beside a running server: they ask it instead of loading again, and say so; `stop` ends it in order.
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text as readAll } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { IroriError } from "../src/base/mod.ts";
import { Attached, batchGenerator, type ServerRecord } from "../src/serve/attach/mod.ts";
import { type CommandAt, commandAt } from "./setup/command.ts";
import { ownHome } from "./setup/own-home.ts";
import { smollm2 } from "./setup/smollm2.ts";

const model = "smollm2-135m";
let store: ReturnType<typeof ownHome>;
let command: CommandAt;
let server: ReturnType<CommandAt["start"]>;
let url = "";

async function serve(...more: string[]): Promise<void> {
  server = command.start(["serve", model, "--port", "0", "--slots", "2", "--json", ...more]);
  server.stderr.resume();
  const [line] = (await once(server.stdout, "data")) as [Buffer];
  ({ url } = JSON.parse(line.toString()));
}
before(async () => {
  store = ownHome((await smollm2()).home);
  command = commandAt(store.home);
  await serve("--key", "somebody=some-secret");
});
after(() => {
  server?.kill("SIGKILL");
  store?.[Symbol.dispose]();
});

const ask = ["run", model, "Name three fruits.", "--seed", "3", "--max-tokens", "8", "--logprobs", "2"];

test("run asks the server, with the same tokens, chances and form of answer as it gives itself, and loads nothing", () => {
  const there = command.json(ask);
  const here = command.json([...ask, "--no-server"]);
  assert.equal(there.server, url);
  assert.equal(here.server, undefined);
  assert.deepEqual(there.ids, here.ids);
  for (const name of ["text", "promptTokens", "hasBos", "stop", "seed"]) assert.equal(there[name], here[name], name);
  assert.deepEqual(Object.keys(there), [...Object.keys(here), "server"]);
  assert.deepEqual(
    there.logprobs.map(({ id }: { id: number }) => id),
    here.logprobs.map(({ id }: { id: number }) => id),
  );
  assert.ok(Math.abs(there.logprobs[0].logprob - here.logprobs[0].logprob) < 1e-4);
  const raw = ["run", model, "<|im_start|>user\nHi", "--raw", "--temperature", "0", "--max-tokens", "4"];
  assert.equal(command.json(raw).promptTokens, command.json([...raw, "--no-server"]).promptTokens);
  assert.deepEqual(command.json(["ps"]).loads, { first: 1 });
});

test("a line says who answered; what only weights at hand can give, or another form, is opened here", () => {
  const told = command.irori(ask.slice(0, 7));
  assert.match(told.stderr, /^irori: answered by the server at http:\/\/127\.0\.0\.1:\d+ \(process \d+\)/);
  assert.equal(command.irori([...ask.slice(0, 7), "--no-server"]).stderr, "");
  const other = command.irori([...ask.slice(0, 7), "--kv", "int8"]);
  assert.match(other.stderr, /computes otherwise .*; opened here/);
  assert.equal(other.status, 0);
});

test("embed gets the same vectors from the server", () => {
  const texts = ["embed", model, "a hearth", "a fire that never goes out"];
  const there = command.json(texts);
  const here = command.json([...texts, "--no-server"]);
  assert.deepEqual(Object.keys(there), Object.keys(here));
  for (const [i, vector] of here.embeddings.entries())
    for (const [j, x] of vector.entries()) assert.ok(Math.abs(there.embeddings[i][j] - x) < 1e-5);
});

test("batch asks the server in the batch lane: the same file, byte by byte, as it makes itself; Ctrl-C is no fault of a line", async () => {
  const input = join(store.home, "prompts.txt");
  writeFileSync(input, 'Name a colour.\nName a fruit.\n{"prompt":"Say hi","maxTokens":3,"id":"x"}\n'.repeat(3));
  const [there, here] = ["there", "here"].map((name) => join(store.home, `${name}.jsonl`)) as [string, string];
  const batch = ["batch", model, "--input", input, "--max-tokens", "6", "--logprobs", "1", "--out"];
  const { answers, server } = command.json([...batch, there]);
  assert.deepEqual([answers, server], [9, url]);
  assert.equal(command.json([...batch, here, "--no-server"]).answers, 9);
  assert.equal(readFileSync(there, "utf8"), readFileSync(here, "utf8"));
  const { totals, loads } = command.json(["ps"]);
  assert.deepEqual([totals.batch.requests >= 9, loads], [true, { first: 1 }]);
  const cut = join(store.home, "cut.jsonl");
  const running = command.start(["batch", model, "--input", input, "--max-tokens", "400", "--out", cut]);
  running.stderr.resume();
  while (command.json(["ps"]).lanes.running === 0) await wait(50);
  running.kill("SIGINT");
  assert.deepEqual(await once(running, "exit"), [130, null]);
  assert.doesNotMatch(readFileSync(cut, "utf8"), /error/);
});

test("summarize asks the server, and what it wrote is there when the command opens the model itself", () => {
  const text = join(store.home, "text.txt");
  writeFileSync(
    text,
    "The fire is lit in the morning. Bread is baked at noon. At night the embers are covered with ash.\n",
  );
  const summarize = ["summarize", text, "--model", model, "--bullets", "1"];
  const there = command.json(summarize);
  assert.deepEqual(Object.keys(there), ["id", "title", "bullets", "report", "server"]);
  assert.equal(there.report.keptAnswers, 0);
  const here = command.json([...summarize, "--no-server"]);
  assert.ok(here.report.keptAnswers > 0);
  assert.deepEqual([here.title, here.bullets], [there.title, there.bullets]);
  assert.deepEqual(command.json(["ps"]).loads, { first: 1 });
});

test("a full lane and an engine that dies in the middle are waited for: each token comes once", async () => {
  const token = (id: number) => JSON.stringify({ type: "token", id, text: `t${id} ` });
  const timings = { openMs: 0, prefillMs: 1, decodeMs: 1, firstTokenMs: 1, tokensPerSecond: 1 };
  const end = JSON.stringify({ type: "end", text: "t1 t2 t3 ", ids: [1, 2, 3], stop: "stop", seed: 1, timings });
  const lost = JSON.stringify({ error: { message: "it is gone", code: "engine_lost" } });
  const answers: readonly (readonly [number, readonly string[]])[] = [
    [429, [JSON.stringify({ error: { message: "full", code: "lane_full" } })]],
    [200, [token(1), token(2), lost]],
    [200, [token(1), token(2), token(3), end]],
  ];
  const asked: string[] = [];
  const standIn = createServer(async (request, response) => {
    asked.push(await readAll(request));
    const [status, lines] = answers[asked.length - 1] ?? [500, []];
    response.writeHead(status).end(lines.map((line) => `${line}\n`).join(""));
  });
  await new Promise<void>((resolve) => standIn.listen(0, "127.0.0.1", resolve));
  const record = { url: `http://127.0.0.1:${(standIn.address() as AddressInfo).port}` } as ServerRecord;
  const generator = batchGenerator(new Attached({ record, facts: {} as never }, model));
  const told: (number | string | undefined)[] = [];
  for await (const event of generator.generate({ prompt: { text: "Hi" }, seed: 1 }))
    told.push(event.type === "token" ? event.id : event.type);
  assert.deepEqual(told, [1, 2, 3, "end"]);
  assert.deepEqual(
    asked.map((body) => JSON.parse(body).lane),
    ["batch", "batch", "batch"],
  );
  standIn.close();
});

test("ps and top find it; top tells lanes, rates, loads and memory, and its text ends with --once", async () => {
  const looked = command.start(["top", "--once", "--json", "--interval", "1.5"]);
  const busy = command.start(["run", model, "Count to a hundred.", "--seed", "1", "--max-tokens", "60"]);
  const ended = once(busy, "exit");
  busy.stdout.resume();
  const [line] = (await once(looked.stdout, "data")) as [Buffer];
  await ended;
  const top = JSON.parse(line.toString());
  assert.equal(top.url, url);
  assert.equal(top.lanes.slots, 2);
  assert.deepEqual(top.loads, { first: 1 });
  assert.ok(top.memory.privateBytes > 0 && top.uptime_s >= 0);
  assert.equal(typeof top.rates.interactive.tokensPerSecond, "number");
  const text = command.irori(["top", "--once", "--interval", "0.1"]);
  assert.equal(text.status, 0, text.stderr);
  assert.match(
    text.stdout,
    /LANE +RUNNING +WAITING[\s\S]*interactive[\s\S]*batch[\s\S]*smollm2-135m[\s\S]*loads +1 first/,
  );
  assert.ok(command.json(["ps"]).totals.interactive.tokens >= 60);
});

test("its record can be read by its owner alone; a wrong key is refused", async () => {
  const folder = join(store.home, "servers");
  const [name = ""] = readdirSync(folder);
  assert.equal(statSync(join(folder, name)).mode & 0o077, 0);
  assert.equal((await fetch(`${url}/irori/server`)).status, 401);
  assert.equal(command.irori(["ps", "--url", url, "--key", "another-secret"]).status, 7);
});

test("stop ends it in order: exit 0, its record gone; then run opens the model itself, and stop finds none", async () => {
  const gone = once(server, "exit");
  const { stopped } = command.json(["stop"]);
  assert.equal(stopped[0].url, url);
  assert.deepEqual(await gone, [0, null]);
  assert.deepEqual(readdirSync(join(store.home, "servers")), []);
  assert.equal(command.json(ask).server, undefined);
  assert.equal(command.irori(["stop"]).status, 4);
  assert.equal(command.irori(["ps"]).status, 4);
});

test("a record whose process is gone is removed; one whose port another program has taken gets no prompt", async () => {
  const folder = join(store.home, "servers");
  mkdirSync(folder, { recursive: true });
  const asked: string[] = [];
  const stranger = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.end(JSON.stringify({ pid: 1, models: [model], open: [model] }));
  });
  await new Promise<void>((resolve) => stranger.listen(0, "127.0.0.1", resolve));
  const record = { url: `http://127.0.0.1:${(stranger.address() as AddressInfo).port}`, version: "0", computes: "{}" };
  writeFileSync(join(folder, "999999999.json"), JSON.stringify({ ...record, pid: 999_999_999 }));
  writeFileSync(join(folder, `${process.pid}.json`), JSON.stringify({ ...record, pid: process.pid }));
  const run = command.start([...ask.slice(0, 7), "--json"]);
  const [line] = (await once(run.stdout, "data")) as [Buffer];
  stranger.close();
  assert.equal(JSON.parse(line.toString()).server, undefined);
  assert.deepEqual(asked, ["GET /irori/server"]);
  assert.ok(!existsSync(join(folder, "999999999.json")));
});

test("a refusal keeps its kind: no room is that, an engine that died or a server that stops is busy", async () => {
  const answers: readonly (readonly [number, string, string])[] = [
    [503, "no_room", "no-room"],
    [503, "engine_lost", "busy"],
    [429, "lane_full", "busy"],
    [501, "unsupported", "unsupported"],
    [404, "not_found", "not-found"],
  ];
  for (const [status, code, wanted] of answers) {
    const body = JSON.stringify({ error: { message: `told: ${code}`, code } });
    const standIn = createServer((_, response) => void response.writeHead(status).end(body));
    await new Promise<void>((resolve) => standIn.listen(0, "127.0.0.1", resolve));
    const record = { url: `http://127.0.0.1:${(standIn.address() as AddressInfo).port}` } as ServerRecord;
    const asked = new Attached({ record, facts: {} as never }, model).embed(["a text"]);
    await assert.rejects(
      asked,
      (error: IroriError) => error.code === wanted && error.message.includes(`told: ${code}`),
    );
    standIn.close();
  }
});
