// Summaries over HTTP and in processes of their own: with progress, as jobs, many at once, killed in the middle; and what is not fetched.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as readAll } from "node:stream/consumers";
import { after, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { fetchText, type RunningServer, type ServerOptions, type Summary, startServer } from "../src/serve/mod.ts";
import { isInside } from "../src/serve/summaries/fetch-text.ts";
import { factsText } from "./setup/facts.ts";
import { type Script as HostScript, ScriptedHost } from "./setup/scripted-host.ts";
import { honest, type Script, seenOf } from "./setup/scripted-writer.ts";

const folder = mkdtempSync(join(tmpdir(), "irori-summaries-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const scripted = (script: Script, more: HostScript = {}) =>
  new ScriptedHost({ ...more, answer: (prompt, schema) => script(seenOf(prompt, schema)) });
const starting = (host: ScriptedHost, options: Partial<ServerOptions> = {}): Promise<RunningServer> =>
  startServer({ host, models: ["one"], port: 0, version: "0", lanes: { slots: 4 }, ...options });
async function post(url: string, body: object) {
  const response = await fetch(`${url}/irori/summaries`, { method: "POST", body: JSON.stringify(body) });
  // biome-ignore lint/suspicious/noExplicitAny: tests say what they expect of it
  return { status: response.status, told: (await response.json()) as any };
}

test("a text is summarised in the batch lane with its account; unknown fields are named", async () => {
  await using server = await starting(scripted(honest));
  const { text } = factsText(200, 1);
  const { status, told } = await post(server.url, { text, chunk_tokens: 400, bullets: 5, colour: "red" });
  assert.equal(status, 200);
  const { report, bullets } = told as Summary;
  assert.equal(
    Object.values(report.coverage).reduce((sum, bytes) => sum + bytes, 0),
    Buffer.byteLength(text),
  );
  assert.ok(report.chunks.length > 3 && bullets.length > 0);
  assert.deepEqual([told.lane, told.warnings], ["batch", ["colour is not known here and was ignored"]]);
  assert.match(
    await (await fetch(`${server.url}/metrics`)).text(),
    /irori_generation_tokens_total\{lane="batch"\} [1-9]/,
  );
  for (const body of [{}, { text: "a", documents: [] }, { text: "" }, { text: "a", bullets: 0 }])
    assert.equal((await post(server.url, body)).status, 400);
});

test("with stream, progress comes as events, the summary last; a reader who leaves frees its slots", async () => {
  const host = scripted(honest, { stepMs: 2 });
  await using server = await starting(host);
  const { text } = factsText(200, 2);
  const leaving = new AbortController();
  const ask = (signal?: AbortSignal) =>
    fetch(`${server.url}/irori/summaries`, {
      method: "POST",
      signal: signal ?? null,
      body: JSON.stringify({ text, chunk_tokens: 400, stream: true }),
    });
  const events = (await (await ask()).text())
    .split("\n\n")
    .flatMap((line) => (line.startsWith("data: ") ? [line.slice(6)] : []));
  assert.equal(events.at(-1), "[DONE]");
  const parsed = events.slice(0, -1).map((event) => JSON.parse(event));
  assert.ok(parsed.filter(({ type }) => type === "progress").length > 4);
  assert.deepEqual(parsed.at(-1)?.type, "summary");
  const other = await fetch(`${server.url}/irori/summaries`, {
    ...{ method: "POST", signal: leaving.signal },
    body: JSON.stringify({ text: factsText(900, 3).text, chunk_tokens: 400, stream: true }),
  });
  await other.body?.getReader().read();
  while (host.running === 0) await wait(2);
  leaving.abort();
  for (let i = 0; i < 200 && (host.running > 0 || server.serving.lanes.state().free < 4); i++) await wait(5);
  assert.deepEqual([host.running, server.serving.lanes.state().free], [0, 4]);
});

test("check 31: 50 documents of which 3 fail over HTTP: 47 and 3, each once; 30 at once against a lane of depth 10 lose none", async () => {
  const script: Script = (seen) => (seen.items.some(({ text }) => text.includes("POISON")) ? "no" : honest(seen));
  await using server = await starting(scripted(script), {
    lanes: { slots: 2, reserved: { interactive: 0, batch: 0 }, queue: { interactive: 10, batch: 10 } },
  });
  const documents = Array.from({ length: 50 }, (_, i) => ({
    id: `d${i}`,
    text: i % 17 === 5 ? "POISON it is, all of it." : factsText(5, i).text,
  }));
  const { told } = await post(server.url, { documents });
  assert.deepEqual(
    [told.responses.length, told.errors.map(({ id }: { id: string }) => id)],
    [47, ["d5", "d22", "d39"]],
  );
  const all = await Promise.all(
    documents.slice(0, 30).map(({ text }) => post(server.url, { text: text.replaceAll("POISON", "Oil") })),
  );
  assert.ok(all.every(({ status, told: { report } }) => status === 200 && !report.isDegraded));
});

test("check 30: a schema's pattern that a grammar would break on is a 400 that names it", async () => {
  const host = scripted(honest);
  await using server = await starting(host);
  for (const pattern of ["a\\-b", "(?=a)b"]) {
    const schema = { type: "object", properties: { a: { type: "string", pattern } } };
    const messages = [{ role: "user", content: "x" }];
    const tools = [{ type: "function", function: { name: "f", parameters: schema } }];
    for (const [path, body] of [
      ["/v1/chat/completions", { messages, response_format: { type: "json_schema", json_schema: { schema } } }],
      ["/v1/chat/completions", { messages, tools, tool_choice: "required" }],
      ["/v1/responses", { input: "x", text: { format: { type: "json_schema", name: "a", schema } } }],
      ["/api/chat", { model: "one", messages, format: schema }],
      ["/api/generate", { model: "one", prompt: "x", format: schema }],
    ] as const) {
      const response = await fetch(server.url + path, { method: "POST", body: JSON.stringify(body) });
      assert.equal(response.status, 400, path);
      assert.match(await response.text(), /properties\.a\.pattern cannot be enforced/);
    }
  }
  assert.equal(host.started, 0);
});

test("a summary is a job too, and tells how far it is", async () => {
  await using server = await starting(scripted(honest, { stepMs: 1 }));
  const body = { url: "/irori/summaries", body: { text: factsText(300, 4).text, chunk_tokens: 400 } };
  const { id } = (await (
    await fetch(`${server.url}/irori/jobs`, { method: "POST", body: JSON.stringify(body) })
  ).json()) as { id: string };
  let progress: unknown;
  for (;;) {
    // biome-ignore lint/suspicious/noExplicitAny: tests say what they expect of it
    const job = (await (await fetch(`${server.url}/irori/jobs/${id}`)).json()) as any;
    progress ??= job.progress;
    if (job.status === "done") {
      assert.equal(job.response.body.report.isDegraded, false);
      break;
    }
    assert.notEqual(job.status, "failed", JSON.stringify(job));
    await wait(5);
  }
  assert.equal((progress as { step: string }).step, "summarize");
});

test("check 28: killed at more than half of the parts, a second process asks for the rest only", async () => {
  const [source, workFile, log] = [join(folder, "source.txt"), join(folder, "parts.db"), join(folder, "log")];
  writeFileSync(source, factsText(700, 5).text);
  const script = fileURLToPath(new URL("./setup/summarize-child.ts", import.meta.url));
  const run = (): ChildProcess =>
    spawn(process.execPath, [script, source, workFile, log], { stdio: ["ignore", "pipe", "inherit"] });
  const asked = () => (existsSync(log) ? readFileSync(log, "utf8").split("\n").length - 1 : 0);
  const first = run();
  while (asked() < 14) await wait(5);
  first.kill("SIGKILL");
  await once(first, "exit");
  const before = asked();
  const second = run();
  const { report } = JSON.parse(await readAll(second.stdout as NonNullable<ChildProcess["stdout"]>)) as Summary;
  const parts = report.chunks.length;
  assert.ok(parts >= 20 && before >= parts * 0.5 && before < parts, `${before} of ${parts}`);
  const kept = report.chunks.filter(({ wasKept }) => wasKept).length;
  assert.ok(kept >= before - 2, "only the two that were being written are lost");
  const calls = report.stages.reduce((sum, stage) => sum + stage.calls, 0);
  assert.equal(asked() - before, calls - report.keptAnswers);
  assert.equal(report.isDegraded, false);
});

test("nothing is fetched for a caller unless the server was told to, and then no address of this machine or of a private network", async () => {
  const page = createServer((request, response) => {
    if (request.url === "/away") response.writeHead(302, { location: "/page" }).end();
    else
      response
        .writeHead(200, { "content-type": "text/html" })
        .end("<html><title>T</title><p>The depot holds oil.</p><script>no()</script></html>");
  });
  await once(page.listen(0, "127.0.0.1"), "listening");
  const here = `http://127.0.0.1:${(page.address() as AddressInfo).port}`;
  try {
    await using shut = await starting(scripted(honest));
    assert.equal((await post(shut.url, { url: here })).status, 403);
    await using open = await starting(scripted(honest), { mayFetch: true });
    for (const url of [
      here,
      here.replace("127.0.0.1", "localhost"),
      here.replace("127.0.0.1", "[::ffff:127.0.0.1]"),
      "http://10.0.0.1/",
      "http://[::1]/",
      "http://169.254.169.254/",
    ])
      assert.match(JSON.stringify(await post(open.url, { url })), /"status":400.*no public address/, url);
    assert.equal((await post(open.url, { url: "file:///etc/passwd" })).status, 400);
    // on the command line whoever calls knows what they name
    assert.equal((await fetchText(`${here}/away`, { isPublicOnly: false })).text, "The depot holds oil.");
  } finally {
    page.close();
  }
  const inside =
    "127.0.0.1 10.1.2.3 172.31.0.1 192.168.1.1 169.254.1.1 100.64.0.1 0.0.0.0 ::1 fe80::1 fd00::1 ::ffff:10.0.0.1 ::ffff:7f00:1".split(
      " ",
    );
  assert.deepEqual(
    inside.filter((address) => !isInside(address)),
    [],
  );
  assert.deepEqual("8.8.8.8 172.32.0.1 2606:4700::1111 ::ffff:8.8.8.8".split(" ").filter(isInside), []);
});
