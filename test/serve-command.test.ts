// `irori serve` as a command: presets without and with models, the plan and the lines to try, keys of the environment, SIGTERM.
import assert from "node:assert/strict";
import { execSync, type spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import OpenAI from "openai";
import { commandAt } from "./setup/command.ts";
import { ownHome } from "./setup/own-home.ts";
import { smollm2 } from "./setup/smollm2.ts";

/** What it says until a line that matches. */
async function until(child: ReturnType<typeof spawn>, last: RegExp): Promise<string> {
  let said = "";
  while (!last.test(said)) said += String((await once(child.stdout as NodeJS.ReadableStream, "data"))[0]);
  return said;
}

test("--preset quick_experiment serves mocks and hashed vectors without any model; SIGTERM ends it with exit 0", async () => {
  const home = mkdtempSync(join(tmpdir(), "irori-serve-"));
  const command = commandAt(home);
  const server = command.start(["serve", "--preset", "quick_experiment", "--port", "0", "--json"]);
  server.stderr.resume();
  const { url, models } = JSON.parse(await until(server, /\n/));
  assert.deepEqual(
    models.map(({ model }: { model: string }) => model),
    ["mock", "mock:echo", "hashed"],
  );
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none" });
  const messages = [{ role: "user" as const, content: "say it again" }];
  const answer = await client.chat.completions.create({ model: "mock:echo", messages });
  assert.equal(answer.choices[0]?.message.content, "say it again");
  const given = await client.chat.completions.create({ model: "mock", messages });
  assert.match(given.choices[0]?.message.content ?? "", /no model was asked/);
  const { data } = await client.embeddings.create({ model: "hashed", input: ["a hearth"] });
  assert.ok((data[0]?.embedding.length ?? 0) > 100);
  const gone = once(server, "exit");
  server.kill("SIGTERM");
  assert.deepEqual(await gone, [0, null]);
  rmSync(home, { recursive: true });
});

test("serve MODEL starts, warms, prints the plan, the addresses and a curl line that works", async () => {
  using store = ownHome((await smollm2()).home);
  const server = commandAt(store.home).start(["serve", "smollm2-135m", "--port", "0", "--slots", "2"]);
  server.stderr.resume();
  const said = await until(server, /Ctrl-C stops/);
  assert.match(
    said,
    /^smollm2-135m {2}weights [\d.]+ MB mapped \+ programs and vocabulary .* KV of 30 layers, 4,096 tokens .* = /,
  );
  assert.match(said, /\n2 answers at once\n/);
  assert.match(said, /\nOpenAI {3}http:\/\/127\.0\.0\.1:\d+\/v1\nOllama {3}http/);
  const curl = /^curl .*$/m.exec(said)?.[0] ?? "";
  const answer = JSON.parse(execSync(`${curl.replace("curl", "curl -s")}`, { encoding: "utf8" }));
  assert.equal(answer.object, "chat.completion");
  assert.equal(answer.irori.load, undefined, "it is warm: nobody waits for a load");
  const gone = once(server, "exit");
  server.kill("SIGTERM");
  assert.deepEqual(await gone, [0, null]);
});

test("keys may stand in IRORI_KEYS; an address that others reach wants one", async () => {
  const home = mkdtempSync(join(tmpdir(), "irori-serve-"));
  const command = commandAt(home);
  const open = ["serve", "--preset", "quick_experiment", "--host", "0.0.0.0", "--port", "0"];
  assert.equal(command.irori(open).status, 2);
  const short = command.irori(open, { env: { IRORI_KEYS: "night=short" } });
  assert.match(short.stderr, /IRORI_KEYS.*8 characters or more/);
  assert.doesNotMatch(short.stderr, /short/);
  const quick = ["serve", "--preset", "quick_experiment", "--port", "0", "--json"];
  const server = command.start(quick, { env: { IRORI_KEYS: "night=night-secret" } });
  server.stderr.resume();
  const { url } = JSON.parse(await until(server, /\n/));
  const asked = (headers: Record<string, string>) => fetch(`${url}/v1/models`, { headers });
  assert.equal((await asked({})).status, 401);
  assert.equal((await asked({ authorization: "Bearer night-secret" })).status, 200);
  const gone = once(server, "exit");
  server.kill("SIGTERM");
  assert.deepEqual(await gone, [0, null]);
  rmSync(home, { recursive: true });
});

test("callers of the settings file: each has the lanes, namespaces and quota that stand there, its key in the environment", async () => {
  const home = mkdtempSync(join(tmpdir(), "irori-serve-"));
  const command = commandAt(home);
  const callers = { tom: { keyVariable: "TOM_KEY", lanes: ["batch"], namespaces: ["notes"], perMinute: 4 } };
  writeFileSync(join(home, "settings.json"), JSON.stringify({ callers }));
  const quick = ["serve", "--preset", "quick_experiment", "--port", "0"];
  assert.match(command.irori(quick).stderr, /the key of tom.*TOM_KEY/);
  const twice = command.irori([...quick, "--key", "tom=another-secret"], { env: { TOM_KEY: "toms-secret" } });
  assert.match(twice.stderr, /two of tom/);
  const server = command.start([...quick, "--json"], { env: { TOM_KEY: "toms-secret" } });
  server.stderr.resume();
  const { url } = JSON.parse(await until(server, /\n/));
  const post = async (path: string, body: object) => {
    const headers = { authorization: "Bearer toms-secret" };
    return (await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) })).status;
  };
  const messages = [{ role: "user", content: "Hi" }];
  const statuses = [
    await post("/v1/chat/completions", { messages }),
    await post("/v1/chat/completions", { messages, lane: "interactive" }),
    await post("/irori/memory/recall", { namespace: "notes", query: "hearth" }),
    await post("/irori/memory/recall", { namespace: "others", query: "hearth" }),
    await post("/v1/chat/completions", { messages }),
  ];
  assert.deepEqual(statuses, [200, 403, 200, 403, 429]);
  const gone = once(server, "exit");
  server.kill("SIGTERM");
  assert.deepEqual(await gone, [0, null]);
  rmSync(home, { recursive: true });
});
