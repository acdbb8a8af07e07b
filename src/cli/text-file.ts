// Whole texts from files or stdin. It does not know what they say.
import { readFile } from "node:fs/promises";
import { text as readAll } from "node:stream/consumers";
import { IroriError } from "../base/mod.ts";

/** A UTF-8 file's text, without a byte-order mark; - for stdin. Throws "not-found", "io", or "bad-file" for bytes that are no UTF-8. */
export async function readText(path: string): Promise<string> {
  if (path === "-") return readAll(process.stdin);
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    const code = error.code === "ENOENT" ? "not-found" : "io";
    throw new IroriError(code, { what: `${path} cannot be read`, got: error.message, cause: error });
  });
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new IroriError("bad-file", { what: `${path} is no UTF-8 text`, cause });
  }
}
