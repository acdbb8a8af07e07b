// A process that works on a memory until it is killed, and tells every write before it begins and when it is acknowledged:
// lines on stdout, written at once. What it does is its first argument; the second is the file, the third its seed.
// It does not know who kills it.
import { readFileSync, readSync, writeSync } from "node:fs";
import { seededRandom } from "../src/base/mod.ts";
import { hashedEmbedder } from "../src/memory/embedder.ts";
import { idMaker } from "../src/memory/ids.ts";
import { openSqlite } from "../src/memory/sqlite/host.ts";

const [role = "", path = "", seed = "0", more = ""] = process.argv.slice(2);
const random = seededRandom(Number(seed));
/** At once, and whole: where whoever reads is slow, the pipe is full (EAGAIN), and it waits. */
function tell(word: string, id: string): void {
  for (;;)
    try {
      writeSync(1, `${word} ${id}\n`);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
}
const embedder = hashedEmbedder;
await using store = await openSqlite({ path, embedder, newId: idMaker(random) });
await store.tidy(); // the thread that writes is there when the first word is told
/** Begins with the others that were started, when all are open; at once where nobody says when (no standard input). */
function begin(): void {
  tell("open", role);
  readSync(0, new Uint8Array(1));
}
/** What only writes to the store starts quicker without the rest. */
const memory = async () => {
  const { Memory } = await import("../src/memory/memory.ts");
  return new Memory({ store, embedder, random, now: () => Date.now() });
};

const text = (i: number) => `Note ${seed} ${i}: the ${["lamp", "river", "bell", "stone"][i % 4]} of house ${i % 17}.`;
const roles: Readonly<Record<string, () => Promise<void>>> = {
  /** Adds one by one or a few at a time, and takes away what it added. */
  async write() {
    begin();
    const own: string[] = [];
    for (let i = 0; ; i++) {
      const at = own.length > 3 && random.next() < 0.3 ? Math.floor(random.next() * own.length) : -1;
      if (at < 0) {
        const ids = Array.from({ length: random.next() < 0.2 ? 5 : 1 }, (_, j) => `${seed}-${i}-${j}`);
        const recordedAt = Date.now();
        const vectors = await embedder.embed(ids.map((_, j) => text(i * 10 + j)));
        const episodes = ids.map((id, j) => {
          const vector = vectors[j] as Float32Array;
          return { id, key: id, text: text(i * 10 + j), vector, recordedAt };
        });
        await store.addEpisodes("default", episodes);
        for (const id of ids) tell("added", id);
        own.push(...ids);
      } else {
        const [id] = own.splice(at, 1) as [string];
        tell("deleting", id);
        await store.deleteEpisodes("default", [id]);
        tell("deleted", id);
      }
    }
  },
  /** Remembers as an agent does: linked, judged. */
  async remember() {
    const mind = await memory();
    begin();
    for (let i = 0; ; i++) for (const { id } of await mind.remember(text(i))) tell("added", id);
  },
  async maintain() {
    const mind = await memory();
    begin();
    for (;;) await mind.maintain();
  },
  async import() {
    const { importPaths } = await import("../src/memory/import/import.ts");
    const mind = await memory();
    begin();
    for (;;) tell("imported", `${(await importPaths(mind.parts, [more])).added}`);
  },
  /** Loads all that the others need, so that Node's compile cache has it. */
  async load() {
    await import("../src/memory/import/import.ts");
    await (await memory()).remember(text(0));
  },
  /** A thousand different texts, then nothing until it is killed. */
  async thousand() {
    for (let i = 0; i < 10; i++) {
      const texts = Array.from({ length: 100 }, (_, j) => text(i * 100 + j));
      const vectors = await embedder.embed(texts);
      const episode = (one: string, j: number) => ({ text: one, vector: vectors[j] as Float32Array, recordedAt: i });
      await store.addEpisodes("default", texts.map(episode));
    }
    tell("wrote", "1000");
    await new Promise((resolve) => setTimeout(resolve, 600_000));
  },
  /** Searches by vector, then tells the memory that this process has. */
  async ask() {
    const samples = await store.sampleVectors("default", 60, 1);
    for (const { vector } of samples) await store.searchByVector("default", [vector], { count: 10 });
    tell("resident", /VmRSS:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "");
  },
  /** So many single writes, then an end. */
  async count() {
    tell("open", role);
    const [vector] = (await embedder.embed(["one of many"])) as [Float32Array];
    for (let i = 0; i < Number(more); i++) {
      const key = `${seed}-${i}`;
      await store.addEpisodes("default", [{ key, text: `${seed} wrote ${i}`, vector, recordedAt: i }]);
      tell("added", key);
    }
    tell("wrote", more);
  },
};
await roles[role]?.();
