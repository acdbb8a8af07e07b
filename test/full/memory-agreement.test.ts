// The same data in every store: the same vector order below 20,000 episodes, recall@10 of at least .99 above, and hybrid recalls
// that share nine of ten. It does not know how stores search.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { realTexts } from "../../bench/memory/texts.ts";
import { ExactAnswers } from "../../bench/memory/vectors.ts";
import { seededRandom } from "../../src/base/mod.ts";
import {
  type DataStore,
  hashedEmbedder,
  idMaker,
  Memory,
  openInMemory,
  openPostgres,
  openSqlite,
} from "../../src/memory/mod.ts";
import { type PostgresServer, startPostgres } from "../setup/postgres.ts";

const BELOW = 3_000;
const ABOVE = 22_000;
const BATCH = 1_000;
const QUERIES = 24;
let folder: string;
let server: PostgresServer;
let stores: Readonly<Record<"SQLite" | "Postgres" | "in memory", DataStore>>;
let exact: ExactAnswers;
let queries: Float32Array[];
// real sentences: SQLite looks up the rarest words of a question alone where all are common, the others all of them
const texts = realTexts(ABOVE + QUERIES);
const next = (count: number) => texts.splice(0, count);
const questions = Array.from({ length: QUERIES }, (_, i) => texts[(i * 7_919) % texts.length] as string).map((text) =>
  text.split(" ").slice(0, 8).join(" "),
);

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "irori-agreement-"));
  server = await startPostgres();
  const shared = { embedder: hashedEmbedder, newId: idMaker(seededRandom(1)) };
  stores = {
    SQLite: await openSqlite({ path: join(folder, "memory.db"), ...shared }),
    Postgres: await openPostgres({ url: await server.newDatabase(), ...shared }),
    "in memory": openInMemory(shared),
  };
  queries = await hashedEmbedder.embed(questions);
  exact = new ExactAnswers(queries, 10);
});
after(async () => {
  for (const store of Object.values(stores)) await store[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

let rows = 0;
async function fillTo(wanted: number): Promise<void> {
  for (; rows < wanted; rows += BATCH) {
    const batch = next(BATCH);
    const vectors = await hashedEmbedder.embed(batch);
    exact.take(vectors);
    const episodes = batch.map((text, i) => ({
      ...{ id: `${rows + i}`, text, vector: vectors[i] as Float32Array, recordedAt: rows + i },
    }));
    await Promise.all(Object.values(stores).map((store) => store.addEpisodes("default", episodes)));
  }
}

const idsOf = async (store: DataStore): Promise<string[][]> =>
  (await store.searchByVector("default", queries, { count: 10 })).map((near) => near.map(({ episode }) => episode.id));

/** Of ten recalled by one store, how many another recalls too: the mean over all questions. */
async function shared(a: DataStore, b: DataStore): Promise<number> {
  const recalled = (store: DataStore) => {
    const memory = new Memory({ store, embedder: hashedEmbedder, now: () => 1e12, random: seededRandom(1) });
    return Promise.all(questions.map(async (q) => (await memory.recall(q, { count: 10 })).recalled));
  };
  const [one, other] = await Promise.all([recalled(a), recalled(b)]);
  let common = 0;
  for (const [q, list] of one.entries()) {
    const ids = new Set(other[q]?.map(({ episode }) => episode.id));
    common += list.filter(({ episode }) => ids.has(episode.id)).length / list.length;
  }
  return common / one.length;
}

test(`${BELOW} episodes: one order of vectors in all stores, hybrid recalls share nine of ten`, async (t) => {
  await fillTo(BELOW);
  const order = await idsOf(stores["in memory"]);
  for (const name of ["SQLite", "Postgres"] as const) {
    assert.deepEqual(await idsOf(stores[name]), order, name);
    const common = await shared(stores[name], stores["in memory"]);
    t.diagnostic(`${name} and in memory share ${common.toFixed(3)} of hybrid recalls`);
    assert.ok(common >= 0.9, `${name}: ${common}`);
  }
});

test(`${ABOVE} episodes: recall@10 is at least .99 in each, hybrid recalls share nine of ten`, async (t) => {
  await fillTo(ABOVE);
  while (!(await stores.SQLite.tidy()).isDone);
  const truth = exact.answers();
  for (const name of ["SQLite", "Postgres"] as const) {
    for (let tries = 0; tries < 5; tries++) {
      const { probes, nextProbes } = await stores[name].checkIndex("default", 50, tries);
      if (nextProbes === probes) break; // the index has found that it is good enough
    }
    const found = await idsOf(stores[name]);
    const hits = found.flatMap((near, q) => near.filter((id) => truth[q]?.includes(Number(id)))).length;
    const common = await shared(stores[name], stores["in memory"]);
    t.diagnostic(
      `${name}: recall@10 ${(hits / QUERIES / 10).toFixed(4)}, ${common.toFixed(3)} of hybrid recalls shared`,
    );
    assert.ok(hits / QUERIES / 10 >= 0.99, `${name}: recall@10 ${hits / QUERIES / 10}`);
    assert.ok(common >= 0.9, `${name}: ${common}`);
  }
});
