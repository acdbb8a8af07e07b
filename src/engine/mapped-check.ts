// Whether a mapped file still has the bytes that were written. Hashing it at every opening would cost more than opening, so a
// sealed stamp beside it keeps the size and time it had when its hash was last seen to be right: who writes to it moves the time.
// It does not know what the file holds.
import { createHash } from "node:crypto";
import { open, stat } from "node:fs/promises";
import { IroriError } from "../base/mod.ts";
import { readSealed, writeSealed } from "./sealed.ts";

export interface Written {
  readonly bytes: number;
  readonly sha256: string;
}

const stampPath = (path: string): string => `${path}.stamp`;

/** Size and time of last change, as text; undefined where there is no file. */
async function stampOf(path: string): Promise<string | undefined> {
  const found = await stat(path, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new IroriError("io", { what: `${path} cannot be looked at`, got: error.message, cause: error });
  });
  return found && `${found.size} ${found.mtimeNs}`;
}

/** Notes that a file just written is right. */
export async function stampFile(path: string, stamp?: string): Promise<void> {
  await writeSealed(stampPath(path), new TextEncoder().encode(stamp ?? (await stampOf(path))));
}

/** Throws "bad-file" where the file is missing, cut or changed. A file that was copied or touched is hashed once. */
export async function checkMapped(path: string, written: Written): Promise<void> {
  const now = await stampOf(path);
  const size = Number(now?.split(" ")[0] ?? 0);
  const bad = (got: string, wanted: string) =>
    new IroriError("bad-file", { what: path, got, wanted, next: "it is made anew when the model is next opened" });
  if (size !== written.bytes) throw bad(`${size} bytes`, `${written.bytes}`);
  const known = await readSealed(stampPath(path)).catch((error: unknown) => {
    if (error instanceof IroriError && error.code === "bad-file") return undefined; // then the hash decides
    throw error;
  });
  if (known !== undefined && new TextDecoder().decode(known) === now) return;
  const sha256 = await hashOf(path);
  if (sha256 !== written.sha256) throw bad(`sha256 ${sha256.slice(0, 12)}…`, `${written.sha256.slice(0, 12)}…`);
  // the stamp of before the hash: what was written meanwhile is not blessed
  await stampFile(path, now).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EROFS" && error.code !== "EACCES") throw error; // a store that is only read is hashed every time
  });
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  await using file = await open(path, "r");
  for await (const chunk of file.createReadStream({ autoClose: false, highWaterMark: 4 * 1024 * 1024 }))
    hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}
