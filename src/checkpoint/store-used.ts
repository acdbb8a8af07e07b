// When a model was last opened: the time of an empty file of its name. It does not know what opening means.

import { mkdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Place } from "./store-place.ts";

const notePath = ({ home }: Place, name: string): string => join(home, "used", name);

/** Notes that a model is used now. A store that cannot be written (full, read-only) is used all the same. */
export async function noteUse(place: Place, name: string): Promise<boolean> {
  const path = notePath(place, name);
  const now = new Date(place.clock());
  const touch = () => utimes(path, now, now);
  return await touch()
    .catch(async () => {
      await mkdir(join(place.home, "used"), { recursive: true });
      await writeFile(path, "");
      await touch();
    })
    .then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (["EACCES", "EDQUOT", "ENOSPC", "EPERM", "EROFS"].includes(error.code ?? "")) return false;
        throw error;
      },
    );
}

/** Milliseconds since 1970; undefined where it was never opened. */
export async function lastUse(place: Place, name: string): Promise<number | undefined> {
  return await stat(notePath(place, name)).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  );
}

export async function forgetUse(place: Place, name: string): Promise<void> {
  await rm(notePath(place, name), { force: true });
}
