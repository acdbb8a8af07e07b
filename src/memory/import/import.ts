// Files and folders become Episodes: found, read, cut, embedded, stored in batches, linked. What was imported before is known
// by its bytes; a changed file adds what is new in it and ends what is gone; where it was stopped it goes on.
// It does not know formats (text.ts, html.ts, pdf.ts, json.ts).
import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { extname, join, relative, resolve } from "node:path";
import { cancelled, IroriError, type OnProgress } from "../../base/mod.ts";
import { everyEpisode } from "../data-store.ts";
import type { NewEpisode, Scope } from "../episode.ts";
import type { Parts } from "../parts.ts";
import { linkEpisode } from "../remember.ts";
import { htmlPassages } from "./html.ts";
import { jsonlPassages, jsonPassages } from "./json.ts";
import { decodeText, type Passage, type Read } from "./passage.ts";
import { pdfPassages } from "./pdf.ts";
import { markdownPassages, textPassages } from "./text.ts";

export interface ImportOptions extends Scope {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
  /** Whether new Episodes get their links now, or by the next maintenance. Default true. */
  readonly isLinked?: boolean | undefined;
}

export interface ImportedFile {
  readonly uri: string;
  readonly as: "new" | "changed" | "known" | "refused";
  readonly added: number;
  /** Texts that were known from elsewhere. */
  readonly repeats: number;
  /** Of a changed file: Episodes that stand no longer in it. */
  readonly ended: number;
  /** Why it was refused, or which parts of it. */
  readonly refused: readonly string[];
}

export interface Imported {
  readonly files: readonly ImportedFile[];
  readonly added: number;
}

type Reader = (name: string, bytes: Uint8Array) => Read | Promise<Read>;
const whole = (passages: readonly Passage[]): Read => ({ passages, refused: [] });
const readers: Readonly<Record<string, Reader>> = {
  ".txt": (name, bytes) => whole(textPassages(decodeText(name, bytes))),
  ".text": (name, bytes) => whole(textPassages(decodeText(name, bytes))),
  ".md": (name, bytes) => whole(markdownPassages(decodeText(name, bytes))),
  ".markdown": (name, bytes) => whole(markdownPassages(decodeText(name, bytes))),
  ".html": (name, bytes) => whole(htmlPassages(decodeText(name, bytes))),
  ".htm": (name, bytes) => whole(htmlPassages(decodeText(name, bytes))),
  ".pdf": async (name, bytes) => whole(await pdfPassages(name, bytes)),
  ".jsonl": (name, bytes) => jsonlPassages(decodeText(name, bytes)),
  ".ndjson": (name, bytes) => jsonlPassages(decodeText(name, bytes)),
  ".json": (name, bytes) => jsonPassages(name, decodeText(name, bytes)),
};

const BATCH = 200;
const MOST_FILE_BYTES = 500_000_000;
const JOB = "import";

/** Throws "not-found" for a path that is not there; what cannot be read of a folder is refused by name, the rest is imported. */
export async function importPaths(
  parts: Parts,
  paths: readonly string[],
  options: ImportOptions = {},
): Promise<Imported> {
  const found: { readonly path: string; readonly uri: string }[] = [];
  for (const path of paths) found.push(...(await filesUnder(path)));
  const files: ImportedFile[] = [];
  for (const [i, { path, uri }] of found.entries()) {
    if (options.signal?.aborted) throw cancelled("the import", options.signal);
    options.onProgress?.({ step: "import", item: uri, done: i, total: found.length, unit: "steps" });
    files.push(await importFile(parts, path, uri, options));
  }
  options.onProgress?.({ step: "import", done: found.length, total: found.length, unit: "steps" });
  return { files, added: files.reduce((sum, { added }) => sum + added, 0) };
}

/** A file, or all files below a folder but hidden ones, in the order of their names; uris are relative to what was named. */
async function filesUnder(path: string): Promise<{ path: string; uri: string }[]> {
  const about = await stat(path).catch((error: NodeJS.ErrnoException) => {
    const code = error.code === "ENOENT" ? "not-found" : "io";
    throw new IroriError(code, { what: `${path} cannot be imported`, got: error.message, cause: error });
  });
  if (!about.isDirectory()) return [{ path, uri: path }];
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const isHidden = (file: string) =>
    relative(path, file)
      .split(/[\\/]/)
      .some((name) => name.startsWith(".") || name === "node_modules");
  return files
    .filter((file) => !isHidden(file))
    .sort()
    .map((file) => ({ path: file, uri: join(path, relative(path, file)) }));
}

