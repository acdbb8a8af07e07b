// How quick a memory is beside sqlite-vec and LanceDB on the same vectors: `node bench/memory/speed.ts [ROWS] [--no-peers]
// [--minilm] [--vectors-only] [--asks 5]`. The compiled package is measured, as users have it. Fresh processes open and ask; queries of all
// sides are interleaved. It prints Markdown, every run's figures below it.
import { spawnSync } from "node:child_process";
import {
  existsSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createRequire } from "node:module";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { openEngine } from "irori";
import { hashedEmbedder, idMaker, Memory, openInMemory, openSqlite } from "irori/memory";
import { seededRandom } from "../../src/base/mod.ts";
import { PlantedWorld } from "../../src/memory/eval/planted.ts";
import { type Judgement, judgeFrom } from "../../src/memory/insight/trigger.ts";
import { machine } from "../machine.ts";
import { madeTexts, realTexts } from "./texts.ts";
import { clusteredVectors, DIMS, ExactAnswers } from "./vectors.ts";

const EMBEDDER = { id: "clustered", dims: DIMS };
const QUERIES = 100;
const BATCH = 5_000;
const ADDS = 200;
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
/** Of the rows' own clusters: the first of the stream, which no store gets. What asks reads them, so as to hold nothing else. */
const HELD_OUT = QUERIES + 1 + ADDS;
const queriesOf = (where: string): Float32Array[] => readVectors(join(where, "queries"));
function readVectors(path: string): Float32Array[] {
  const bytes = readFileSync(path);
  const all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  return Array.from({ length: all.length / DIMS }, (_, i) => all.slice(i * DIMS, (i + 1) * DIMS));
}
/** A model's vectors where they were made (`embed`), else clustered ones. */
const streamOf = (where: string): Iterator<Float32Array> =>
  existsSync(join(where, "vectors")) ? readVectors(join(where, "vectors")).values() : clusteredVectors(1);
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
  /** MiniLM's vectors of real sentences, for what follows. */
  async embed(where, rows) {
    await using engine = await openEngine();
    await using lease = await engine.lease("all-minilm-l6-v2");
    const out = openSync(join(where, "vectors"), "w");
    const texts = realTexts(rows + HELD_OUT);
    // those held out are from everywhere, not the first files'
    const order = texts.map((_, i) => (i * 7_919) % texts.length);
    const start = performance.now();
    for (let from = 0; from < texts.length; from += 64) {
      const { vectors } = await lease.embed(order.slice(from, from + 64).map((i) => texts[i] as string));
      for (const vector of vectors) writeSync(out, bytesOf(vector));
    }
    return { texts: texts.length, seconds: (performance.now() - start) / 1_000 };
  },
  /** Rows in, in batches; only the stores' own time counts. */
  async fill(where, rows) {
    const vectors = streamOf(where);
    const queries = nextOf(vectors, HELD_OUT);
    const exact = new ExactAnswers(queries.slice(0, QUERIES), 10);
    writeFileSync(join(where, "queries"), Buffer.concat(queries.map(bytesOf)));
    const withPeers = process.argv.includes("--peers");
    let peers: Peers | undefined;
    const spent = { irori: 0, "sqlite-vec": 0, LanceDB: 0 };
    await using store = await openSqlite({ path: file(where), embedder: EMBEDDER, newId: newId() });
    const texts = madeTexts(1);
    for (let from = 0; from < rows; from += BATCH) {
      const batch = nextOf(vectors, Math.min(BATCH, rows - from));
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
  /** A process that begins: open, first recall (all three ways), then many by vector; single writes last. */
  async ask(where) {
    const all = queriesOf(where);
    const queries = all.slice(0, QUERIES);
    const truth = JSON.parse(readFileSync(join(where, "truth.json"), "utf8")) as number[][];
    const before = residentMb();
    const start = performance.now();
    await using store = await openSqlite({ path: file(where), embedder: EMBEDDER, newId: newId() });
    const openMs = performance.now() - start;
    const embedder = { ...EMBEDDER, related: 0.35, embed: async () => [all[QUERIES] as Float32Array] };
    const memory = new Memory({ store, embedder, now: () => Date.now(), random: seededRandom(1) });
    const firstMs = await ms(() => memory.recall("What was it with 4711?"));
    const search = (vector: Float32Array) => store.searchByVector("default", [vector], { count: 10 });
    for (const query of queries.slice(0, 20)) await search(query);
    const own: number[] = [];
    let hits = 0;
    for (const [q, query] of queries.entries()) {
      let found: Awaited<ReturnType<typeof search>> = [];
      own.push(await ms(async () => (found = await search(query))));
      hits += found[0]?.filter(({ episode }) => truth[q]?.includes(Number(episode.id.slice(1)))).length ?? 0;
    }
    const rss = residentMb();
    const adds: number[] = [];
    const added = all
      .slice(QUERIES + 1)
      .map((vector, i) => ({ id: `single ${i}`, text: `Single ${i}.`, vector, recordedAt: i }));
    for (const episode of added) adds.push(await ms(() => store.addEpisodes("default", [episode])));
    // what is asked next has the same truth
    await store.deleteEpisodes(
      "default",
      added.map(({ id }) => id),
    );
    const syncs: number[] = [];
    const plain = openSync(join(where, "plain"), "w");
    for (let i = 0; i < ADDS; i++)
      syncs.push(
        await ms(() => {
          writeSync(plain, Buffer.alloc(8_192));
          fsyncSync(plain);
        }),
      );
    return {
      ...{ openMs, firstMs, p50: at(own, 0.5), p99: at(own, 0.99), recall: hits / queries.length / 10 },
      ...{ rss, rssBefore: before, addP50: at(adds, 0.5), syncP50: at(syncs, 0.5) },
    };
  },
  /** The same queries to all sides, in turn. */
  async compare(where) {
    const queries = queriesOf(where).slice(0, 30);
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
  /** Hybrid recall over real words, embedded by hashed. */
  async hybrid(where, rows) {
    const sentences = realTexts(rows);
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
  /** Two hops in a network of ten thousand nodes, five links each. */
  async network(where) {
    await using store = await openSqlite({ path: join(where, "network.db"), embedder: EMBEDDER, newId: newId() });
    const random = seededRandom(1);
    const any = () => `concept:${Math.floor(random.next() * 10_000)}` as const;
    const shared = { kind: "similar", weight: 1, recordedAt: 1 };
    for (let i = 0; i < 5; i++)
      await store.changeLinks(
        "default",
        Array.from({ length: 10_000 }, (_, n) => ({
          source: `concept:${n}` as const,
          target: any(),
          ...shared,
        })).filter(({ source, target }) => source !== target),
      );
    const times: number[] = [];
    let found = 0;
    for (let i = 0; i < 220; i++) {
      const took = await ms(async () => {
        const levels = await store.neighbours("default", any(), { hops: 2, mostNodes: 1_000 });
        found += levels.flat().length / 220;
      });
      if (i >= 20) times.push(took);
    }
    return { nodes: Math.round(found), p50: at(times, 0.5), p99: at(times, 0.99) };
  },
  /** A judgement with both nulls, over a world of planted structure: alone, and with all that is read and embedded for it. */
  async gauge() {
    // so large that a neighbourhood reaches its limit of 200 nodes
    const world = new PlantedWorld(77, { topics: 8, factsPerTopic: 150, ownNouns: 3, strayShare: 0.1 });
    const store = openInMemory({ embedder: hashedEmbedder, newId: newId() });
    const memory = new Memory({ store, embedder: hashedEmbedder, now: () => 1, random: seededRandom(1) });
    await memory.remember(world.background(), { insight: false });
    await memory.maintain();
    const texts = Array.from({ length: 60 }, () => world.plant("bridge").text);
    const [whole, alone, nodes]: [number[], number[], number[]] = [[], [], []];
    for (const [i, text] of texts.entries()) {
      let judged: Awaited<ReturnType<typeof memory.consider>> = "too little is known to compare with";
      const took = await ms(async () => (judged = await memory.consider(text)));
      if (typeof judged === "string" || i < 20) continue;
      const { neighbourhood, exchange, falseAlarmRate } = judged as Judgement;
      whole.push(took);
      nodes.push(neighbourhood.nodes.length);
      alone.push(await ms(() => judgeFrom(neighbourhood, exchange.draws, falseAlarmRate, i)));
    }
    return { nodes: at(nodes, 0.5), p50: at(alone, 0.5), min: Math.min(...alone), whole: at(whole, 0.5) };
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

const shown = (x: number): string => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2));
/** Median and range of one figure over the processes that asked. */
function spread(runs: readonly Record<string, unknown>[], name: string, digits?: number): string {
  const all = runs.map((run) => run[name] as number);
  const [middle, least, most] = [at(all, 0.5), Math.min(...all), Math.max(...all)].map((x) =>
    digits === undefined ? shown(x) : x.toFixed(digits),
  );
  return `${middle} (${least}–${most})`;
}

function measure(where: string, rows: number, withPeers: boolean, isMinilm: boolean): void {
  const raw: string[] = [];
  const noted = (name: string, value: Record<string, unknown>) => {
    raw.push(`${name} ${JSON.stringify(value)}`);
    return value;
  };
  const table: [string, string, string][] = [];
  if (isMinilm) noted("embed", inChild("embed", where, `${rows}`));
  const fill = noted("fill", inChild("fill", where, `${rows}`, ...(withPeers ? ["--peers"] : [])));
  const asks = Number(/--asks (\d+)/.exec(process.argv.join(" "))?.[1] ?? 5);
  const runs = Array.from({ length: asks }, (_, i) => noted(`ask ${i}`, inChild("ask", where)));
  table.push(
    ["open; first recall after it, ms", `${spread(runs, "openMs")}; ${spread(runs, "firstMs")}`, "50; 150"],
    ["recall by vector p50; p99, ms", `${spread(runs, "p50")}; ${spread(runs, "p99")}`, "15; 50"],
    ["recall@10 against exact", spread(runs, "recall", 3), "≥ .99"],
    ["resident memory, MB (of it before opening)", `${spread(runs, "rss")} (${spread(runs, "rssBefore")})`, "250"],
    [
      "durable add p50; one fsync of 8 KB, ms",
      `${spread(runs, "addP50")}; ${spread(runs, "syncP50")}`,
      "1 + one fsync",
    ],
  );
  for (const [name, rate] of Object.entries(fill.perSecond as Record<string, number>))
    table.push([`bulk import, ${name}, episodes a second`, `${rate}`, name === "irori" ? "≥ 8,000" : "–"]);
  if (withPeers) {
    const sides = noted("compare", inChild("compare", where)) as Record<
      string,
      Record<"p50" | "min" | "recall", number>
    >;
    for (const [name, { p50, min, recall }] of Object.entries(sides)) {
      const ratio = p50 / (sides.irori?.p50 as number);
      const bar = name === "sqlite-vec" ? "≥ 20 x at 1 M" : "–";
      table.push([
        `interleaved, ${name}: p50 (least), ms; recall@10; of irori's`,
        `${shown(p50)} (${shown(min)}); ${recall.toFixed(3)}; ${ratio.toFixed(1)} x`,
        bar,
      ]);
    }
  }
  if (!process.argv.includes("--vectors-only")) {
    const hybrid = noted("hybrid", inChild("hybrid", where, "100000")) as Record<string, number>;
    table.push([
      `hybrid recall of ${hybrid.rows} texts of real sentences p50; p99, ms`,
      `${shown(hybrid.p50 as number)}; ${shown(hybrid.p99 as number)}`,
      "30; –",
    ]);
    const network = noted("network", inChild("network", where)) as Record<string, number>;
    table.push([
      `two hops (${network.nodes} nodes) in a network of 10,000, p50; p99, ms`,
      `${shown(network.p50 as number)}; ${shown(network.p99 as number)}`,
      "20; –",
    ]);
    const gauge = noted("gauge", inChild("gauge")) as Record<string, number>;
    table.push([
      `a judgement, 200 null draws, ${gauge.nodes} nodes, p50 (least); all of \`consider\`, ms`,
      `${shown(gauge.p50 as number)} (${shown(gauge.min as number)}); ${shown(gauge.whole as number)}`,
      "50",
    ]);
  }
  console.log("\n| figure | median (range over processes) | bar |\n| --- | --- | --- |");
  for (const row of table) console.log(`| ${row.join(" | ")} |`);
  console.log(
    `\nload at the end ${loadavg()
      .map((x) => x.toFixed(1))
      .join(", ")}\n${raw.join("\n")}`,
  );
}

if (Object.hasOwn(steps, step)) console.log(JSON.stringify(await steps[step]?.(folder, Number(rowsText))));
else {
  const rows = Number(process.argv[2] ?? 100_000);
  const where = mkdtempSync(join(tmpdir(), "irori-bench-memory-"));
  const isMinilm = process.argv.includes("--minilm");
  try {
    const { cpu, cores, system } = machine();
    console.log(
      `${cpu}, ${cores} cores, ${system}, Node ${process.version}; ${rows} ${isMinilm ? "of MiniLM's" : "clustered"} vectors of ${DIMS} numbers`,
    );
    console.log(
      `load at the start ${loadavg()
        .map((x) => x.toFixed(1))
        .join(", ")}`,
    );
    measure(where, rows, !process.argv.includes("--no-peers"), isMinilm);
  } finally {
    rmSync(where, { recursive: true, force: true });
  }
}
