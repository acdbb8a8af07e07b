// JSON of untrusted files: strict UTF-8, and keys that occur twice found (JSON.parse keeps the last in silence).
// It does not know what the JSON means.

import { IroriError } from "../base/mod.ts";
import { printable } from "./quoted.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** `what` names the file and the part in the error's sentence. */
export function parseJson(what: string, bytes: Uint8Array): { text: string; value: unknown } {
  try {
    const text = utf8.decode(bytes);
    return { text, value: JSON.parse(text) };
  } catch (cause) {
    const got = printable(String(cause)); // the message may quote the file
    throw new IroriError("bad-file", { what, got, wanted: "valid JSON in UTF-8", next: "fetch it again", cause });
  }
}

/** A key that occurs twice in one object of `text`, which JSON.parse has accepted. */
export function duplicateKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // undefined for an array
  let lastString = "";
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '"') {
      const start = i;
      for (i++; text[i] !== '"'; i++) if (text[i] === "\\") i++;
      lastString = text.slice(start, i + 1);
    } else if (char === ":") {
      const key: string = lastString.includes("\\") ? JSON.parse(lastString) : lastString.slice(1, -1);
      if (open.at(-1)?.has(key)) return key;
      open.at(-1)?.add(key);
    } else if (char === "{") open.push(new Set());
    else if (char === "[") open.push(undefined);
    else if (char === "}" || char === "]") open.pop();
  }
  return undefined;
}
