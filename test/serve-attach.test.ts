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
import type { GeneratorEvent } from "../src/engine/mod.ts";
import { Attached, batchGenerator, type ServerError, type ServerRecord } from "../src/serve/attach/mod.ts";
import type { GenerateBody } from "../src/serve/http/native.ts";
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
  const batch = ["batch", model, "--input", input, "--max-tokens", "6", "--out"];
  const { answers, server } = command.json([...batch, there]);
  assert.deepEqual([answers, server], [9, url]);
  assert.equal(command.json([...batch, here, "--no-server"]).answers, 9);
  assert.equal(readFileSync(there, "utf8"), readFileSync(here, "utf8"));
  const { totals, loads } = command.json(["ps"]);
  assert.deepEqual([totals.batch.requests >= 9, loads], [true, { first: 1 }]);
  const cut = join(store.home, "cut.jsonl");
  const running = command.start(["batch", model, "--input", input, "--max-tokens", "400", "--out", cut]);
  running.stderr.resume();
  const ended = once(running, "exit");
  while (running.exitCode === null && !/"running":[1-9]/.test(JSON.stringify(command.json(["ps"]).lanes)))
    await wait(50);
  running.kill("SIGINT");
  assert.deepEqual(await ended, [130, null]);
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

/** Until the server has an answer under way, or a command has ended. */
async function untilAnswering(running: { readonly exitCode: number | null }): Promise<void> {
  while (running.exitCode === null && command.json(["ps"]).lanes.free === 2) await wait(50);
}

/** Answers one request after another, with a status and lines; what it was asked. */
async function standIn(answers: readonly (readonly [number, readonly object[]])[]) {
  const asked: GenerateBody[] = [];
  const server = createServer(async (request, response) => {
    asked.push(JSON.parse(await readAll(request)));
    const [status, lines] = answers[asked.length - 1] ?? [500, [refusal("internal")]];
    response.writeHead(status).end(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const record = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` } as ServerRecord;
  const attached = new Attached({ record, facts: {} as never }, model);
  return { asked, attached, [Symbol.asyncDispose]: async () => void server.close() };
}
const refusal = (code: string) => ({ error: { message: `told: ${code}`, code } });
const token = (id: number) => ({ type: "token", id, text: `t${id} ` });
const timings = { openMs: 0, prefillMs: 1, decodeMs: 1, firstTokenMs: 1, tokensPerSecond: 1 };
const ids = [1, 2, 3];
const end = { ...{ type: "end", text: "t1 t2 t3 ", ids, stop: "stop", seed: 1, timings }, about: {} };
const request = { prompt: { text: "Hi" }, seed: 1 };

test("a full lane and an engine that dies in the middle are waited for: each token comes once", async () => {
  await using it = await standIn([
    [429, [refusal("lane_full")]],
    [200, [token(1), token(2), refusal("engine_lost")]],
    [200, [...ids.map(token), end]],
  ]);
  const waits: string[] = [];
  const generator = batchGenerator(it.attached, {
    wait: async () => undefined,
    onWait: ({ message }) => waits.push(message),
  });
  const told: GeneratorEvent[] = [];
  for await (const event of generator.generate(request)) told.push(event);
  assert.deepEqual(
    told.map((event) => (event.type === "token" ? event.id : event.type)),
    [1, 2, 3, "end"],
  );
  const last = told.at(-1) as Extract<GeneratorEvent, { type: "end" }>;
  assert.deepEqual([last.text, last.ids, last.tokens, last.stop], ["t1 t2 t3 ", ids, 3, "stop"]);
  assert.deepEqual(
    it.asked.map(({ lane }) => lane),
    ["batch", "batch", "batch"],
  );
  assert.equal(waits.length, 1);
  assert.match(waits[0] ?? "", /told: lane_full/);
});

test("an engine that dies again and again under one answer is told; a cancel ends the waiting with what came", async () => {
  await using dying = await standIn(
    Array.from({ length: 9 }, () => [200, [token(1), refusal("engine_lost")]] as const),
  );
  const generator = batchGenerator(dying.attached, { wait: async () => undefined });
  await assert.rejects(async () => {
    for await (const _ of generator.generate(request));
  }, /told: engine_lost/);
  assert.equal(dying.asked.length, 3); // after the first no token came
  await using full = await standIn([[200, [token(1), refusal("lane_full")]]]);
  const stop = new AbortController();
  const wait = async () => {
    stop.abort();
    throw stop.signal.reason;
  };
  const told: GeneratorEvent[] = [];
  for await (const event of batchGenerator(full.attached, { wait }).generate(request, { signal: stop.signal }))
    told.push(event);
  const last = told.at(-1) as Extract<GeneratorEvent, { type: "end" }>;
  assert.deepEqual([last.stop, last.ids, last.text], ["cancelled", [1], "t1 "]);
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

test("an error keeps its kind, as a response and in a stream; a server that is gone is told from a request with a fault", async () => {
  const kinds: readonly (readonly [number, string, string])[] = [
    [503, "no_room", "no-room"],
    [503, "engine_lost", "busy"],
    [503, "busy", "busy"],
    [429, "lane_full", "busy"],
    [501, "unsupported", "unsupported"],
    [404, "not_found", "not-found"],
    [400, "context_length_exceeded", "no-room"],
    [500, "internal", "io"],
  ];
  for (const [status, code, wanted] of kinds) {
    await using it = await standIn([
      [status, [refusal(code)]],
      [200, [{ type: "started", promptTokens: 1 }, refusal(code)]],
    ]);
    for (let i = 0; i < 2; i++)
      await assert.rejects(
        async () => {
          for await (const _ of it.attached.generate(request));
        },
        (error: ServerError) => error.code === wanted && error.message.includes(`told: ${code}`) && !error.isGone,
        `${code}, ${i}`,
      );
  }
  const cut = await standIn([[200, [token(1)]]]);
  const reading = async () => {
    for await (const _ of cut.attached.generate(request));
  };
  await assert.rejects(reading, (error: ServerError) => error.isGone);
  await cut[Symbol.asyncDispose]();
  await assert.rejects(reading, (error: ServerError) => error.isGone && /does not answer/.test(error.message));
});

test("a line with a fault is an error of its own while a server answers the others; one that stops ends the command in order", async () => {
  await serve();
  const input = join(store.home, "faulty.txt");
  writeFileSync(input, `${JSON.stringify({ id: "long", prompt: "fire ".repeat(9000) })}\nName a colour.\n`);
  const out = join(store.home, "faulty.jsonl");
  const batch = ["batch", model, "--input", input, "--max-tokens", "3", "--out", out, "--json"];
  const { status, stdout } = command.irori(batch);
  assert.equal(status, 2);
  assert.deepEqual([JSON.parse(stdout).answers, JSON.parse(stdout).failed, JSON.parse(stdout).server], [2, 1, url]);
  assert.match(readFileSync(out, "utf8"), /^.*"line":1,"id":"long","error":\{"code":"no-room"/);
  const long = join(store.home, "long.jsonl");
  const running = command.start([
    "batch",
    model,
    "--input",
    input,
    "--min-tokens",
    "3000",
    "--max-tokens",
    "4000",
    "--out",
    long,
  ]);
  let said = "";
  running.stderr.on("data", (text: Buffer) => {
    said += text;
  });
  const ended = once(running, "exit");
  await untilAnswering(running);
  command.irori(["stop"]);
  assert.deepEqual(await ended, [7, null]);
  assert.match(
    said,
    /1 of 2 answers, 1 of them errors.*the same command goes on from here\n.*the server at http.*\n$/s,
  );
});
