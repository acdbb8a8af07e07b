// A file over HTTP into a folder of its own: in pieces side by side, each of them going on where it stopped, also in another
// process on another day. What a server says of the file is compared at every answer. It does not know what the bytes should be.

import { createHash } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { IroriError } from "../base/mod.ts";
import {
  bytesDone,
  dataPath,
  freshState,
  lengthOf,
  type Remote,
  readState,
  type State,
  StateSaver,
} from "./download-state.ts";
import { type Http, type HttpAnswer, isPassing, markPassing } from "./http.ts";
import { retryAfterMs, statusError } from "./http-status.ts";
import { noteWait, Patience } from "./patience.ts";
import { printable } from "./quoted.ts";
import { checkRoom, type Disk, type DiskFile, writing } from "./store-disk.ts";

export interface DownloadRequest {
  readonly http: Http;
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Known from elsewhere; another length is an error. */
  readonly bytes?: number | undefined;
  /** What the bytes are is known, whoever gives them: another server's pieces fit. */
  readonly isKnown: boolean;
  /** Folder of the pieces; kept where the download fails. */
  readonly folder: string;
  readonly disk: Disk;
  /** For sentences. */
  readonly name: string;
  readonly signal: AbortSignal;
  readonly clock: () => number;
  /** Bytes that are here, those of earlier attempts included, and in all, where that is known. */
  readonly onBytes: (done: number, total: number | undefined) => void;
}

export interface Downloaded {
  readonly path: string;
  readonly bytes: number;
  /** Some of it came with an earlier attempt. */
  readonly isResumed: boolean;
}

/** The name of the folder for the pieces of a URL, or of a content. */
export const partialKey = (urlOrContent: string): string =>
  createHash("sha256").update(urlOrContent).digest("hex").slice(0, 24);

/** The server has another file now than when the pieces came. */
class Changed extends Error {}

export async function download(request: DownloadRequest): Promise<Downloaded> {
  const { folder } = request;
  for (let attempt = 0; ; attempt++) {
    await onDisk(request, () => mkdir(folder, { recursive: true }));
    const found = await probe(request);
    try {
      return await (found.remote ? inPieces(request, found.remote) : atOnce(request, found.bytes));
    } catch (error) {
      if (!(error instanceof Changed)) throw error;
      await rm(folder, { recursive: true, force: true });
      if (attempt < 1) continue;
      throw new IroriError("io", { what: `${request.url} changes while it is fetched`, next: "try again later" });
    }
  }
}

/** How long the file is, where the server says so; `remote` where it gives parts. */
interface Found {
  readonly bytes: number | undefined;
  readonly remote?: Remote;
}

/** Asks for one byte, to see what there is. */
async function probe(request: DownloadRequest): Promise<Found> {
  const { url, name } = request;
  const answer = await patienceOf(request, false).until(() => get(request, "bytes=0-0", [200, 206, 416]));
  answer.close();
  const range = contentRange(answer);
  const length = answer.headers["content-length"];
  // an empty file has no first byte
  const isEmpty = answer.status === 416 && range?.total === 0;
  if (answer.status === 416 && !isEmpty)
    throw new IroriError("io", {
      what: `${name}: ${url} gives no byte of a file`,
      got: 416,
      next: "check the address",
    });
  const bytes = range?.total ?? (answer.status === 200 && length !== undefined ? Number(length) : undefined);
  if (request.bytes !== undefined && bytes !== undefined && bytes !== request.bytes)
    throw new IroriError("bad-file", {
      what: `${name}: ${url} has another length`,
      got: `${bytes} bytes`,
      wanted: request.bytes,
      next: "it is refused",
    });
  const hasParts = answer.status === 206 && range?.start === 0;
  const total = bytes ?? request.bytes;
  return {
    bytes: total,
    ...(hasParts && total !== undefined && { remote: { url, etag: etagOf(answer), bytes: total } }),
  };
}

const etagOf = ({ headers }: HttpAnswer): string | undefined => headers["x-linked-etag"] ?? headers.etag;

/** One answer from the beginning: for servers that give no parts. Nothing of it can be gone on with. */
async function atOnce(request: DownloadRequest, total: number | undefined): Promise<Downloaded> {
  const path = dataPath(request.folder);
  await roomFor(request, total);
  return await patienceOf(request, true).until(async () => {
    const answer = await get(request, undefined, [200]);
    await using file = await opened(request, true);
    let done = 0;
    for await (const chunk of answer.body) {
      if (total !== undefined && done + chunk.length > total) throw tooLong(request, total);
      await onDisk(request, () => file.writeAt(chunk, done));
      done += chunk.length;
      request.onBytes(done, total);
    }
    await onDisk(request, () => file.sync());
    if (total === undefined || done === total) return { path, bytes: done, isResumed: false };
    throw cut(request, done, total);
  });
}

