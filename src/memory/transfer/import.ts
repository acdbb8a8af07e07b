// An exported memory becomes part of a memory: what is there already is left as it is, so that it can be done again and goes
// on where it was stopped. Vectors of another embedder are made anew. It does not know how it was written.
import { createReadStream } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { z } from "zod";
import { cancelled, IroriError } from "../../base/mod.ts";
import { type Numbers, readSafetensors } from "../../checkpoint/mod.ts";
import type { Concept, Link, NodeRef } from "../data-store.ts";
import type { EpisodeChange } from "../episode.ts";
import { partsOf } from "../node-ref.ts";
import type { Parts } from "../parts.ts";
import type { TransferOptions } from "./export.ts";
import {
  aboutShape,
  conceptShape,
  episodeShape,
  FILES,
  FORMAT_VERSION,
  linkShape,
  recordShape,
  VECTORS_PER_FILE,
  vectorsFile,
} from "./format.ts";

export interface Restored {
  readonly episodes: number;
  readonly concepts: number;
  readonly links: number;
  readonly records: number;
  /** Episodes that were there already. */
  readonly known: number;
  /** Lines that could not be used, with the reason. */
  readonly refused: readonly string[];
}

type StoredEpisode = z.infer<typeof episodeShape>;

/** A divisor of the vectors of a file, so that no batch needs two of them. */
const BATCH = 200;

/** Whether a folder is an exported memory. */
export const isExport = (folder: string): Promise<boolean> =>
  access(join(folder, FILES.about)).then(
    () =>
      access(join(folder, FILES.episodes)).then(
        () => true,
        () => false,
      ),
    () => false,
  );

/** Throws "bad-file" for a folder that is none, "unsupported" for one of a newer Irori. */
export async function restoreMemory(parts: Parts, folder: string, options: TransferOptions = {}): Promise<Restored> {
  const about = await readAbout(folder);
  const { store, namespace } = parts;
  const refused: string[] = [];
  const { id, dims } = store.info.embedder;
  const areVectorsOurs = about.embedder.id === id && about.embedder.dims === dims;
  const vectors = areVectorsOurs ? vectorsOf(folder, dims) : undefined;
  let [episodes, known] = [0, 0];
  for await (const { at, items } of batches(folder, FILES.episodes, episodeShape, refused)) {
    if (options.signal?.aborted) throw cancelled("the import", options.signal);
    const given = await vectors?.(at, BATCH);
    const added = await addBatch(parts, items, (line) => given?.[line - at]);
    episodes += added;
    known += items.length - added;
    options.onProgress?.({ step: "import", done: episodes + known, total: about.episodes, unit: "steps" });
  }
  let [concepts, links, records] = [0, 0, 0];
  for await (const { items } of batches(folder, FILES.concepts, conceptShape, refused)) {
    await store.putConcepts(
      namespace,
      items.map(({ value }) => value as Concept),
    );
    concepts += items.length;
  }
  for await (const { items } of batches(folder, FILES.links, linkShape, refused)) {
    const there = await store.getEpisodes(
      namespace,
      items.flatMap(({ value }) => episodesOf(value)),
    );
    const ids = new Set(there.map((episode) => episode?.id));
    const whole = items.filter(({ line, value }) => {
      const lost = episodesOf(value).find((end) => !ids.has(end));
      if (lost !== undefined) refused.push(`${FILES.links} ${line}: its end ${lost} is not there`);
      return lost === undefined;
    });
    await store.changeLinks(
      namespace,
      whole.map(({ value }) => value),
    );
    links += whole.length;
  }
  for await (const { items } of batches(folder, FILES.records, recordShape, refused))
    for (const { value } of items) {
      const { kind, ...record } = value;
      await store.putRecord(namespace, kind, record);
      records++;
    }
  return { episodes, concepts, links, records, known, refused };
}

async function readAbout(folder: string) {
  const path = join(folder, FILES.about);
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw new IroriError("bad-file", { what: `${folder} is no exported memory`, got: (error as Error).message });
  }
  const about = aboutShape.safeParse(value);
  if (!about.success)
    throw new IroriError("bad-file", {
      what: `${path} is none of an exported memory`,
      got: z.prettifyError(about.error),
    });
  if (about.data.version > FORMAT_VERSION)
    throw new IroriError("unsupported", {
      what: `${folder} was written by a newer Irori`,
      got: `version ${about.data.version}`,
      wanted: `at most ${FORMAT_VERSION}`,
      next: "update Irori",
    });
  return about.data;
}

