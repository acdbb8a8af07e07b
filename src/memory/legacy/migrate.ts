// A folder of InsightSpike's data becomes part of a memory: what there is, told first where that is asked; each row once, also
// when it is run again; each row that cannot be taken with its reason. It does not know the formats.
import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { cancelled, IroriError, type OnProgress } from "../../base/mod.ts";
import type { Link } from "../data-store.ts";
import type { Json, NewEpisode } from "../episode.ts";
import type { Parts } from "../parts.ts";
import { linkEpisode } from "../remember.ts";
import { episodeOf, type LegacyEpisode, readEpisodeFile } from "./episode-file.ts";
import { readFacts } from "./facts-db.ts";
import { readFaissIndex } from "./faiss-index.ts";
import { readTorchGraph } from "./torch-graph.ts";

export interface MigrateOptions {
  /** Nothing is written. */
  readonly dryRun?: boolean | undefined;
  /** The files' own vectors are kept, where they are of the store's size: only where its embedder made them. Default: embedded anew. */
  readonly keepVectors?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

export interface MigratedFile {
  readonly path: string;
  readonly format: "episodes" | "graph" | "vectors" | "insights";
  readonly episodes: number;
  readonly nodes: number;
  readonly links: number;
  /** Vectors of an index: they belong to episodes of other files and are not taken alone. */
  readonly vectors: number;
  readonly refused: readonly string[];
}

export interface Migrated {
  readonly files: readonly MigratedFile[];
  /** Rows that were not in the memory before. */
  readonly added: number;
}

const BATCH = 200;

export async function migrate(parts: Parts, folder: string, options: MigrateOptions = {}): Promise<Migrated> {
  const files: MigratedFile[] = [];
  let added = 0;
  for (const path of await legacyFiles(folder)) {
    if (options.signal?.aborted) throw cancelled("the migration", options.signal);
    const name = relative(folder, path) || basename(path);
    options.onProgress?.({ step: "migrate", item: name, done: files.length, unit: "steps" });
    try {
      const { file, fresh } = await migrateFile(parts, path, name, options);
      files.push(file);
      added += fresh;
    } catch (error) {
      if (!(error instanceof IroriError) || error.code !== "bad-file") throw error;
      files.push({ ...none(name, formatOf(path) ?? "episodes"), refused: [error.message] });
    }
  }
  if (files.length === 0)
    throw new IroriError("not-found", {
      what: `nothing of InsightSpike's in ${folder}`,
      wanted: "*.json with episodes, *.pt, *.faiss or insight_facts.db",
    });
  return { files, added };
}

const none = (path: string, format: MigratedFile["format"]): MigratedFile => ({
  path,
  format,
  episodes: 0,
  nodes: 0,
  links: 0,
  vectors: 0,
  refused: [],
});

function formatOf(path: string): MigratedFile["format"] | undefined {
  if (/\.pt$/.test(path)) return "graph";
  if (/\.faiss$/.test(path)) return "vectors";
  if (/insight_facts\.db$/.test(path)) return "insights";
  return /\.json$/.test(path) && !/(?:config|settings|package)[^/]*\.json$/.test(path) ? "episodes" : undefined;
}

async function legacyFiles(folder: string): Promise<string[]> {
  const about = await stat(folder).catch((error: NodeJS.ErrnoException) => {
    throw new IroriError(error.code === "ENOENT" ? "not-found" : "io", {
      what: `${folder} cannot be migrated`,
      got: error.message,
      cause: error,
    });
  });
  if (!about.isDirectory()) return formatOf(folder) === undefined ? [] : [folder];
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return files.filter((file) => formatOf(file) !== undefined).sort();
}

async function migrateFile(
  parts: Parts,
  path: string,
  name: string,
  options: MigrateOptions,
): Promise<{ file: MigratedFile; fresh: number }> {
  const format = formatOf(path) as MigratedFile["format"];
  const base = none(name, format);
  if (format === "vectors") {
    const { vectors } = await readFaissIndex(path);
    return { file: { ...base, vectors: vectors.length }, fresh: 0 };
  }
  if (format === "episodes") {
    const { episodes, refused } = await readEpisodeFile(path);
    const stored = await store(parts, name, episodes, options);
    const reasons = [...refused.map(({ where, reason }) => `${where}: ${reason}`), ...stored.refused];
    return {
      file: { ...base, episodes: episodes.length - stored.refused.length, refused: reasons },
      fresh: stored.fresh,
    };
  }
  if (format === "insights") {
    const insights = readFacts(path).map(
      ({ id, text, confidence, at, status, sourceConcepts, targetConcepts }): LegacyEpisode => ({
        ...{ text, confidence, at, vector: undefined, id },
        metadata: { insight: id, status, sourceConcepts: [...sourceConcepts], targetConcepts: [...targetConcepts] },
      }),
    );
    const stored = await store(parts, name, insights, options, "insight");
    return {
      file: { ...base, episodes: insights.length - stored.refused.length, refused: stored.refused },
      fresh: stored.fresh,
    };
  }
  return await migrateGraph(parts, path, name, base, options);
}

async function store(
  parts: Parts,
  name: string,
  episodes: readonly LegacyEpisode[],
  options: MigrateOptions,
  kind: NewEpisode["kind"] = "experience",
) {
  const { dims } = parts.embedder;
  const refused: string[] = [];
  const usable = episodes.filter(({ vector }, i) => {
    const isFine = !options.keepVectors || vector?.length === dims;
    if (!isFine) refused.push(`row ${i + 1}: a vector of ${vector?.length ?? 0} numbers, wanted ${dims}`);
    return isFine;
  });
  const ids: string[] = [];
  let fresh = 0;
  if (options.dryRun) return { refused, fresh, ids };
  for (let i = 0; i < usable.length; i += BATCH) {
    const batch = usable.slice(i, i + BATCH);
    const made = options.keepVectors
      ? []
      : await parts.embedder.embed(
          batch.map(({ text }) => text),
          { signal: options.signal },
        );
    const drafts = batch.map(({ text, confidence, vector, at, metadata, id }, j): NewEpisode => {
      // a row is the same row when its file and words are the same
      const key = createHash("sha256")
        .update(JSON.stringify([basename(name), id ?? null, text]))
        .digest("hex")
        .slice(0, 40);
      return {
        ...{
          text,
          kind,
          confidence,
          metadata,
          key: `legacy-${key}`,
          recordedAt: at ?? parts.now(),
          source: { uri: name },
        },
        vector: (options.keepVectors ? vector : made[j]) as Float32Array,
      };
    });
    const added = await parts.store.addEpisodes(parts.namespace, drafts, { repeats: "keep" });
    ids.push(...added.map(({ id }) => id));
    const isNew = added.filter((one) => one.isNew).map(({ id }) => id);
    fresh += isNew.length;
    for (const episode of await parts.store.getEpisodes(parts.namespace, isNew))
      if (episode !== undefined) await linkEpisode(parts, episode);
  }
  return { refused, fresh, ids };
}

/** Nodes become Concepts "node_i" with their features, its links similarity; a node with a document stands for that Episode. */
async function migrateGraph(
  parts: Parts,
  path: string,
  name: string,
  base: MigratedFile,
  options: MigrateOptions,
): Promise<{ file: MigratedFile; fresh: number }> {
  const { features, edges, documents } = await readTorchGraph(path);
  const refused: string[] = [];
  const episodes: LegacyEpisode[] = [];
  const owners: number[] = [];
  for (const [i, document] of documents.entries()) {
    const { embedding, ...rest } = document as { embedding?: Float32Array };
    const read = episodeOf({ ...rest, ...(embedding instanceof Float32Array && { embedding: [...embedding] }) });
    if (typeof read === "string") refused.push(`document ${i + 1}: ${read}`);
    else {
      episodes.push(read);
      owners.push(i);
    }
  }
  const isNode = (i: number) => Number.isInteger(i) && i >= 0 && i < features.length;
  const good = edges.filter(([a, b], i) => {
    const isFine = isNode(a) && isNode(b) && a !== b;
    if (!isFine) refused.push(`link ${i + 1}: from ${a} to ${b}, of ${features.length} nodes`);
    return isFine;
  });
  const prefix = basename(name).replace(/\.pt$/, "");
  const node = (i: number) => `concept:${prefix}/node_${i}` as const;
  const file: MigratedFile = {
    ...base,
    episodes: episodes.length,
    nodes: features.length,
    links: good.length,
    refused,
  };
  if (options.dryRun) return { file, fresh: 0 };
  const before = await parts.store.stats(parts.namespace);
  const stored = await store(parts, name, episodes, options);
  await parts.store.transaction(async (inside) => {
    await inside.putConcepts(
      parts.namespace,
      features.map((feature, i) => ({
        id: `${prefix}/node_${i}`,
        kind: "node",
        name: `node_${i}`,
        attributes: { features: [...feature] as Json[] },
        isPinned: true,
      })),
    );
    const links = good.map(
      ([a, b]): Link => ({ source: node(a), target: node(b), kind: "similarity", weight: 1, recordedAt: parts.now() }),
    );
    const owned = stored.ids.map(
      (id, k): Link => ({
        source: node(owners[k] as number),
        target: `episode:${id}`,
        kind: "stands for",
        weight: 1,
        recordedAt: parts.now(),
      }),
    );
    await inside.changeLinks(parts.namespace, [...links, ...owned]);
  });
  const { concepts } = await parts.store.stats(parts.namespace);
  return {
    file: { ...file, refused: [...refused, ...stored.refused] },
    fresh: stored.fresh + Math.max(0, concepts - before.concepts),
  };
}
