// How far a download is, kept beside its bytes, so that another process goes on with it. Anything odd counts as nothing.
// It does not know servers.

import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Disk } from "./store-disk.ts";

const saveEveryMs = 1_000;

/** A file of known length as a server tells of it. */
export interface Remote {
  readonly url: string;
  readonly etag: string | undefined;
  readonly bytes: number;
}

/** `done` are the bytes of each piece, from its beginning. */
export interface State extends Remote {
  readonly format: 1;
  readonly pieceBytes: number;
  readonly done: number[];
}

export const dataPath = (folder: string): string => join(folder, "data");
const statePath = (folder: string): string => join(folder, "state.json");

export const lengthOf = ({ bytes, pieceBytes }: State, piece: number): number =>
  Math.min(pieceBytes, bytes - piece * pieceBytes);
export const bytesDone = ({ done }: State): number => done.reduce((a, b) => a + b, 0);

const pieceCount = (bytes: number, pieceBytes: number): number => Math.max(1, Math.ceil(bytes / pieceBytes));

export function freshState({ url, etag, bytes }: Remote, pieceBytes: number): State {
  return { format: 1, url, etag, bytes, pieceBytes, done: new Array<number>(pieceCount(bytes, pieceBytes)).fill(0) };
}

/**
 * How far an earlier attempt came, where its pieces are of the file that is there now: of the same server's file, or of any
 * server's where the content is known (`isKnown`).
 */
export async function readState(folder: string, remote: Remote, isKnown: boolean): Promise<State | undefined> {
  const text = await readFile(statePath(folder), "utf8").catch(() => undefined); // none yet
  const data = await stat(dataPath(folder)).catch(() => undefined);
  const state = text === undefined || data === undefined ? undefined : parsed(text);
  if (state === undefined || state.bytes !== remote.bytes) return undefined;
  const isSame = state.url === remote.url ? state.etag === remote.etag : isKnown;
  return isSame ? { ...state, url: remote.url, etag: remote.etag } : undefined;
}

function parsed(text: string): State | undefined {
  let state: State;
  try {
    state = JSON.parse(text) as State;
  } catch {
    return undefined; // a note that is not whole: the bytes come anew
  }
  const isWhole =
    state?.format === 1 &&
    Number.isSafeInteger(state.bytes) &&
    Number.isSafeInteger(state.pieceBytes) &&
    state.pieceBytes > 0 &&
    Array.isArray(state.done) &&
    state.done.length === pieceCount(state.bytes, state.pieceBytes) &&
    state.done.every((done, piece) => Number.isSafeInteger(done) && done >= 0 && done <= lengthOf(state, piece));
  return isWhole ? state : undefined;
}

/**
 * Writes down how far each piece is: after its bytes, so that the note is not ahead of them. (A machine that loses power may
 * lose bytes that are noted; the hash of the whole tells.)
 */
export class StateSaver {
  readonly #disk: Disk;
  readonly #folder: string;
  readonly #state: State;
  readonly #clock: () => number;
  #savedAt: number;
  #saving: Promise<void> = Promise.resolve();
  #isSaving = false;

  constructor(disk: Disk, folder: string, state: State, clock: () => number) {
    this.#disk = disk;
    this.#folder = folder;
    this.#state = state;
    this.#clock = clock;
    this.#savedAt = clock();
  }

  async saveSometimes(): Promise<void> {
    if (!this.#isSaving && this.#clock() - this.#savedAt >= saveEveryMs) await this.save();
  }

  /** One after another: each replaces the file. */
  async save(): Promise<void> {
    this.#savedAt = this.#clock();
    this.#isSaving = true;
    const before = this.#saving;
    this.#saving = before.then(() => this.#disk.replace(statePath(this.#folder), JSON.stringify(this.#state)));
    try {
      await this.#saving;
    } finally {
      this.#isSaving = false;
    }
  }
}
