// WordPiece: the longest token that a word begins with, then the longest that goes on, until the word is used up.
// A word that cannot be used up is unknown as a whole. Knows the prepared tables only.
import type { ModelSettings } from "./parts.ts";
import { type Prepared, visitTokens } from "./prepared.ts";

export class WordPiece {
  readonly #prepared: Prepared;
  readonly #settings: Extract<ModelSettings, { kind: "word-piece" }>;
  readonly #prefix: Uint8Array;
  readonly #utf8 = new TextEncoder();

  constructor(prepared: Prepared, settings: Extract<ModelSettings, { kind: "word-piece" }>) {
    this.#prepared = prepared;
    this.#settings = settings;
    this.#prefix = this.#utf8.encode(settings.prefix);
  }

  idsOf(word: string): readonly number[] {
    const { unknownId, longestWord } = this.#settings;
    // A code unit is at most one character.
    if (word.length > longestWord && [...word].length > longestWord) return [unknownId];
    const prefix = this.#prefix;
    const first = prefix.length;
    const text = this.#utf8.encode(word);
    const bytes = new Uint8Array(first + text.length);
    bytes.set(text, first);
    const ids: number[] = [];
    for (let at = first; at < bytes.length; ) {
      let start = at;
      if (ids.length > 0) {
        // what is used up makes room for the prefix
        start = at - first;
        bytes.set(prefix, start);
      }
      let id = -1;
      let end = at;
      visitTokens(this.#prepared, bytes, start, bytes.length, (found, stop) => {
        if (stop <= at) return;
        id = found;
        end = stop;
      });
      if (id < 0) return [unknownId];
      ids.push(id);
      at = end;
    }
    return ids;
  }
}