interface Line<T> {
  /** From 1. */
  readonly line: number;
  readonly value: T;
}

/** Lines in groups that begin every so many; what is no line of the shape is told and left out. */
async function* batches<T>(
  folder: string,
  name: string,
  shape: z.ZodType<T>,
  refused: string[],
): AsyncGenerator<{ readonly at: number; readonly items: Line<T>[] }> {
  const stream = createReadStream(join(folder, name), "utf8");
  let [line, items] = [0, [] as Line<T>[]];
  try {
    for await (const text of createInterface({ input: stream, crlfDelay: Infinity })) {
      line++;
      const read = parsed(shape, text);
      if (typeof read === "string") refused.push(`${name} ${line}: ${read}`);
      else items.push({ line, value: read.value });
      if (line % BATCH > 0) continue;
      yield { at: line - BATCH + 1, items };
      items = [];
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new IroriError("bad-file", { what: `${folder} has no ${name}`, cause: error });
  } finally {
    stream.destroy();
  }
  if (items.length > 0) yield { at: line - (line % BATCH) + 1, items };
}

function parsed<T>(shape: z.ZodType<T>, text: string): { readonly value: T } | string {
  try {
    const read = shape.safeParse(JSON.parse(text));
    return read.success ? { value: read.data } : z.prettifyError(read.error);
  } catch (error) {
    return (error as Error).message;
  }
}

/** Vectors of lines, from the file that has them; one file at a time is in memory. */
function vectorsOf(folder: string, dims: number) {
  let open: { readonly number: number; readonly file: Numbers } | undefined;
  return async (line: number, count: number): Promise<Float32Array[]> => {
    const number = Math.floor((line - 1) / VECTORS_PER_FILE);
    if (open?.number !== number) {
      const path = join(folder, vectorsFile(number));
      const { vectors } = await readSafetensors(path);
      if (vectors?.shape[1] !== dims)
        throw new IroriError("bad-file", {
          what: path,
          got: `vectors of ${vectors?.shape}`,
          wanted: `rows of ${dims}`,
        });
      open = { number, file: vectors };
    }
    const { data, shape } = open.file;
    const first = (line - 1) % VECTORS_PER_FILE;
    const rows = Math.min(count, (shape[0] as number) - first);
    return Array.from({ length: rows }, (_, i) =>
      (data as Float32Array).slice((first + i) * dims, (first + i + 1) * dims),
    );
  };
}

async function addBatch(
  { store, namespace, embedder }: Parts,
  items: readonly Line<StoredEpisode>[],
  vectorOf: (line: number) => Float32Array | undefined,
): Promise<number> {
  const there = await store.getEpisodes(
    namespace,
    items.map(({ value }) => value.id),
  );
  const fresh = items.filter((_, i) => there[i] === undefined);
  const without = fresh.filter(({ line }) => vectorOf(line) === undefined);
  const made = await embedder.embed(without.map(({ value }) => value.text));
  const vectors = new Map(without.map(({ line }, i) => [line, made[i] as Float32Array]));
  return await store.transaction(async (inside) => {
    const episodes = fresh.map(({ line, value }) => {
      const { closedAt: _, isRetracted: __, supersededBy: ___, repeats, seenAt, uses, ...rest } = value;
      return { ...rest, vector: (vectorOf(line) ?? vectors.get(line)) as Float32Array };
    });
    const added = await inside.addEpisodes(namespace, episodes, { repeats: "keep" });
    const isNew = new Set(added.filter((one) => one.isNew).map((one) => one.id)); // a key may have been used for another
    for (const { value } of fresh.filter((one) => isNew.has(one.value.id))) {
      const { closedAt, isRetracted, supersededBy, repeats, seenAt, uses } = value;
      // an end that is known is closed when it is added; when that was is told here
      const change: EpisodeChange = { closedAt: closedAt ?? null, isRetracted, supersededBy, repeats, seenAt, uses };
      if (closedAt !== undefined || value.validTo !== undefined || isRetracted || repeats + uses > 0)
        await inside.updateEpisode(namespace, value.id, change);
    }
    return isNew.size;
  });
}

const episodesOf = ({ source, target }: Link): string[] =>
  [source, target].map((end: NodeRef) => partsOf(end)).flatMap(([kind, id]) => (kind === "episode" ? [id] : []));
