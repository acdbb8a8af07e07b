// A memory in one file, without any model: told, asked with citations, corrected, asked as of before, forgotten for good.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { hashedEmbedder, idMaker, Memory, openSqlite } from "irori/memory";

const folder = await mkdtemp(join(tmpdir(), "irori-memory-"));
const random = { next: Math.random };
const { id, dims } = hashedEmbedder;
const store = await openSqlite({ path: join(folder, "memory.db"), embedder: { id, dims }, newId: idMaker(random) });
const memory = new Memory({ store, embedder: hashedEmbedder, now: Date.now, random });

await memory.remember(["The hearth is lit at five in the morning.", "Aki lives in Kyoto and plays the violin."]);
const { text, recall } = await memory.ask("When is the hearth lit?");
console.log(text);

const before = Date.now();
await setTimeout(10);
await memory.correct(recall.recalled[0]?.episode.id as string, "The hearth is lit at six in the morning.");
console.log((await memory.ask("When is the hearth lit?")).text);
console.log(`as of before: ${(await memory.ask("When is the hearth lit?", { asOf: before })).text}`);

await memory.forget({ about: "Aki" });
console.log((await memory.ask("Who plays the violin?")).text);
await store[Symbol.asyncDispose]();
await rm(folder, { recursive: true });
