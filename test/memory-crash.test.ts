// 18 and 24: what was acknowledged is there after kill -9, and processes that write together lose nothing.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { seededRandom } from "../src/base/mod.ts";
import { hashedEmbedder, idMaker, openSqlite } from "../src/memory/mod.ts";
import { COMPILED, crashRounds, startMemoryChild } from "./memory-crash.ts";

const root = mkdtempSync(join(tmpdir(), "irori-memory-crash-"));
after(() => {
  for (const folder of [root, COMPILED]) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});
const isFull = process.env.IRORI_FULL === "1";

const [files, rounds] = isFull ? [20, 50] : [2, 25];
test(`18: ${files * rounds} rounds of kill -9: nothing acknowledged is lost, nothing deleted is back, every invariant holds`, async (t) => {
  const one = async (i: number) => {
    const folder = join(root, `${i}`);
    mkdirSync(folder);
    return await crashRounds(folder, 100 + i, rounds);
  };
  for (let i = 0; i < files; i += 2)
    for (const { added, deleted } of await Promise.all([one(i), one(i + 1)])) {
      assert.ok(added > rounds && deleted > 0, `${added} added, ${deleted} deleted`);
      t.diagnostic(`${rounds} rounds: ${added} acknowledged, ${deleted} of them deleted again`);
    }
});

test("18: a thousand acknowledged, killed, opened again: a thousand rows, whole, and the nearest ten are those of a full comparison", async () => {
  const path = join(root, "thousand.db");
  const child = startMemoryChild("thousand", path, "7");
  await child.isOpen; // its first word comes after the last acknowledgement
  child.process.kill("SIGKILL");
  await child.end;
  await using store = await openSqlite({ path, embedder: hashedEmbedder, newId: idMaker(seededRandom(1)) });
  assert.equal((await store.stats("default")).episodes, 1_000);
  const found = await store.check({ repair: false });
  assert.ok(found.every(({ isFine }) => isFine) && found.some((one) => one.found === "integrity_check: ok"));
  const { items } = await store.listEpisodes("default", { limit: 1_000 });
  const vectors = (await store.vectorsOf(
    "default",
    items.map(({ id }) => id),
  )) as Float32Array[];
  for (const query of await hashedEmbedder.embed(["a bell of house 3", "the river", "stone 17", "lamp"])) {
    const cosine = (v: Float32Array) => v.reduce((sum, x, i) => sum + x * (query[i] as number), 0);
    const wanted = vectors
      .map(cosine)
      .sort((a, b) => b - a)
      .slice(0, 10);
    const [near = []] = await store.searchByVector("default", [query], { count: 10 });
    for (const [i, { score }] of near.entries()) assert.ok(Math.abs(score - (wanted[i] as number)) < 1e-6);
    assert.equal(near.length, 10);
  }
});

const writes = isFull ? 5_000 : 500;
test(`24: two processes x ${writes} writes are ${2 * writes} rows, and neither hears of the other`, async () => {
  const path = join(root, "two.db");
  const both = [1, 2].map((seed) => startMemoryChild("count", path, `${seed}`, `${writes}`));
  for (const { end } of both) assert.match(await end, new RegExp(`wrote ${writes}\n`));
  await using store = await openSqlite({ path, embedder: hashedEmbedder, newId: idMaker(seededRandom(1)) });
  assert.equal((await store.stats("default")).episodes, 2 * writes);
  assert.ok((await store.check({ repair: false })).every(({ isFine }) => isFine));
});

const noStrace = spawnSync("strace", ["-V"]).error !== undefined && "there is no strace here: apt-get install strace";
test("18: each acknowledgement comes after a sync of the log (strace)", { skip: noStrace }, () => {
  const [trace, path] = [join(root, "trace"), join(root, "synced.db")];
  const child = fileURLToPath(new URL("memory-writer-child.ts", import.meta.url));
  const calls = "trace=pwrite64,write,fsync,fdatasync";
  const args = ["-f", "-y", "-e", calls, "-o", trace, process.execPath, child, "count", path, "1", "20"];
  const { status, stderr } = spawnSync("strace", args, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  let isSynced = false;
  let told = 0;
  for (const line of readFileSync(trace, "utf8").split("\n")) {
    if (/pwrite64\(\d+<[^>]*synced\.db-wal>/.test(line)) isSynced = false;
    if (/f(data)?sync\(\d+<[^>]*synced\.db-wal>/.test(line)) isSynced = true;
    if (!/write\(1<.*"added /.test(line)) continue;
    told++;
    assert.ok(isSynced, `acknowledged before the sync: ${line}`);
    isSynced = false; // the next one needs its own
  }
  assert.equal(told, 20);
});
