// What of the store nobody needs: pieces of downloads, bytes and prepared forms that no model names, and models that are not to
// be kept. It does not know what a prepared form holds.

import { readdir } from "node:fs/promises";
import { join, sep } from "node:path";
import { bytesUnder, removeTree } from "./store-disk.ts";
import type { Lock } from "./store-lock.ts";
import { lockIn, type Place, publish, writeIn } from "./store-place.ts";
import { preparedForms, removeFolder, shortId } from "./store-prepared.ts";
import { contentPath, type Reference } from "./store-reference.ts";

export interface Leftover {
  readonly kind: "download" | "bytes" | "prepared" | "pages";
  /** Its name in the store; of pages, behind the name of their prepared form. */
  readonly name: string;
  readonly bytes: number;
}

/**
 * Downloads that broke off and that nobody goes on with now, and what no reference names.
 * @param isStale of a folder's name inside a prepared form: nothing reads it any more
 */
export async function findLeftovers(
  place: Place,
  references: readonly Reference[],
  isStale: (name: string) => boolean,
): Promise<Leftover[]> {
  const { home } = place;
  const under = (folder: string) => readdir(join(home, folder));
  const sized = async (kind: Leftover["kind"], folder: string, name: string): Promise<Leftover> => {
    return { kind, name, bytes: await bytesUnder(join(home, folder, name)) };
  };
  const held = await under("locks");
  const all: Leftover[] = [];
  for (const name of await under("partial"))
    if (!held.some((lock) => lock.startsWith(`partial-${name}~`))) all.push(await sized("download", "partial", name));
  const named = new Set(references.map((reference) => contentPath(home, reference)));
  for (const name of await under("blobs"))
    if (/^(sha256|folder)-[0-9a-f]{64}$/.test(name) && !named.has(join(home, "blobs", name)))
      all.push(await sized("bytes", "blobs", name));
  for (const { name, id } of await preparedForms(place)) {
    if (!references.some(({ contentId }) => shortId(contentId) === id))
      all.push(await sized("prepared", "prepared", name));
    else
      for (const inside of (await under(join("prepared", name))).filter(isStale))
        all.push(await sized("pages", "prepared", join(name, inside)));
  }
  return all;
}

/** Removes leftovers; who has their files mapped keeps them. `commit` is the lock under which nothing gets a name. */
export async function removeLeftovers(place: Place, leftovers: readonly Leftover[], commit: Lock): Promise<void> {
  for (const { kind, name } of leftovers) {
    if (kind === "prepared") {
      await removeFolder(place, name);
      continue;
    }
    const path = join(place.home, { download: "partial", bytes: "blobs", pages: "prepared" }[kind], name);
    // at once; it goes with the lock's folder
    if (kind !== "download")
      await writeIn(place, `the removal of ${path}`, () =>
        publish(path, join(commit.folder, name.replaceAll(sep, "-"))),
      );
    else {
      await using _alone = await lockIn(place, `partial-${name}`);
      await removeTree(path);
    }
  }
}
