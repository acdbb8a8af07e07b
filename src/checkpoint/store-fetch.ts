// The bytes of a source in a temporary folder, each file with its hash; mirrors tried in order.
// It does not know names, references or where the bytes go.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { IroriError } from "../base/mod.ts";
import { type BringRequest, bring } from "./bring.ts";
import { bytesOf, type Content, type ContentFile } from "./content.ts";
import { type Offer, type OfferedFile, openOffer } from "./offer.ts";
import { formatSource, type Source } from "./source.ts";
import { checkRoom, isOurDisk, removeTree } from "./store-disk.ts";

/** The client keeps the archive twice for a moment, and then the archive and the file lie side by side. */
const copiesWhileFetching = 2;

export interface FetchRequest extends BringRequest {
  /** Sources of the same bytes. */
  readonly mirrors: readonly Source[];
  /** An empty folder that the caller removes. */
  readonly folder: string;
  /** Nothing is fetched. */
  readonly isOffline: boolean;
}

export interface Fetched extends Content {
  /** The file or the folder. */
  readonly path: string;
  readonly license?: string | undefined;
}

export async function fetchContent(request: FetchRequest): Promise<Fetched> {
  const { wanted, name, folder, disk } = request;
  const mirrors = reachable(request);
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

/** Offline, only what is on this disk. */
function reachable({ mirrors, isOffline, name }: FetchRequest): readonly Source[] {
  const isHere = (source: Source): boolean =>
    source.kind === "file" || (source.kind === "parts" && source.parts.every(isHere));
  const here = isOffline ? mirrors.filter(isHere) : mirrors;
  if (here.length > 0) return here;
  const what = `${name} is not on this disk, and fetching ${mirrors.map(formatSource).join(" or ")} needs the network`;
  throw new IroriError("not-found", { what, next: "unset IRORI_OFFLINE, or give a file: source" });
}

async function fetchMirror(request: FetchRequest, mirror: Source, place: string): Promise<Fetched> {
  await using offer = await openOffer(request, mirror, join(place, "source"));
  const { layout, license } = offer;
  const wanted = wantedFiles(request, mirror, offer);
  const lengths = wanted.map(({ file }) => file.bytes);
  const total = lengths.reduce((sum, bytes) => (sum === undefined || bytes === undefined ? undefined : sum + bytes), 0);
  await checkRoom({ disk: request.disk, folder: place, writing: request.name, neededBytes: total });
  const path = join(place, "content");
  let before = 0;
  const files: ContentFile[] = [];
  // small files first: a mirror with other bytes is refused before the large ones are fetched
  for (const { name, file, expected } of wanted.toSorted((a, b) => (a.file.bytes ?? 0) - (b.file.bytes ?? 0))) {
    const at = layout === "folder" ? join(path, name) : path;
    const report = (step: string, done: number) =>
      request.onProgress({ step, item: request.name, done: before + done, ...(total && { total }), unit: "bytes" });
    const { bytes, sha256 } = await bring(request, file, at, expected?.sha256, report);
    if (expected !== undefined && sha256 !== expected.sha256)
      throw refused(request, mirror, `${fileIn(name)}other bytes (sha256)`, sha256, expected.sha256);
    files.push({ name, bytes, sha256 });
    before += bytes;
  }
  return { layout, path, files, license };
}

/** The offer's files, each with what it must be, where that is known; lengths are compared before a byte is fetched. */
function wantedFiles(request: FetchRequest, mirror: Source, offer: Offer) {
  const { wanted } = request;
  const every = (file: OfferedFile) => ({ name: file.name, file, expected: undefined as ContentFile | undefined });
  if (wanted === undefined) return offer.files.map(every);
  if (wanted.layout !== offer.layout) throw refused(request, mirror, "another layout", offer.layout, wanted.layout);
  return wanted.files.map((expected) => {
    const { name } = expected;
    const file = wanted.layout === "file" ? offer.files[0] : offer.files.find((each) => each.name === name);
    if (file === undefined)
      throw refused(request, mirror, `no ${name}`, `${offer.files.length} files`, "all of its files");
    if (file.bytes !== undefined && file.bytes !== expected.bytes)
      throw refused(request, mirror, `${fileIn(name)}other bytes`, `${file.bytes} bytes`, expected.bytes);
    return { ...every(file), name, expected };
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
