// How quick a memory is beside sqlite-vec and LanceDB on the same vectors: `node bench/memory/speed.ts [ROWS] [--no-peers]`.
// Each side works in a process of its own, on its own files; queries of all sides are interleaved. It prints Markdown.
import { spawnSync } from "node:child_process";
import {
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { seededRandom } from "../../src/base/mod.ts";
import { GRID, PlantedWorld } from "../../src/memory/eval/planted.ts";
import { hashedEmbedder, idMaker, Memory, openInMemory, openSqlite } from "../../src/memory/mod.ts";
import { machine } from "../machine.ts";
import { madeTexts, realSentences } from "./texts.ts";
import { clusteredVectors, DIMS, ExactAnswers } from "./vectors.ts";

const EMBEDDER = { id: "clustered", dims: DIMS };
const QUERIES = 100;
const BATCH = 5_000;
const [step = "", folder = "", rowsText = ""] = process.argv.slice(2);
const newId = () => idMaker(seededRandom(Date.now() + process.pid));
const file = (where: string): string => join(where, "memory.db");
const at = (samples: number[], share: number): number =>
  samples.toSorted((a, b) => a - b)[Math.min(samples.length - 1, Math.floor(samples.length * share))] as number;
const ms = async (work: () => unknown): Promise<number> => {
  const start = performance.now();
  await work();
  return performance.now() - start;
};
/** Of the rows' own clusters: the first of the stream, which no store gets. */
const queriesOf = (): Float32Array[] => nextOf(clusteredVectors(1), QUERIES);
const residentMb = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1000;

const bytesOf = (v: Float32Array): Uint8Array => new Uint8Array(v.buffer, v.byteOffset, v.byteLength);
/** `take` of an iterator would end the stream. */
const nextOf = (stream: Iterator<Float32Array>, count: number): Float32Array[] =>
  Array.from({ length: count }, () => stream.next().value as Float32Array);

interface Peers {
  readonly vec: DatabaseSync;
  readonly table: {
    add(rows: object[]): Promise<unknown>;
    search(v: Float32Array): { limit(n: number): { toArray(): Promise<{ id: number }[]> } };
  };
}

/** Opened where they are installed (npm ci in bench/memory/peers). */
async function openPeers(where: string, first?: object[]): Promise<Peers> {
  const require = createRequire(new URL("peers/package.json", import.meta.url));
  const vec = new DatabaseSync(join(where, "vec.db"), { allowExtension: true });
  require("sqlite-vec").load(vec);
  vec.exec(`CREATE VIRTUAL TABLE IF NOT EXISTS v USING vec0(embedding float[${DIMS}] distance_metric=cosine)`);
  const db = await require("@lancedb/lancedb").connect(join(where, "lance"));
  return { vec, table: await (first === undefined ? db.openTable("v") : db.createTable("v", first)) };
}

const steps: Readonly<Record<string, (where: string, rows: number) => Promise<object>>> = {
  /** Rows in, in batches; only the stores' own time counts. */
  async fill(where, rows) {
    const exact = new ExactAnswers(queriesOf(), 10);
    const withPeers = process.argv.includes("--peers");
    let peers: Peers | undefined;
    const spent = { irori: 0, "sqlite-vec": 0, LanceDB: 0 };
    await using store = await openSqlite({ path: file(where), embedder: EMBEDDER, newId: newId() });
    const [vectors, texts] = [clusteredVectors(1), madeTexts(1)];
    nextOf(vectors, QUERIES);
    for (let from = 0; from < rows; from += BATCH) {
      const batch = nextOf(vectors, BATCH);
      exact.take(batch);
      const episodes = batch.map((vector, i) => ({
        id: `e${from + i}`,
        text: texts.next().value as string,
        vector,
        recordedAt: from + i,
      }));
      spent.irori += await ms(() => store.addEpisodes("default", episodes));
      if (!withPeers) continue;
      const plain = batch.map((vector, i) => ({ id: from + i, vector: Array.from(vector) }));
      spent.LanceDB += await ms(async () => {
        if (peers === undefined) peers = await openPeers(where, plain);
        else await peers.table.add(plain);
      });
      const { vec } = peers as unknown as Peers;
      const insert = vec.prepare("INSERT INTO v(rowid, embedding) VALUES (?, ?)");
      spent["sqlite-vec"] += await ms(() => {
        vec.exec("BEGIN");
        for (const [i, vector] of batch.entries()) insert.run(BigInt(from + i + 1), bytesOf(vector));
        vec.exec("COMMIT");
      });
    }
    const tidyMs = await ms(async () => {
      while (!(await store.tidy()).isDone);
    });
    const index = await store.checkIndex("default", 50, 1);
    writeFileSync(join(where, "truth.json"), JSON.stringify(exact.answers()));
    const perSecond = Object.fromEntries(
      Object.entries(spent)
        .filter(([, t]) => t > 0)
        .map(([name, t]) => [name, Math.round((rows / t) * 1000)]),
    );
    return { perSecond, tidyMs, index, bytes: statSync(file(where)).size };
  },
  /** A process that begins: open, first recall, then many; single writes last. */
  async ask(where) {
    const queries = queriesOf();
    const truth = JSON.parse(readFileSync(join(where, "truth.json"), "utf8")) as number[][];
    const start = performance.now();
    await using store = await openSqlite({ path: file(where), embedder: EMBEDDER, newId: newId() });
    await store.stats("default");
    const openMs = performance.now() - start;
    const search = (vector: Float32Array) => store.searchByVector("default", [vector], { count: 10 });
    const firstMs = await ms(() => search(nextOf(clusteredVectors(1), QUERIES + 1).at(-1) as Float32Array));
    for (const query of queries.slice(0, 20)) await search(query);
    const samples: Record<string, number[]> = { irori: [] };
    let hits = 0;
    for (const [q, query] of queries.entries()) {
      let found: Awaited<ReturnType<typeof search>> = [];
      samples.irori?.push(await ms(async () => (found = await search(query))));
      hits += found[0]?.filter(({ episode }) => truth[q]?.includes(Number(episode.id.slice(1)))).length ?? 0;
    }
    const rss = residentMb();
    const adds: number[] = [];
    const vectors = clusteredVectors(4);
    for (let i = 0; i < 200; i++) {
      const vector = vectors.next().value as Float32Array;
      adds.push(
        await ms(() => store.addEpisodes("default", [{ text: `single ${i} ${process.pid}`, vector, recordedAt: i }])),
      );
    }
    const syncs: number[] = [];
    const plain = openSync(join(where, "plain"), "w");
    for (let i = 0; i < 200; i++)
      syncs.push(
        await ms(() => {
          writeSync(plain, Buffer.alloc(8_192));
          fsyncSync(plain);
        }),
      );
    const own = samples.irori as number[];
    return {
      openMs,
      firstMs,
      p50: at(own, 0.5),
      p99: at(own, 0.99),
      recall: hits / queries.length / 10,
      rss,
      addP50: at(adds, 0.5),
      syncP50: at(syncs, 0.5),
    };
  },
  /** The same queries to all sides, in turn. */
  async compare(where) {
    const queries = queriesOf().slice(0, 30);
    const truth = JSON.parse(readFileSync(join(where, "truth.json"), "utf8")) as number[][];
    await using store = await openSqlite({ path: file(where), embedder: EMBEDDER, newId: newId() });
    const { vec, table } = await openPeers(where);
    const select = vec.prepare("SELECT rowid FROM v WHERE embedding MATCH ? AND k = 10");
    const sides: Record<string, (v: Float32Array) => Promise<number[]>> = {
      irori: async (v) =>
        ((await store.searchByVector("default", [v], { count: 10 }))[0] ?? []).map(({ episode }) =>
          Number(episode.id.slice(1)),
        ),
      "sqlite-vec": async (v) => select.all(bytesOf(v)).map((row) => Number(row.rowid) - 1),
      LanceDB: async (v) => (await table.search(v).limit(10).toArray()).map(({ id }) => Number(id)),
    };
    const times: Record<string, number[]> = {};
    const hits: Record<string, number> = {};
    for (const [q, query] of [...queries.slice(0, 3), ...queries].entries())
      for (const [name, search] of Object.entries(sides)) {
        let found: number[] = [];
        const took = await ms(async () => (found = await search(query)));
        if (q < 3) continue;
        const all = times[name] ?? [];
        all.push(took);
        times[name] = all;
        hits[name] = (hits[name] ?? 0) + found.filter((id) => truth[q - 3]?.includes(id)).length;
      }
    return Object.fromEntries(
      Object.entries(times).map(([name, all]) => [
        name,
        { p50: at(all, 0.5), min: Math.min(...all), recall: (hits[name] as number) / queries.length / 10 },
      ]),
    );
  },
  /** Hybrid recall over real sentences, embedded by hashed. */
  async hybrid(where, rows) {
    const sentences = realSentences(rows);
    await using store = await openSqlite({ path: join(where, "text.db"), embedder: hashedEmbedder, newId: newId() });
    for (let from = 0; from < sentences.length; from += BATCH) {
      const texts = sentences.slice(from, from + BATCH);
      const vectors = await hashedEmbedder.embed(texts);
      await store.addEpisodes(
        "default",
        texts.map((text, i) => ({ text, vector: vectors[i] as Float32Array, recordedAt: from + i })),
      );
    }
    while (!(await store.tidy()).isDone);
    const memory = new Memory({ store, embedder: hashedEmbedder, now: () => Date.now(), random: seededRandom(1) });
    const asked = Array.from({ length: 120 }, (_, i) =>
      (sentences[(i * 7_919) % sentences.length] as string).split(" ").slice(0, 8).join(" "),
    );
    const times: number[] = [];
    for (const [i, query] of asked.entries()) {
      const took = await ms(() => memory.recall(query));
      if (i >= 20) times.push(took);
    }
    return { rows: sentences.length, p50: at(times, 0.5), p99: at(times, 0.99), min: Math.min(...times) };
  },
  /** A judgement with both nulls, over a world of planted structure. */
  async gauge() {
    const world = new PlantedWorld(77, GRID.at(-1) as (typeof GRID)[number]);
    const store = openInMemory({ embedder: hashedEmbedder, newId: newId() });
    const memory = new Memory({ store, embedder: hashedEmbedder, now: () => 1, random: seededRandom(1) });
    await memory.remember(world.background(), { insight: false });
    await memory.maintain();
    const texts = Array.from({ length: 40 }, () => world.plant("bridge").text);
    const times: number[] = [];
    const nodes: number[] = [];
    for (const text of texts) {
      times.push(
        await ms(async () => {
          const judged = await memory.consider(text);
          if (typeof judged !== "string") nodes.push(judged.neighbourhood.nodes.length);
        }),
      );
    }
    return { p50: at(times, 0.5), min: Math.min(...times), nodes: at(nodes, 0.5) };
  },
};

function inChild(name: string, ...args: string[]): Record<string, unknown> {
  const { stdout, stderr, status } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), name, ...args], {
    encoding: "utf8",
    maxBuffer: 1e8,
  });
  if (status !== 0) throw new Error(`${name}: ${stderr}`);
  return JSON.parse(stdout) as Record<string, unknown>;
}

if (Object.hasOwn(steps, step)) console.log(JSON.stringify(await steps[step]?.(folder, Number(rowsText))));
else {
  const rows = Number(process.argv[2] ?? 100_000);
  const where = mkdtempSync(join(tmpdir(), "irori-bench-memory-"));
  mkdirSync(where, { recursive: true });
  const peers = process.argv.includes("--no-peers") ? [] : ["--peers"];
  try {
    const { cpu, cores, system } = machine();
    console.log(`${cpu}, ${cores} cores, ${system}; ${rows} clustered vectors of ${DIMS} numbers`);
    const show = (name: string, value: object) => console.log(name, JSON.stringify(value));
    show("fill", inChild("fill", where, `${rows}`, ...peers));
    for (let i = 0; i < 3; i++) show(`ask ${i}`, inChild("ask", where));
    if (peers.length > 0) show("compare", inChild("compare", where));
    if (!process.argv.includes("--vectors-only")) {
      show("hybrid", inChild("hybrid", where, "100000"));
      show("gauge", inChild("gauge"));
    }
  } finally {
    rmSync(where, { recursive: true, force: true });
  }
}
