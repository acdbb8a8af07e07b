// Puts an offered file at its place and tells its hash: streamed from where it is, or downloaded beside and moved when its hash
// is right. A download that breaks off leaves its pieces for the next one. It does not know references.

import { createHash } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cancelled, IroriError } from "../base/mod.ts";
import { download, partialKey } from "./download.ts";
import { ModelFile } from "./model-file.ts";
import type { OfferedFile, OfferRequest, RemoteFile } from "./offer.ts";
import { type Disk, writing } from "./store-disk.ts";

const pieceBytes = 4 << 20;

export interface BringRequest extends OfferRequest {
  readonly disk: Disk;
  readonly clock: () => number;
  /** Holds the pieces of a download alone; the folder that they lie in. */
  readonly lockPartial: (key: string) => Promise<{ readonly folder: string } & AsyncDisposable>;
}

export interface Brought {
  readonly bytes: number;
  readonly sha256: string;
}

/** @param onBytes bytes of this file that are here */
export async function bring(
  request: BringRequest,
  file: OfferedFile,
  path: string,
  sha256: string | undefined,
  onBytes: (step: "unpack" | "download", done: number) => void,
): Promise<Brought> {
  await onDisk(request, dirname(path), file.bytes, () => mkdir(dirname(path), { recursive: true }));
  if ("chunks" in file.from)
    return await stream(request, file.bytes, file.from.chunks(), path, (done) => onBytes("unpack", done));
  const wanted = sha256 ?? file.from.sha256;
  await using partial = await request.lockPartial(partialKey(wanted ?? file.from.url));
  for (let isFirst = true; ; isFirst = false) {
    const { http, disk, name, signal, clock } = request;
    const { url, headers } = file.from;
    const done = await download({
      ...{ http, url, headers, disk, name, signal, clock },
      bytes: file.bytes,
      isKnown: wanted !== undefined,
      folder: partial.folder,
      onBytes: (done) => onBytes("download", done),
    });
    const hashes = await hashesOf(request, done.path);
    const wrong = wrongHash(file.from, wanted, hashes);
    if (wrong === undefined) {
      await onDisk(request, dirname(path), undefined, () => rename(done.path, path));
      await rm(partial.folder, { recursive: true, force: true });
      return { bytes: done.bytes, sha256: hashes.sha256 };
    }
    await rm(partial.folder, { recursive: true, force: true });
    // pieces of an earlier attempt may be the broken ones: once more from the beginning
    if (!isFirst || !done.isResumed) throw wrongBytes(request, file.from, wrong);
  }
}

/** Writes chunks durably. */
async function stream(
  request: BringRequest,
  bytes: number | undefined,
  chunks: AsyncIterable<Uint8Array>,
  path: string,
  onBytes: (done: number) => void,
): Promise<Brought> {
  const onThis = <T>(write: () => Promise<T>) => onDisk(request, dirname(path), bytes, write);
  const hash = createHash("sha256");
  let done = 0;
  const target = await onThis(() => request.disk.create(path));
  try {
    for await (const chunk of chunks) {
      if (request.signal.aborted) throw cancelled(`fetching ${request.name}`, request.signal);
      hash.update(chunk);
      await onThis(() => target.write(chunk));
      done += chunk.length;
      onBytes(done);
    }
    await onThis(() => target.sync());
  } finally {
    await target.close();
  }
  return { bytes: done, sha256: hash.digest("hex") };
}

interface Hashes {
  readonly sha256: string;
  readonly git: string;
}

async function hashesOf(request: BringRequest, path: string): Promise<Hashes> {
  await using file = await ModelFile.open(path);
  const [sha256, git] = [createHash("sha256"), createHash("sha1").update(`blob ${file.size}\0`)];
  for (let at = 0; at < file.size; at += pieceBytes) {
    if (request.signal.aborted) throw cancelled(`fetching ${request.name}`, request.signal);
    const piece = await file.read(at, Math.min(pieceBytes, file.size - at));
    sha256.update(piece);
    git.update(piece);
    request.onProgress({
      step: "verify",
      item: request.name,
      done: at + piece.length,
      total: file.size,
      unit: "bytes",
    });
  }
  return { sha256: sha256.digest("hex"), git: git.digest("hex") };
}

interface Wrong {
  readonly kind: string;
  readonly got: string;
  readonly wanted: string;
}

function wrongHash({ gitHash }: RemoteFile, sha256: string | undefined, got: Hashes): Wrong | undefined {
  if (sha256 !== undefined && sha256 !== got.sha256) return { kind: "sha256", got: got.sha256, wanted: sha256 };
  if (gitHash !== undefined && gitHash !== got.git) return { kind: "git's hash", got: got.git, wanted: gitHash };
  return undefined;
}

function wrongBytes({ name }: BringRequest, { url }: RemoteFile, { kind, got, wanted }: Wrong): IroriError {
  return new IroriError("bad-file", {
    what: `${name}: ${url} gave other bytes (${kind})`,
    got,
    wanted,
    next: "it is refused",
  });
}

async function onDisk<T>(
  { disk, name }: BringRequest,
  folder: string,
  neededBytes: number | undefined,
  write: () => Promise<T>,
): Promise<T> {
  return await writing({ disk, folder: join(folder), writing: name, neededBytes }, write);
}
