// 22: what grows with the number of episodes and what must not. Small here, at the sizes of the seed in test:full; a million is
// measured by bench/memory/speed.ts. No time is asserted.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { clusteredVectors, DIMS, ExactAnswers } from "../bench/memory/vectors.ts";
import { seededRandom } from "../src/base/mod.ts";
import { hashedEmbedder, idMaker, openSqlite } from "../src/memory/mod.ts";
import { COMPILED, startMemoryChild } from "./memory-crash.ts";

const root = mkdtempSync(join(tmpdir(), "irori-memory-scale-"));
after(() => {
  for (const folder of [root, COMPILED]) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});
const isFull = process.env.IRORI_FULL === "1";
const [small, large] = isFull ? [10_000, 100_000] : [2_000, 20_500];
const BATCH = 2_500;

async function filled(rows: number): Promise<{ path: string; recall: number }> {
  const path = join(root, `${rows}.db`);
  const vectors = clusteredVectors(1);
  const next = (count: number) => Array.from({ length: count }, () => vectors.next().value as Float32Array);
  const queries = next(50);
  const exact = new ExactAnswers(queries, 10);
  assert.equal(hashedEmbedder.dims, DIMS);
  await using store = await openSqlite({ path, embedder: hashedEmbedder, newId: idMaker(seededRandom(rows)) });
  for (let from = 0; from < rows; from += BATCH) {
    const batch = next(Math.min(BATCH, rows - from));
    exact.take(batch);
    const episodes = batch.map((vector, i) => ({
      id: `${from + i}`,
      text: `Note ${from + i}.`,
      vector,
      recordedAt: i,
    }));
    await store.addEpisodes("default", episodes);
  }
  while (!(await store.tidy()).isDone);
  await store.checkIndex("default", 30, 1);
  const truth = exact.answers();
  let hits = 0;
  const found = await store.searchByVector("default", queries, { count: 10 });
  for (const [q, near] of found.entries())
    hits += near.filter(({ episode }) => truth[q]?.includes(Number(episode.id))).length;
  return { path, recall: hits / queries.length / 10 };
}

test(`22: ${small} and ${large} episodes: recall@10 at least .99 of a full comparison (exact below 20,000), and memory stays as it is`, {
  skip: process.platform !== "linux" && "resident memory is read from /proc",
}, async (t) => {
  const residents: number[] = [];
  for (const rows of [small, large]) {
    const { path, recall } = await filled(rows);
    assert.ok(recall >= (rows < 20_000 ? 1 : 0.99), `recall@10 at ${rows}: ${recall}`);
    const kilobytes = Number(/resident (\d+)/.exec(await startMemoryChild("ask", path, "1").end)?.[1]);
    residents.push(kilobytes);
    t.diagnostic(`${rows} episodes: recall@10 ${recall}, ${Math.round(kilobytes / 1000)} MB`);
  }
  const [few = 0, many = 0] = residents;
  assert.ok(many < 1.2 * few && many < 250_000, `${few} kB grew to ${many} kB`);
});
