// `irori memory` end to end, each command in a process of its own over one file: a user's week, and the same memory through an
// official MCP client beside a second process.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { bin, type CommandAt, commandAt } from "./setup/command.ts";
import { minilm } from "./setup/minilm.ts";
import { startPostgres } from "./setup/postgres.ts";

let folder: string;
let command: CommandAt;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "irori-memory-cli-"));
  command = commandAt(join(folder, "home"));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const memory = (...args: string[]) => command.json(["memory", ...args]);

test("a week: notes imported, asked with citations, a fact corrected, asked as of before, a person forgotten for good", () => {
  const notes = join(folder, "notes");
  mkdirSync(notes);
  writeFileSync(join(notes, "house.md"), "# House\n\nThe well is behind the barn. The roof was mended in May.\n");
  writeFileSync(join(notes, "people.md"), "Aki lives in Kyoto. Aki plays the violin.\n");
  assert.equal(memory("import", notes).files.length, 2);
  const { episodes } = memory("stats").namespaces[0];
  assert.equal(memory("import", notes).added, 0);
  assert.equal(memory("stats").namespaces[0].episodes, episodes);
  memory("add", "The hearth is lit at five in the morning.");
  memory("add", "Norbertine keeps the keys of the mill.");

  const asked = memory("ask", "When is the hearth lit?");
  assert.match(asked.text, /five in the morning.*\[1\]/);
  assert.equal(asked.isAbstained, false);
  assert.match(memory("ask", "Where is the well?").text, /behind the barn/);
  const [source] = asked.sources;
  assert.equal(memory("ask", "What does the dragon eat on Mars?").isAbstained, true);

  const moment = new Date().toISOString();
  memory("correct", source.id, "The hearth is lit at six in the morning.");
  assert.match(memory("ask", "When is the hearth lit?").text, /six in the morning/);
  assert.match(memory("ask", "When is the hearth lit?", "--as-of", moment).text, /five in the morning/);
  assert.equal(memory("history", source.id).history.length, 2);

  const file = () => readdirSync(join(folder, "home")).filter((name) => name.startsWith("memory.db"));
  const has = (word: string) => file().some((name) => readFileSync(join(folder, "home", name)).includes(word));
  assert.ok(has("Norbertine"));
  memory("forget", "--about", "Norbertine", "--yes");
  assert.ok(!has("Norbertine"), "nothing of a forgotten person is left in the file");
  assert.equal(JSON.stringify(memory("recall", "who keeps the keys of the mill")).includes("Norbertine"), false);
  assert.equal(memory("doctor").isWell, true);
});

test("notes are linked as they are imported, and a text that brings them together is an insight, told, listed and explained", () => {
  const own = commandAt(join(folder, "insight"));
  const told = (...args: string[]) => own.json(["memory", ...args]);
  told("import", join(import.meta.dirname, "../examples/notes"));
  assert.ok(told("stats").namespaces[0].links > 0);
  const ash = "Ash from Kenji's kiln sweetens the sour soil of Mariko's tea terrace.";
  const [silent] = told("add", "Kenji's kiln stands beside Mariko's well.", "--no-insight").remembered;
  assert.equal(silent.insight, undefined);
  told("forget", silent.id, "--yes");
  const [{ id, insight }] = told("add", ash).remembered;
  assert.ok(insight.id.length > 0);
  assert.deepEqual(
    told("insights").insights.map(({ text }: { text: string }) => text),
    [ash],
  );
  const why = told("why", id);
  assert.ok(why.isSame && why.hasFired && why.joins.length > 0);
});

test("an official MCP client remembers and asks over stdio, while another process adds to the same file", async () => {
  const client = new Client({ name: "test", version: "1" });
  const env = command.environment() as Record<string, string>;
  await client.connect(new StdioClientTransport({ command: process.execPath, args: [bin, "memory", "mcp"], env }));
  try {
    const { tools } = await client.listTools();
    assert.deepEqual(tools.map(({ name }) => name).sort(), ["ask", "forget", "recall", "remember", "stats", "why"]);
    const call = async (name: string, args: Record<string, unknown>) =>
      (await client.callTool({ name, arguments: args })).structuredContent as Record<string, never>;
    await call("remember", { text: "The violin is in the blue chest." });
    memory("add", "The blue chest stands in the attic.");
    const answer = (await call("ask", { question: "Where is the violin?" })) as unknown as { text: string };
    assert.match(answer.text, /blue chest/);
    const found = (await call("recall", { query: "attic" })) as unknown as {
      recalled: { episode: { text: string } }[];
    };
    assert.ok(found.recalled.some(({ episode }) => episode.text.includes("attic")));
    const bad = await client.callTool({ name: "why", arguments: { id: "nothing" } });
    assert.equal(bad.isError, true);
    const { resources } = await client.listResources();
    assert.ok(resources.some(({ uri }) => uri === "memory://episodes"));
  } finally {
    await client.close();
  }
});

test("a memory on Postgres: remembered, asked by the store's own embedder, given another embedder", async () => {
  await using server = await startPostgres();
  const store = ["--store", await server.newDatabase()];
  const { irori, json } = commandAt((await minilm()).home);
  const memory = (...args: string[]) => json(["memory", ...args, ...store]);
  assert.match(irori(["memory", "stats", ...store]).stderr, /no memory in postgres:/);
  memory("add", "The well is behind the barn.");
  const [from, to] = ["hashed-1", "all-minilm-l6-v2"];
  assert.equal(memory("stats").embedder.id, from);
  assert.deepEqual(memory("reindex", "--embedder", to), { embedded: 1, embedder: to });
  assert.equal(memory("stats").embedder.id, to);
  assert.match(memory("ask", "Where is the well?").text, /behind the barn/);
});

test("what cannot be is a sentence, and the memory is as it was", () => {
  const refused = (...args: string[]) => command.irori(["memory", ...args]);
  const known = memory("stats");
  assert.match(refused("add", " ").stderr, /empty|no text|word/i);
  assert.match(refused("why", "nothing").stderr, /nothing/);
  assert.match(refused("sing").stderr, /irori memory: got "sing", wanted add, ask/);
  assert.match(refused("recall", "x", "--as-of", "soon").stderr, /--as-of: got "soon", wanted a day/);
  writeFileSync(
    join(folder, "garbage.db"),
    "not a database, but a text that is long enough to be read as the first page of one".repeat(80),
  );
  assert.match(refused("stats", "--store", join(folder, "garbage.db")).stderr, /garbage\.db/);
  assert.deepEqual(memory("stats").namespaces, known.namespaces);
});
