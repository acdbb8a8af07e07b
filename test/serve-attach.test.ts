// Commands beside a running server: they ask it instead of loading again, and say so; `stop` ends it in order.
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { IroriError } from "../src/base/mod.ts";
import { Attached, type ServerRecord } from "../src/serve/attach/mod.ts";
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
