// Bringing a model into the store: its bytes fetched under the model's lock, or a file in place that is hashed and noted.
// Bytes first, reference last: a reference never names bytes that are not there.

import { link, stat } from "node:fs/promises";
import { join } from "node:path";
import { IroriError, type OnProgress } from "../base/mod.ts";
import type { CatalogEntry } from "./catalog.ts";
import { bytesOf, type Content, contentIdOf } from "./content.ts";
import { networkOf } from "./network.ts";
import type { PullOptions } from "./pull-options.ts";
import { formatSource, modelName, type OllamaSource, parseSource, type Source } from "./source.ts";
import { hashContent, hashFile, identifyFile } from "./source-file.ts";
import { exists, syncTree } from "./store-disk.ts";
import type { Fetched } from "./store-fetch.ts";
import type { Lock } from "./store-lock.ts";
import { lockIn, type Place, publish, type WorkOptions, writeIn, writeWhole } from "./store-place.ts";
import { contentPath, type Reference, readReference, referencePath } from "./store-reference.ts";
import { requireTerms } from "./store-terms.ts";

/** A stamp made within this time of the file's last change may miss the next one. */
const stampTrustMs = 2_000;

export interface ContentRequest {
  readonly name: string;
  readonly source: Source;
  readonly entry: CatalogEntry | undefined;
  readonly options: PullOptions;
  /** What is here already does not count: the new bytes take its place once they are whole. */
  readonly isAgain?: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

/** The reference of `name` where its bytes are here as they were pulled, by their lengths. */
export async function wholeReference(place: Place, name: string): Promise<Reference | undefined> {
  const reference = await readReference(place.home, name);
  if (reference === undefined) return undefined;
  if (reference.place.kind === "in-place") {
    if ((await sizeOf(reference.place.path)) === undefined) return undefined;
    return (await identifyFile(reference.place.path)).stamp === reference.place.stamp ? reference : undefined;
  }
  return (await hasLengths(contentPath(place.home, reference), contentOf(reference))) ? reference : undefined;
}

/** What a pulled model consists of. */
export function contentOf({ files, bytes, contentId }: Reference): Content {
  if (files !== undefined) return { layout: "folder", files };
  return { layout: "file", files: [{ name: "", bytes, sha256: contentId }] };
}

async function hasLengths(path: string, { files }: Content): Promise<boolean> {
  for (const { name, bytes } of files) if ((await sizeOf(join(path, name))) !== bytes) return false;
  return true;
}

/** Fetches a model's bytes; another process that was faster has done it for this one too. */
export async function pullContent(place: Place, request: ContentRequest): Promise<Reference> {
  const { name, signal, onProgress, entry, isAgain = false } = request;
  await using lock = await lockIn(place, `model-${name}`, { signal, onProgress });
  const known = isAgain ? undefined : await wholeReference(place, name);
  if (known) return known;
  await requireTerms(place, entry, request.options);
  const here = isAgain ? undefined : entry && (await wholeContent(place, entry, request));
  const fetched: Found = here ?? (await bytesInto(place, lock, request));
  const about = entry
    ? { license: entry.license, family: entry.family, description: entry.description }
    : { ...(fetched.license !== undefined && { license: fetched.license }) };
  const contentId = contentIdOf(fetched);
  const reference: Reference = {
    format: 1,
    name,
    source: formatSource(request.source),
    bytes: bytesOf(fetched),
    ...(fetched.layout === "file" && { sha256: contentId }),
    contentId,
    ...about,
    ...(fetched.system !== undefined && { system: fetched.system }),
    pulledAt: place.clock(),
    ...(fetched.layout === "folder" && { files: fetched.files }),
    place: fetched.inPlace ?? { kind: fetched.layout === "file" ? "blob" : "folder" },
  };
  await commitContent(place, reference, reference.place.kind === "in-place" ? undefined : fetched);
  return reference;
}

/** Notes a file or folder in place. It is hashed where it is new or may have changed. */
export async function noteFile(place: Place, path: string, options: WorkOptions): Promise<Reference> {
  const before = await identifyFile(path);
  const source: Source = { kind: "file", path: before.path };
  const name = modelName(source);
  const known = await wholeReference(place, name);
  if (known?.place.kind === "in-place" && before.changedMs < known.place.checkedAt - stampTrustMs) return known;
  const checkedAt = place.clock();
  const content = await hashContent(before.path, options);
  if ((await identifyFile(path)).stamp !== before.stamp) {
    throw new IroriError("io", { what: `${path}: it changed while it was read`, next: "try again when it is whole" });
  }
  const reference: Reference = {
    format: 1,
    name,
    source: formatSource(source),
    bytes: before.bytes,
    ...content,
    pulledAt: checkedAt,
    place: { kind: "in-place", path: before.path, stamp: before.stamp, checkedAt },
  };
  await commitContent(place, reference, undefined);
  return reference;
}

/** What is to be settled in the store, or is used where another program keeps it. */
interface Found extends Fetched {
  readonly system?: string | undefined;
  readonly inPlace?: Extract<Reference["place"], { kind: "in-place" }> | undefined;
}

async function bytesInto(place: Place, lock: Lock, request: ContentRequest): Promise<Found> {
  const { source } = request;
  return await (source.kind === "ollama" ? ollamaInto(place, lock, source, request) : fetchInto(place, lock, request));
}

/** Ollama's blob, linked where the disk allows it, else used where it is: it is never copied. */
async function ollamaInto(place: Place, lock: Lock, source: OllamaSource, request: ContentRequest): Promise<Found> {
  const { findOllama } = await import("./source-ollama.ts");
  const model = await findOllama(source, request.options.ollamaModels ?? []);
  const { path, bytes, sha256, license, system } = model;
  const before = await identifyFile(path);
  const checkedAt = place.clock();
  const got = await hashFile(path, request);
  if (got !== sha256) {
    const next = `it may be half written: ollama pull ${source.name}`;
    throw new IroriError("bad-file", { what: `${path}: sha256 of Ollama's blob`, got, wanted: sha256, next });
  }
  const found = { layout: "file", files: [{ name: "", bytes, sha256 }], license, system } as const;
  const linked = join(lock.folder, "linked");
  if (await isLinked(before.path, linked)) return { ...found, path: linked };
  return {
    ...found,
    path: before.path,
    inPlace: { kind: "in-place", path: before.path, stamp: before.stamp, checkedAt },
  };
}

/** Another name for the same bytes, which stays when theirs goes; false where the disk or its owner does not let us. */
async function isLinked(from: string, to: string): Promise<boolean> {
  return link(from, to).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (["EXDEV", "EPERM", "EACCES", "ENOTSUP", "EMLINK", "ENOSYS", "EOPNOTSUPP"].includes(error.code ?? ""))
        return false;
      throw error;
    },
  );
}

