// The bytes of a source in a temporary folder, hashed while they are written; mirrors tried in order.
// It does not know names, references or where the bytes go.

import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cancelled, IroriError } from "../base/mod.ts";
import { bytesOf, type Content, type ContentFile } from "./content.ts";
import { type Offer, type OfferedFile, type OfferRequest, openOffer } from "./offer.ts";
import { formatSource, type Source } from "./source.ts";
import { checkRoom, type Disk, removeTree, writing } from "./store-disk.ts";

/** The client keeps the archive twice for a moment, and then the archive and the file lie side by side. */
const copiesWhileFetching = 2;

export interface FetchRequest extends OfferRequest {
  /** Sources of the same bytes. */
  readonly mirrors: readonly Source[];
  /** What the bytes must be, where it is known. */
  readonly wanted?: Content | undefined;
  /** An empty folder that the caller removes. */
  readonly folder: string;
  readonly disk: Disk;
}

export interface Fetched extends Content {
  /** The file or the folder. */
  readonly path: string;
}

export async function fetchContent(request: FetchRequest): Promise<Fetched> {
  const { mirrors, wanted, name, folder, disk } = request;
  const neededBytes = wanted && bytesOf(wanted) * copiesWhileFetching;
  await checkRoom({ disk, folder, writing: name, neededBytes });
  const refusals: IroriError[] = [];
  for (const [i, mirror] of mirrors.entries()) {
    const place = join(folder, `mirror-${i}`);
    await mkdir(place);
    try {
      return await fetchMirror(request, mirror, place);
    } catch (error) {
      // A full disk or a cancel would meet every mirror; a fault of the program must be seen.
      if (!(error instanceof IroriError) || error.code === "cancelled" || ourDisk.has(error)) throw error;
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

async function fetchMirror(request: FetchRequest, mirror: Source, place: string): Promise<Fetched> {
  await using offer = await openOffer(request, mirror, join(place, "source"));
  const wanted = wantedFiles(request, mirror, offer);
  const total = wanted.reduce((sum, { file }) => sum + file.bytes, 0);
  await onOurDisk(request, place, undefined, () => {
    return checkRoom({ disk: request.disk, folder: place, writing: request.name, neededBytes: total });
  });
  const path = join(place, "content");
  let before = 0;
  const files: ContentFile[] = [];
  for (const { name, file, expected } of wanted) {
    const at = offer.layout === "folder" ? join(path, name) : path;
    const report = (bytes: number) =>
      request.onProgress({ step: "unpack", item: request.name, done: before + bytes, total, unit: "bytes" });
    const sha256 = await writeFile(request, file, at, report);
    if (expected !== undefined && sha256 !== expected.sha256)
      throw refused(request, mirror, `${fileIn(name)}other bytes (sha256)`, sha256, expected.sha256);
    files.push({ name, bytes: file.bytes, sha256 });
    before += file.bytes;
  }
  return { layout: offer.layout, path, files };
}

/** The offer's files in the order of what is wanted, where that is known; lengths are compared before a byte is written. */
function wantedFiles(request: FetchRequest, mirror: Source, offer: Offer) {
  const { wanted } = request;
  if (wanted === undefined) return offer.files.map((file) => ({ name: file.name, file, expected: undefined }));
  if (wanted.layout !== offer.layout) throw refused(request, mirror, "another layout", offer.layout, wanted.layout);
  return wanted.files.map((expected) => {
    const { name } = expected;
    const file = wanted.layout === "file" ? offer.files[0] : offer.files.find((each) => each.name === name);
    if (file === undefined)
      throw refused(request, mirror, `no ${name}`, `${offer.files.length} files`, "all of its files");
    if (file.bytes !== expected.bytes)
      throw refused(request, mirror, `${fileIn(name)}other bytes`, `${file.bytes} bytes`, expected.bytes);
    return { name, file, expected };
  });
}

const fileIn = (name: string): string => (name === "" ? "" : `${name} with `);

function refused(
  { name }: FetchRequest,
  mirror: Source,
  has: string,
  got: string | number,
  wanted: string | number,
): IroriError {
  return new IroriError("bad-file", {
    what: `${name}: ${formatSource(mirror)} has ${has}`,
    got,
    wanted,
    next: "it is refused",
  });
}

/** Writes a file durably and tells its hash. */
async function writeFile(
  request: FetchRequest,
  file: OfferedFile,
  path: string,
  onBytes: (done: number) => void,
): Promise<string> {
  const onDisk = <T>(write: () => Promise<T>) => onOurDisk(request, request.folder, file.bytes, write);
  const hash = createHash("sha256");
  let done = 0;
  await onDisk(() => mkdir(dirname(path), { recursive: true }));
  await using target = await onDisk(async () => closing(await request.disk.create(path)));
  for await (const chunk of file.chunks()) {
    if (request.signal.aborted) throw cancelled(`fetching ${request.name}`, request.signal);
    hash.update(chunk);
    await onDisk(() => target.write(chunk));
    done += chunk.length;
    onBytes(done);
  }
  await onDisk(() => target.sync());
  return hash.digest("hex");
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
