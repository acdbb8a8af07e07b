// By what a text is recognised when it is told again. It does not know stores.
import { createHash } from "node:crypto";
import type { Scope } from "./episode.ts";

/** 16 bytes of the text without differences in spacing and compatibility forms, and of whose it is. */
export function fingerprintOf(text: string, { user, agent, thread }: Scope): Buffer {
  const plain = text.normalize("NFKC").replace(/\s+/g, " ").trim();
  const whose = JSON.stringify([user ?? null, agent ?? null, thread ?? null]);
  return createHash("sha256").update(whose).update(plain).digest().subarray(0, 16);
}