async function inPieces(request: DownloadRequest, remote: Remote): Promise<Downloaded> {
  const { http, disk, folder, clock } = request;
  const { pieceBytes, connections } = http.network;
  const known = await readState(folder, remote, request.isKnown);
  const state = known ?? freshState(remote, pieceBytes);
  const before = bytesDone(state);
  await roomFor(request, remote.bytes - before);
  await using file = await opened(request, known === undefined);
  request.onBytes(before, remote.bytes);
  const stop = new AbortController();
  const shared = { ...request, signal: AbortSignal.any([request.signal, stop.signal]) };
  const work = { file, state, saver: new StateSaver(disk, folder, state, clock), patience: patienceOf(shared, true) };
  const left = state.done.flatMap((done, piece) => (done < lengthOf(state, piece) ? [piece] : []));
  const failures: unknown[] = [];
  const connection = async () => {
    try {
      for (let piece = left.shift(); piece !== undefined; piece = left.shift()) {
        const current = piece;
        await work.patience.until(() => fetchPiece(shared, current, work));
      }
    } catch (error) {
      failures.push(error);
      stop.abort(); // the others would meet the same
    }
  };
  await Promise.all(Array.from({ length: connections }, connection));
  await onDisk(request, () => work.saver.save());
  if (failures.length > 0) throw failures[0];
  await onDisk(request, () => file.sync());
  return { path: dataPath(folder), bytes: state.bytes, isResumed: before > 0 };
}

interface Work {
  readonly file: DiskFile;
  readonly state: State;
  readonly saver: StateSaver;
  readonly patience: Patience;
}

/** The rest of one piece. */
async function fetchPiece(request: DownloadRequest, piece: number, work: Work): Promise<void> {
  const { state, file } = work;
  const start = piece * state.pieceBytes;
  const end = start + lengthOf(state, piece);
  const from = start + (state.done[piece] as number);
  const answer = await get(request, `bytes=${from}-${end - 1}`, [206, 200, 416]);
  try {
    requirePart(request, state, answer, from, end);
    let at = from;
    for await (const chunk of answer.body) {
      const part = chunk.subarray(0, end - at);
      await onDisk(request, () => file.writeAt(part, at));
      at += part.length;
      state.done[piece] = at - start;
      work.patience.renew();
      request.onBytes(bytesDone(state), state.bytes);
      await onDisk(request, () => work.saver.saveSometimes());
      if (at === end) return;
    }
    throw cut(request, at - from, end - from);
  } finally {
    answer.close();
  }
}

/** The part that was asked for, of the file that it was asked of. */
function requirePart(request: DownloadRequest, state: State, answer: HttpAnswer, from: number, end: number): void {
  const range = contentRange(answer);
  if (answer.status !== 206 || range?.total !== state.bytes || etagOf(answer) !== state.etag) throw new Changed();
  if (range.start === from && range.end === end - 1) return;
  const what = `${request.name}: ${new URL(answer.url).host} gave another part of the file than was asked for`;
  const [got, wanted] = [`bytes ${range.start} to ${range.end}`, `${from} to ${end - 1}`];
  throw markPassing(new IroriError("io", { what, got, wanted, next: "try again later, or another source" }));
}

async function get(
  request: DownloadRequest,
  range: string | undefined,
  wanted: readonly number[],
): Promise<HttpAnswer> {
  const { http, url, headers, signal, name } = request;
  const answer = await http.get(url, { headers: { ...headers, ...(range !== undefined && { range }) }, signal });
  const encoding = answer.headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") {
    answer.close();
    const got = printable(encoding, 40);
    throw new IroriError("io", {
      what: `${name}: ${url} comes packed, which was not asked for`,
      got,
      wanted: "as it is",
    });
  }
  if (wanted.includes(answer.status)) return answer;
  const waitMs = retryAfterMs(answer, request.clock());
  const error = await statusError(answer, `${name}: ${url} is refused`);
  if (waitMs !== undefined && isPassing(error)) noteWait(error, waitMs);
  throw error;
}

/** "bytes 0-99/1000"; "bytes * /1000", without the space, where there is no such part. */
function contentRange({ headers }: HttpAnswer): { start: number; end: number; total: number } | undefined {
  const match = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+)$/.exec(headers["content-range"] ?? "");
  return match ? { start: Number(match[1] ?? -1), end: Number(match[2] ?? -1), total: Number(match[3]) } : undefined;
}

function cut({ name, url }: DownloadRequest, got: number, wanted: number): IroriError {
  const what = `${name}: ${new URL(url).host} ended the file early`;
  return markPassing(new IroriError("io", { what, got: `${got} bytes`, wanted, next: "try again" }));
}

function tooLong({ name, url }: DownloadRequest, wanted: number): IroriError {
  const what = `${name}: ${url} goes on behind its end`;
  return new IroriError("bad-file", { what, got: "more bytes", wanted, next: "it is refused" });
}

function patienceOf({ http, name, signal }: DownloadRequest, hasAnswered: boolean): Patience {
  return new Patience({ network: http.network, name, signal, hasAnswered });
}

async function roomFor({ disk, folder, name }: DownloadRequest, neededBytes: number | undefined): Promise<void> {
  await checkRoom({ disk, folder, writing: name, neededBytes });
}

async function onDisk<T>({ disk, folder, name, bytes }: DownloadRequest, write: () => Promise<T>): Promise<T> {
  return await writing({ disk, folder, writing: name, neededBytes: bytes }, write);
}

async function opened(request: DownloadRequest, isFresh: boolean): Promise<DiskFile & AsyncDisposable> {
  const path = dataPath(request.folder);
  return await onDisk(request, async () => {
    if (isFresh) await rm(path, { force: true });
    const file = await request.disk.edit(path);
    return Object.assign(file, { [Symbol.asyncDispose]: () => file.close() });
  });
}
