// Bringing a model into the store: a blob fetched under the model's lock, or a file in place that is hashed and noted.
// Blob first, reference last: a reference never names bytes that are not there.

import { stat } from "node:fs/promises";
import { IroriError, type OnProgress } from "../base/mod.ts";
import type { CatalogEntry } from "./catalog.ts";
import { formatSource, modelName, parseSource, type Source } from "./source.ts";
import { hashContent, hashFile, identifyFile } from "./source-file.ts";
import type { FetchedBlob } from "./store-fetch.ts";
import type { Lock } from "./store-lock.ts";
import { lockIn, type Place, publish, type WorkOptions, writeIn, writeWhole } from "./store-place.ts";
import { blobPath, type Reference, readReference, referencePath } from "./store-reference.ts";

/** A stamp made within this time of the file's last change may miss the next one. */
const stampTrustMs = 2_000;

export interface PullOptions extends WorkOptions {
  /** The Python whose pip fetches packages; default: python3, then python. */
  readonly python?: string | undefined;
  /** Nothing is fetched: what is not on this disk is an error. */
  readonly isOffline?: boolean | undefined;
}

export interface BlobRequest {
  readonly name: string;
  readonly source: Source;
  readonly entry: CatalogEntry | undefined;
  readonly python: string | undefined;
  readonly isOffline: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

/** The reference of `name` where its file is here as it was pulled. */
export async function wholeReference(place: Place, name: string): Promise<Reference | undefined> {
  const reference = await readReference(place.home, name);
  if (reference?.place.kind === "blob") {
    return (await sizeOf(blobPath(place.home, reference.contentId))) === reference.bytes ? reference : undefined;
  }
  if (!reference || (await sizeOf(reference.place.path)) === undefined) return undefined;
  return (await identifyFile(reference.place.path)).stamp === reference.place.stamp ? reference : undefined;
}

/** Fetches a model's bytes; another process that was faster has done it for this one too. */
export async function pullBlob(place: Place, request: BlobRequest): Promise<Reference> {
  const { name, signal, onProgress, entry } = request;
  await using lock = await lockIn(place, `model-${name}`, { signal, onProgress });
  const known = await wholeReference(place, name);
  if (known) return known;
  const here = entry && (await wholeBlob(place, entry, request));
  const blob = here ?? (await fetchInto(place, lock, request));
  const about = entry && { license: entry.license, family: entry.family, description: entry.description };
  const reference: Reference = {
    format: 1,
    name,
    source: formatSource(request.source),
    bytes: blob.bytes,
    sha256: blob.sha256,
    contentId: blob.sha256,
    ...about,
    pulledAt: place.clock(),
    place: { kind: "blob" },
  };
  await commit(place, reference, blob);
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
  await commit(place, reference, undefined);
  return reference;
}

async function fetchInto(place: Place, lock: Lock, request: BlobRequest): Promise<FetchedBlob> {
  const { name, source, entry, python, isOffline, signal, onProgress } = request;
  const mirrors = entry ? entry.sources.map(parseSource) : [source];
  const { folder } = lock;
  const onClient = (pid: number) => lock.noteClient(pid);
  const fetch = {
    mirrors,
    wanted: entry,
    name,
    folder,
    disk: place.disk,
    signal,
    onProgress,
    onClient,
    python,
    isOffline,
  };
  const { fetchBlob } = await import("./store-fetch.ts"); // archives and clients, only to fetch
  return await writeIn(place, name, () => fetchBlob(fetch), entry?.bytes);
}

/** A catalog entry's bytes that are here already, left by a pull that was killed before its last step. */
async function wholeBlob(place: Place, entry: CatalogEntry, options: WorkOptions): Promise<FetchedBlob | undefined> {
  const path = blobPath(place.home, entry.sha256);
  if ((await sizeOf(path)) !== entry.bytes) return undefined;
  return (await hashFile(path, options)) === entry.sha256
    ? { path, bytes: entry.bytes, sha256: entry.sha256 }
    : undefined;
}

async function commit(place: Place, reference: Reference, blob: FetchedBlob | undefined): Promise<void> {
  await using lock = await lockIn(place, "commit");
  await writeIn(place, reference.name, async () => {
    if (blob) await settle(blob, blobPath(place.home, blob.sha256));
    const text = `${JSON.stringify(reference, undefined, 2)}\n`;
    await writeWhole(place, lock.folder, referencePath(place.home, reference.name), text);
  });
}

/** The same bytes may be here under another name: whoever has them mapped keeps them; broken ones are replaced. */
async function settle(blob: FetchedBlob, target: string): Promise<void> {
  if (blob.path === target) return;
  const isHere = (await sizeOf(target)) === blob.bytes && (await hashFile(target)) === blob.sha256;
  if (!isHere) await publish(blob.path, target);
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
