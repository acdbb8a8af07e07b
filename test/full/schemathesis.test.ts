// The OpenAPI document drives schemathesis over a server with a scripted engine: no 5xx but the documented 501 and 503, no hang, no leak.
// Wants schemathesis on the path, or its program in IRORI_SCHEMATHESIS.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { factsOfError } from "../../src/serve/http/errors.ts";
import { startServer } from "../../src/serve/mod.ts";
import { ScriptedHost } from "../setup/scripted-host.ts";

const program = process.env.IRORI_SCHEMATHESIS ?? "schemathesis";

test("2,000 requests made from /openapi.json: no 5xx but 501 and 503, nothing held afterwards", async (t) => {
  if (spawnSync(program, ["--version"]).error !== undefined)
    return t.skip(`${program} is not installed (python3 -m venv V && V/bin/pip install schemathesis)`);
  const host = new ScriptedHost();
  const statuses = new Map<number, number>();
  const counting = {
    watch: {},
    request: ({ status }: { readonly status: number }) => void statuses.set(status, (statuses.get(status) ?? 0) + 1),
    async [Symbol.asyncDispose]() {},
  };
  const failures: unknown[] = [];
  const onError = (_: string, error: unknown) => {
    const { status } = factsOfError(error);
    if (status !== 501 && status !== 503) failures.push(error);
  };
  const limits = { maxTokens: 64 };
  await using server = await startServer({
    host,
    models: ["one"],
    port: 0,
    version: "0",
    limits,
    watchers: [counting],
    onError,
  });
  const examples = process.env.IRORI_EXAMPLES ?? "400";
  // a model that is there, or most requests would end at the door
  const document = await (await fetch(`${server.url}/openapi.json`)).text();
  const folder = await mkdtemp(join(tmpdir(), "irori-openapi-"));
  const file = join(folder, "openapi.json");
  await writeFile(file, document.replaceAll('"model":{"type":"string"}', '"model":{"enum":["one"]}'));
  const args = ["run", file, "--url", server.url, "--checks", "not_a_server_error", "-n", examples];
  const more = ["--seed", "1", "--request-timeout", "20", "--phases", "fuzzing", "--generation-database", "none"];
  // a stream of events has no end: test/serve-events.test.ts reads it
  more.push("--exclude-path", "/irori/events");
  const child = spawn(program, [...args, ...more], { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  await new Promise((resolve) => child.once("exit", resolve));
  await rm(folder, { recursive: true });
  const all = [...statuses.values()].reduce((sum, count) => sum + count, 0);
  console.log(`${all} requests by status: ${JSON.stringify(Object.fromEntries(statuses))}`);
  if (process.env.IRORI_EXAMPLES === undefined) assert.ok(all >= 2000, said);
  assert.ok(!/ReadTimeout|Response timeout/i.test(said), said);
  const wrong = [...statuses.keys()].filter((status) => status >= 500 && status !== 501 && status !== 503);
  assert.deepEqual(wrong, [], String(failures[0] instanceof Error ? failures[0].stack : failures[0]));
  assert.equal(server.serving.lanes.state().free, server.serving.lanes.state().slots);
  assert.equal(host.running, 0);
  return undefined;
});
