// What a reader of a format gives: texts with their places in the source. It does not know formats.
import { IroriError } from "../../base/mod.ts";

export interface Passage {
  readonly text: string;
  /** UTF-16 units from the start of the decoded source, or of its page. */
  readonly start?: number | undefined;
  readonly end?: number | undefined;
  readonly page?: number | undefined;
  readonly title?: string | undefined;
  readonly speaker?: string | undefined;
  /** When it was said; absent where the source does not tell. */
  readonly saidAt?: number | undefined;
}

/** What could not be read of a source, and why. */
export interface Refused {
  /** "line 7", "message 3" … */
  readonly where: string;
  readonly reason: string;
}

export interface Read {
  readonly passages: readonly Passage[];
  readonly refused: readonly Refused[];
}

/** UTF-8, or UTF-16 where a mark says so. Throws "bad-file" for bytes that are no text. */
export function decodeText(name: string, bytes: Uint8Array): string {
  const [first, second] = bytes;
  const encoding =
    first === 0xff && second === 0xfe ? "utf-16le" : first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (error) {
    throw new IroriError("bad-file", {
      what: name,
      got: `bytes that are no ${encoding.toUpperCase()}`,
      next: "save it as UTF-8",
      cause: error,
    });
  }
}