async function fetchInto(place: Place, lock: Lock, request: ContentRequest): Promise<Fetched> {
  const { name, source, entry, options, signal, onProgress } = request;
  // archives and clients load only to fetch
  const [{ fetchContent }, { Http }] = await Promise.all([import("./store-fetch.ts"), import("./http.ts")]);
  const http = new Http(networkOf(options.network));
  const fetch = {
    ...{ name, signal, onProgress, http, disk: place.disk, clock: place.clock },
    mirrors: entry ? entry.sources.map(parseSource) : [source],
    wanted: entry,
    folder: lock.folder,
    onClient: (pid: number) => lock.noteClient(pid),
    lockPartial: (key: string) => lockPartial(place, key, { signal, onProgress }),
    python: options.python,
    isOffline: options.isOffline ?? false,
    prefers: options.prefers ?? "gguf",
    known: place.catalog.map((each) => each.name),
  };
  try {
    return await writeIn(place, name, () => fetchContent(fetch), entry && bytesOf(entry));
  } finally {
    http.close();
  }
}

/** The pieces of one download, held by one process at a time. */
async function lockPartial(place: Place, key: string, options: WorkOptions) {
  const lock = await lockIn(place, `partial-${key}`, options);
  return { folder: join(place.home, "partial", key), [Symbol.asyncDispose]: () => lock[Symbol.asyncDispose]() };
}

/** A catalog entry's bytes that are here already, left by a pull that was killed before its last step. */
async function wholeContent(place: Place, entry: CatalogEntry, options: WorkOptions): Promise<Fetched | undefined> {
  const kind = entry.layout === "file" ? "blob" : "folder";
  const path = contentPath(place.home, { contentId: contentIdOf(entry), place: { kind } });
  const { layout, files } = entry;
  return (await isWhole(path, entry, options)) ? { layout, files, path } : undefined;
}

/** Whether every file has the bytes that its hash says. */
async function isWhole(path: string, content: Content, options: WorkOptions = {}): Promise<boolean> {
  if (!(await hasLengths(path, content))) return false;
  for (const { name, sha256 } of content.files)
    if ((await hashFile(join(path, name), options)) !== sha256) return false;
  return true;
}

/** Bytes into their place, then the reference. */
export async function commitContent(place: Place, reference: Reference, fetched: Fetched | undefined): Promise<void> {
  await using lock = await lockIn(place, "commit");
  await writeIn(place, reference.name, async () => {
    if (fetched) await settle(lock, fetched, contentPath(place.home, reference));
    const text = `${JSON.stringify(reference, undefined, 2)}\n`;
    await writeWhole(place, lock.folder, referencePath(place.home, reference.name), text);
  });
}

/** The same bytes may be here under another name: whoever has them mapped keeps them; broken ones are replaced. */
async function settle(lock: Lock, fetched: Fetched, target: string): Promise<void> {
  if (fetched.path === target || (await isWhole(target, fetched))) return;
  if (fetched.layout === "folder") {
    await syncTree(fetched.path);
    // a folder cannot be renamed onto another: the broken one goes out of sight first
    if (await exists(target)) await publish(target, join(lock.folder, "broken"));
  }
  await publish(fetched.path, target);
}

/** Length of a file or folder; undefined where there is none. */
async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    (info) => info.size,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
      throw new IroriError("io", { what: `${path}: the disk refused`, got: error.code, cause: error });
    },
  );
}
