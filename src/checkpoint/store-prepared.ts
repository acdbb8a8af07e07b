// Prepared forms: one folder a model's content and form, written beside and renamed, so that what is seen is whole.
// It does not know what is in the folder.

import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { type FlightWork, IroriError } from "../base/mod.ts";
import { bytesUnder, checkRoom, exists, syncTree } from "./store-disk.ts";
import { lockIn, type Place, publish, writeIn } from "./store-place.ts";

export type WritePrepared = (folder: string, work: FlightWork) => Promise<void>;

export interface PreparedKey {
  readonly contentId: string;
  /** A short word such as f32 or q4. */
  readonly form: string;
}

export function preparedFolder({ home }: Place, key: PreparedKey): string {
  return join(home, "prepared", folderName(key));
}

export async function writePrepared(
  place: Place,
  key: PreparedKey,
  write: WritePrepared,
  neededBytes: number | undefined,
  work: FlightWork,
): Promise<string> {
  const target = preparedFolder(place, key);
  await using lock = await lockIn(place, `prepared-${folderName(key)}`, work);
  if (await exists(target)) return target;
  const what = `the prepared form ${key.form}`;
  await checkRoom({ disk: place.disk, folder: place.home, writing: what, neededBytes });
  const folder = join(lock.folder, "prepared");
  const make = async () => {
    await mkdir(folder);
    await write(folder, work);
    await syncTree(folder);
    await publish(folder, target);
  };
  await writeIn(place, what, make, neededBytes);
  return target;
}

/** Takes the folder out of sight first: nobody ever sees half of it. */
export async function removePrepared(place: Place, key: PreparedKey): Promise<void> {
  await removeFolder(place, folderName(key));
}

/** Removes a prepared form by the name of its folder. */
export async function removeFolder(place: Place, name: string): Promise<void> {
  await using lock = await lockIn(place, `prepared-${name}`);
  const folder = join(place.home, "prepared", name);
  if (!(await exists(folder))) return;
  await writeIn(place, `the removal of ${folder}`, () => publish(folder, join(lock.folder, "old")));
}

/** The prepared forms that are here: their folders' names, and which of a content. */
export async function preparedForms(place: Place): Promise<{ name: string; id: string; form: string }[]> {
  const names = await readdir(join(place.home, "prepared"));
  return names.flatMap((name) => {
    const [, id, form] = /^([0-9a-f]{24})-([a-z0-9][a-z0-9._-]{0,60})$/.exec(name) ?? [];
    return id === undefined || form === undefined ? [] : [{ name, id, form }]; // others are not ours
  });
}

/** The forms of a content that are here. */
export async function formsOf(place: Place, contentId: string): Promise<string[]> {
  return (await preparedForms(place)).filter(({ id }) => id === shortId(contentId)).map(({ form }) => form);
}

/** Removes every form of a content; returns the bytes that they took. */
export async function removeForms(place: Place, contentId: string): Promise<number> {
  let bytes = 0;
  for (const { name, id } of await preparedForms(place)) {
    if (id !== shortId(contentId)) continue;
    bytes += await bytesUnder(join(place.home, "prepared", name));
    await removeFolder(place, name);
  }
  return bytes;
}

function folderName({ contentId, form }: PreparedKey): string {
  if (/^[a-z0-9][a-z0-9._-]{0,60}$/.test(form)) return `${shortId(contentId)}-${form}`;
  throw new IroriError("bad-input", {
    what: "the name of a prepared form",
    got: form,
    wanted: "letters, digits, . _ -",
  });
}

/** 96 bits of the content's hash: as good as all, and a path that people can read. */
export function shortId(contentId: string): string {
  return contentId.slice(0, 24);
}
