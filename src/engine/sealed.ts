// Small files that say whether they are whole: a SHA-256 in front of the content, checked whenever they are read.
// It does not know what the content means.
import { createHash, randomUUID } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { IroriError } from "../base/mod.ts";

const HASH_BYTES = 32;
const hashOf = (content: Uint8Array): Buffer => createHash("sha256").update(content).digest();

/** Writes beside and renames: the file is whole or absent, also after a crash. */
export async function writeSealed(path: string, content: Uint8Array): Promise<void> {
  const beside = `${path}.${randomUUID()}`;
  await writeFile(beside, Buffer.concat([hashOf(content), content]), { flush: true });
  await rename(beside, path);
}

/** The content, or undefined where there is no file. Throws "bad-file" where a byte is not as it was written. */
export async function readSealed(path: string): Promise<Uint8Array | undefined> {
  const file = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new IroriError("io", { what: `${path} cannot be read`, got: error.message, cause: error });
  });
  if (file === undefined) return undefined;
  const content = file.subarray(HASH_BYTES);
  if (file.length >= HASH_BYTES && hashOf(content).equals(file.subarray(0, HASH_BYTES))) return content;
  throw new IroriError("bad-file", {
    what: `${path}: its bytes are not those that were written`,
    got: `${file.length} bytes`,
    next: "it is made anew when the model is next opened",
  });
}

/** The SHA-256 of a sealed file's content, in hexadecimal. Throws as `readSealed` does, and "bad-file" where there is none. */
export async function sealOf(path: string): Promise<string> {
  const content = await readSealed(path);
  if (content === undefined) throw new IroriError("bad-file", { what: `${path} is missing` });
  return hashOf(content).toString("hex");
}
