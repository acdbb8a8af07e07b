// What all parts of the store share: its folder, time, disk and catalog, and the locks and writes in that folder.
// It does not know what is pulled or prepared.

import { mkdir, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { OnProgress } from "../base/mod.ts";
import type { CatalogEntry } from "./catalog.ts";
import { type Disk, syncFolder, writing } from "./store-disk.ts";
import { Lock } from "./store-lock.ts";

export interface Place {
  readonly home: string;
  readonly clock: () => number;
  readonly patienceMs: number;
  readonly catalog: readonly CatalogEntry[];
  readonly disk: Disk;
}

export interface WorkOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

export const storeFolders = ["blobs", "models", "prepared", "partial", "staging", "locks"] as const;

/** Taken in this order where several are held: a model's or a prepared form's, then "commit". */
export async function lockIn(place: Place, key: string, options: WorkOptions = {}): Promise<Lock> {
  const { home, clock, patienceMs } = place;
  return await writeIn(place, `the lock of ${key}`, () => Lock.acquire({ home, key, clock, patienceMs, ...options }));
}

/** Runs a write below the home; what the disk refuses becomes a sentence. */
export async function writeIn<T>(
  place: Place,
  what: string,
  write: () => Promise<T>,
  neededBytes?: number,
): Promise<T> {
  return await writing({ disk: place.disk, folder: place.home, writing: what, neededBytes }, write);
}

/** A small file that appears whole: written in `folder`, a temporary one, and renamed. */
export async function writeWhole(place: Place, folder: string, path: string, text: string): Promise<void> {
  const beside = join(folder, "whole");
  const file = await place.disk.create(beside);
  try {
    await file.write(Buffer.from(text));
    await file.sync();
  } finally {
    await file.close();
  }
  await publish(beside, path);
}

/** Moves a finished file or folder into its place, durably. */
export async function publish(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await rename(from, to);
  await syncFolder(dirname(to));
}