async function importFile(parts: Parts, path: string, uri: string, options: ImportOptions): Promise<ImportedFile> {
  const none = { uri, added: 0, repeats: 0, ended: 0 };
  const reader = readers[extname(path).toLowerCase()];
  if (reader === undefined)
    return { ...none, as: "refused", refused: [`no reader for ${extname(path) || "files without an ending"}`] };
  try {
    const { size } = await stat(path);
    if (size > MOST_FILE_BYTES)
      return { ...none, as: "refused", refused: [`${size} bytes, at most ${MOST_FILE_BYTES}`] };
    const bytes = await readFile(path);
    const digest = createHash("sha256").update(bytes).digest("hex");
    // by the place alone, and not in clear: a forgotten name must not live on as the name of a job
    const key = createHash("sha256").update(resolve(path)).digest("hex");
    const job = (await parts.store.getRecord(parts.namespace, JOB, key))?.body as { digest: string } | undefined;
    if (job?.digest === digest) return { ...none, as: "known", refused: [] };
    const { passages, refused } = await reader(uri, bytes);
    const { added, repeats, ids } = await store(parts, uri, passages, options);
    const ended = job === undefined ? 0 : await endMissing(parts, uri, ids);
    await parts.store.putRecord(parts.namespace, JOB, { key, body: { digest }, recordedAt: parts.now() });
    const reasons = refused.map(({ where, reason }) => `${where}: ${reason}`);
    return { uri, as: job === undefined ? "new" : "changed", added, repeats, ended, refused: reasons };
  } catch (error) {
    if (!(error instanceof IroriError) || !["bad-file", "bad-input"].includes(error.code)) throw error;
    return { ...none, as: "refused", refused: [error.message] };
  }
}

async function store(parts: Parts, uri: string, passages: readonly Passage[], options: ImportOptions) {
  const { user, agent, thread, signal, isLinked = true } = options;
  const ids = new Set<string>();
  let [added, repeats] = [0, 0];
  const seen = new Map<string, number>();
  for (let i = 0; i < passages.length; i += BATCH) {
    const batch = passages.slice(i, i + BATCH);
    const vectors = await parts.embedder.embed(
      batch.map(({ text }) => text),
      { signal },
    );
    const episodes = batch.map(({ text, title, speaker, start, end, page, saidAt }, at): NewEpisode => {
      // the same place and words have the same key: a second run adds nothing
      const times = (seen.get(text) ?? 0) + 1;
      seen.set(text, times);
      const key = createHash("sha256")
        .update(JSON.stringify([uri, text, times, user, agent, thread]))
        .digest("hex")
        .slice(0, 40);
      return {
        ...{ text, user, agent, thread, key, vector: vectors[at] as Float32Array, recordedAt: saidAt ?? parts.now() },
        source: { uri, title, speaker, start, end, page },
      };
    });
    const stored = await parts.store.addEpisodes(parts.namespace, episodes);
    for (const { id } of stored) ids.add(id);
    const fresh = stored.filter(({ isNew }) => isNew).map(({ id }) => id);
    added += fresh.length;
    repeats += stored.length - fresh.length;
    if (!isLinked) continue;
    for (const episode of await parts.store.getEpisodes(parts.namespace, fresh))
      if (episode !== undefined) await linkEpisode(parts, episode);
  }
  return { added, repeats, ids };
}

/** Episodes of a source that stand in it no longer: they held until now. */
async function endMissing(
  { store: into, namespace, now }: Parts,
  uri: string,
  ids: ReadonlySet<string>,
): Promise<number> {
  const at = { knownAt: now(), validAt: now() };
  const gone: string[] = [];
  for await (const { id } of everyEpisode(into, namespace, { filter: { uri, at } })) if (!ids.has(id)) gone.push(id);
  for (const id of gone) await into.updateEpisode(namespace, id, { validTo: now(), closedAt: now() });
  return gone.length;
}
