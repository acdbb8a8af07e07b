// What a store says when the machine is against it: a sentence, nothing of the failed write kept, and the store usable after.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { seededRandom } from "../src/base/mod.ts";
import { type DataStore, hashedEmbedder, idMaker, Memory, openSqlite } from "../src/memory/mod.ts";

const folder = mkdtempSync(join(tmpdir(), "irori-memory-accidents-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const child = fileURLToPath(new URL("memory-writer-child.ts", import.meta.url));
const newId = idMaker(seededRandom(1));
const open = (path: string, patienceMs?: number): Promise<DataStore> =>
  openSqlite({ path, embedder: hashedEmbedder, newId, patienceMs });
const [vector] = (await hashedEmbedder.embed(["a text"])) as [Float32Array];
const add = (store: DataStore, text: string) => store.addEpisodes("default", [{ text, vector, recordedAt: 1 }]);

async function filled(name: string, count: number): Promise<string> {
  const path = join(folder, name);
  await using store = await open(path);
  const texts = Array.from({ length: count }, (_, i) => `The ${i}th text of many about a river and its ${i} stones.`);
  const vectors = await hashedEmbedder.embed(texts);
  const episodes = texts.map((text, i) => ({ text, vector: vectors[i] as Float32Array, recordedAt: i }));
  await store.addEpisodes("default", episodes);
  return path;
}

async function isWell(path: string): Promise<number> {
  await using store = await open(path);
  const wrong = (await store.check({ repair: false })).filter(({ isFine }) => !isFine);
  assert.deepEqual(wrong, []);
  await add(store, `still usable ${path}`);
  return (await store.stats("default")).episodes;
}

test("a write that no longer fits on the disk is a sentence, and all that was acknowledged is there", async () => {
  const path = await filled("full.db", 20);
  // the limit is that of any file of the process, in blocks of 512 bytes; without the trap the signal would end it
  const blocks = Math.ceil(statSync(path).size / 512) + 400;
  const script = `trap '' XFSZ; ulimit -f ${blocks}; exec "$0" "$@"`;
  const { stdout, stderr, status } = spawnSync(
    "sh",
    ["-c", script, process.execPath, child, "count", path, "7", "100000"],
    { encoding: "utf8", env: { ...process.env, NODE_COMPILE_CACHE: "" } },
  );
  assert.equal(status, 1, stdout.slice(-200));
  assert.match(stderr, /IoError.*nothing of this write was kept/s);
  assert.doesNotMatch(stderr, /SQLITE_/);
  const acknowledged = stdout.match(/^added /gm)?.length ?? 0;
  assert.ok(acknowledged > 0);
  assert.equal(await isWell(path), 20 + acknowledged + 1);
});

test("a file that cannot be written says so", {
  skip: process.getuid?.() !== 0 && "only root can become somebody else",
}, async () => {
  const path = await filled("read-only.db", 5);
  chmodSync(path, 0o444);
  chmodSync(folder, 0o755);
  const { stderr, status } = spawnSync(process.execPath, [child, "count", path, "1", "3"], {
    ...{ uid: 65_534, gid: 65_534, encoding: "utf8", cwd: tmpdir() },
  });
  assert.equal(status, 1, stderr);
  assert.match(stderr, /IoError.*check that the file and its folder can be written/s);
  assert.doesNotMatch(stderr, /SQLITE_/);
  chmodSync(path, 0o644);
  assert.equal(await isWell(path), 6);
});

test("who waits too long for another's write is told whose it is", async () => {
  const path = await filled("locked.db", 1);
  await using holder = await open(path);
  await using waiting = await open(path, 200);
  const { promise: end, resolve: finish } = Promise.withResolvers<void>();
  const { promise: isHeld, resolve: hold } = Promise.withResolvers<void>();
  const held = holder.transaction(async (inside) => {
    await add(inside, "held");
    hold();
    await end;
  });
  await isHeld;
  try {
    await assert.rejects(add(waiting, "too late"), (error: Error & { code?: string }) => {
      assert.equal(error.code, "busy");
      assert.match(error.message, new RegExp(`\\b${process.pid}\\b`));
      assert.doesNotMatch(error.message, /SQLITE/);
      return true;
    });
    assert.equal((await waiting.stats("default")).episodes, 1, "readers do not wait");
  } finally {
    finish(); // a store that is being written to does not close
  }
  await held;
  assert.equal(await isWell(path), 3);
});

test("a damaged page is told and never read as truth; what is no store is refused", async () => {
  const path = await filled("damaged.db", 3_000);
  const pages = statSync(path).size / 4_096;
  const file = openSync(path, "r+");
  for (let page = 20; page < pages; page += 3) writeSync(file, Buffer.alloc(4_000, 0xa5), 0, 4_000, page * 4_096);
  closeSync(file);
  const said = await (async () => {
    await using store = await open(path);
    const found = await store.check({ repair: false });
    return found
      .filter(({ isFine }) => !isFine)
      .map(({ found: what }) => what)
      .join("; ");
  })().catch((error: Error & { code?: string }) => `${error.code}: ${error.message}`);
  assert.match(said, /backup/);
  const text = join(folder, "text.db");
  const written = openSync(text, "w");
  writeSync(written, "This is a letter and no store, however long it may become. ".repeat(100));
  closeSync(written);
  await assert.rejects(open(text), { code: "bad-file" });
});

test("an agent's bad input is a sentence, and the memory goes on", async () => {
  const path = join(folder, "input.db");
  await using store = await open(path);
  const memory = new Memory({ store, embedder: hashedEmbedder, now: () => 1_000, random: seededRandom(1) });
  await memory.remember("The kettle hangs over the hearth.");
  const sentences: [() => Promise<unknown>, RegExp][] = [
    [() => memory.remember(" "), /empty/],
    [() => memory.remember("half \ud83d"), /Unicode/],
    [() => memory.why("nobody"), /nobody/],
    [() => memory.correct("nobody", "x"), /nobody/],
    [() => memory.split("nobody"), /nobody/],
    [() => memory.forget({}), /nothing named/],
    [() => memory.recall(""), /empty|a query/],
    [() => memory.store.searchByVector("default", [new Float32Array(3)], { count: 1 }), /3 numbers/],
    [() => memory.store.searchByVector("default", [new Float32Array(384).fill(Number.NaN)], { count: 1 }), /NaN/],
  ];
  for (const [call, message] of sentences) await assert.rejects(async () => call(), message);
  const long = "A sentence about stones and rivers. ".repeat(9_000);
  const pieces = await memory.remember(long, { insight: false });
  assert.ok(pieces.length > 1);
  assert.match((await memory.ask("What hangs over the hearth?")).text, /kettle/);
});
