// From entries of the vocabulary to the bytes that they add to a text. Knows the steps of a decoder; not the vocabulary.
import { byteOfEntry } from "./byte-alphabet.ts";
import type { DecodeStart, DecodeStep } from "./parts.ts";

const utf8 = new TextEncoder();

/** Bytes of an entry in the middle of a text, by all steps. */
export function compileDecoder(steps: readonly DecodeStep[]): (entry: string) => Uint8Array {
  const isBytes = steps.some(({ kind }) => kind === "bytes");
  const functions = steps.map(compile);
  return (entry) => {
    const byte = isBytes ? byteOfEntry(entry) : undefined;
    if (byte !== undefined) return Uint8Array.of(byte);
    return utf8.encode(functions.reduce((text, apply) => apply(text), entry));
  };
}

function compile(step: DecodeStep): (text: string) => string {
  switch (step.kind) {
    case "replace":
      return (text) => text.replaceAll(step.from, step.to);
    case "bytes":
      return (text) => text; // whole entries only, above
    case "space-before": {
      const { unless } = step;
      return (text) => (unless !== undefined && text.startsWith(unless) ? text.slice(unless.length) : ` ${text}`);
    }
    case "tidy":
      return (text) => tidied.reduce((tidy, [from, to]) => tidy.replaceAll(from, to), text);
  }
}

/** As tokenizers' WordPiece decoder cleans up English. */
const tidied: readonly (readonly [from: string, to: string])[] = [
  [" .", "."],
  [" ?", "?"],
  [" !", "!"],
  [" ,", ","],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" do not", " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];

const space = 0x20;

/** The pieces of a whole text, without the spaces that only its beginning gets. */
export function trimStart(pieces: readonly Uint8Array[], start: DecodeStart | undefined): readonly Uint8Array[] {
  if (start === undefined) return pieces;
  let left = start.most;
  return pieces.map((piece, i) => {
    if (start.of === "token" && i > 0) return piece;
    let at = 0;
    while (at < piece.length && left > 0 && piece[at] === space) {
      at++;
      left--;
    }
    if (at < piece.length) left = 0; // the text has begun
    return piece.subarray(at);
  });
}
