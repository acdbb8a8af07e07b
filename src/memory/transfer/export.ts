// A memory as files that anything can read: JSON lines and safetensors (format.ts). It grows beside its place and takes it
// when it is whole. It does not know how it is read back.
import { createWriteStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { cancelled, IroriError, type OnProgress } from "../../base/mod.ts";
import { writeSafetensors } from "../../checkpoint/mod.ts";
import { everyEpisode, everyItem } from "../data-store.ts";
import type { Parts } from "../parts.ts";
import { FILES, FORMAT, FORMAT_VERSION, VECTORS_PER_FILE, vectorsFile } from "./format.ts";

export interface Exported {
  readonly path: string;
  readonly episodes: number;
  readonly concepts: number;
  readonly links: number;
  readonly records: number;
}

export interface TransferOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

const PAGE = 500;

/** Throws "conflict" where the folder is there and not empty; what was begun is removed when it fails. */
export async function exportMemory(parts: Parts, folder: string, options: TransferOptions = {}): Promise<Exported> {
  const there = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw new IroriError("io", { what: `${folder} cannot be used`, got: error.message, cause: error });
  });
  if (there.length > 0)
    throw new IroriError("conflict", { what: `${folder} is not empty`, next: "name a folder that is not there yet" });
  const beside = `${folder}.${process.pid}.part`;
  try {
    await mkdir(beside, { recursive: true });
    const counts = await writeAll(parts, beside, options);
    await rm(folder, { recursive: true, force: true });
    await rename(beside, folder);
    return { path: folder, ...counts };
  } catch (error) {
    await rm(beside, { recursive: true, force: true });
    if (error instanceof IroriError) throw error;
    throw new IroriError("io", { what: `${folder} cannot be written`, got: (error as Error).message, cause: error });
  }
}

async function writeAll(parts: Parts, folder: string, { signal, onProgress }: TransferOptions) {
  const { store, namespace } = parts;
  const { records: byKind, ...sizes } = await store.stats(namespace);
  const kinds = Object.keys(byKind).sort();
  const episodes = await writeEpisodes(parts, folder, (done) => {
    if (signal?.aborted) throw cancelled("the export", signal);
    onProgress?.({ step: "export", done, total: sizes.episodes, unit: "steps" });
  });
  const lines = (name: string, items: AsyncIterable<unknown>) => writeLines(join(folder, name), items);
  const concepts = everyItem((after) => store.listConcepts(namespace, { after, limit: PAGE }));
  const links = everyItem((after) => store.listLinks(namespace, { after, limit: PAGE }));
  const counts = {
    episodes,
    concepts: await lines(FILES.concepts, concepts),
    links: await lines(FILES.links, links),
    records: await lines(FILES.records, recordsOf(parts, kinds)),
  };
  const about = { format: FORMAT, version: FORMAT_VERSION, namespace, embedder: store.info.embedder, ...counts };
  await writeFile(join(folder, FILES.about), `${JSON.stringify(about, undefined, 2)}\n`);
  return counts;
}

async function* recordsOf({ store, namespace }: Parts, kinds: readonly string[]) {
  for (const kind of kinds)
    for await (const record of everyItem((after) => store.listRecords(namespace, kind, { after, limit: PAGE })))
      yield { kind, ...record };
}

/** Lines and vectors side by side: an Episode that goes meanwhile is in neither. */
async function writeEpisodes({ store, namespace }: Parts, folder: string, step: (done: number) => void) {
  const { dims } = store.info.embedder;
  let files = 0;
  let rows: Float32Array[] = [];
  const flush = async () => {
    const data = new Float32Array(rows.length * dims);
    for (const [i, row] of rows.entries()) data.set(row, i * dims);
    await writeSafetensors(join(folder, vectorsFile(files)), { vectors: { shape: [rows.length, dims], data } });
    files++;
    rows = [];
  };
  let done = 0;
  const lines = async function* () {
    let page: { id: string }[] = [];
    const ready = async () => {
      const vectors = await store.vectorsOf(
        namespace,
        page.map(({ id }) => id),
      );
      const kept = page.filter((_, i) => vectors[i] !== undefined);
      rows.push(...vectors.filter((vector) => vector !== undefined));
      page = [];
      if (rows.length >= VECTORS_PER_FILE) await flush();
      done += kept.length;
      step(done);
      return kept;
    };
    for await (const { namespace: _, version: __, ...episode } of everyEpisode(store, namespace, { batch: PAGE })) {
      page.push(episode);
      if (page.length === PAGE) yield* await ready();
    }
    yield* await ready();
  };
  await writeLines(join(folder, FILES.episodes), lines());
  if (rows.length > 0) await flush();
  return done;
}

/** How many there were; on the disk when it returns. */
async function writeLines(path: string, items: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  const lines = async function* () {
    for await (const item of items) {
      count++;
      yield `${JSON.stringify(item)}\n`;
    }
  };
  await pipeline(Readable.from(lines()), createWriteStream(path));
  await using file = await open(path, "r+");
  await file.sync();
  return count;
}
