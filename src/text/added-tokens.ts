// Finds tokens that are recognised in text as a whole (control tokens and user-defined ones).
// Knows their texts and their rules about neighbours; does not know what becomes of the text between them.
import type { AddedToken } from "./parts.ts";

/** A stretch of text or the token that stood there. */
export type Segment = string | AddedToken;

/** Tokens that begin with one character: of thousands only as many are looked up as there are lengths. */
interface SameFirst {
  /** The longest first. */
  readonly lengths: number[];
  readonly byText: Map<string, AddedToken>;
}

/** Leftmost first, the longest where several begin. */
export class AddedTokenFinder {
  readonly #byFirst = new Map<string, SameFirst>();
  readonly #first: RegExp | undefined;

  constructor(tokens: readonly AddedToken[]) {
    for (const token of tokens) {
      if (token.text === "") continue;
      const first = token.text.charAt(0);
      const same: SameFirst = this.#byFirst.get(first) ?? { lengths: [], byText: new Map() };
      this.#byFirst.set(first, same);
      if (!same.lengths.includes(token.text.length)) same.lengths.push(token.text.length);
      if (!same.byText.has(token.text)) same.byText.set(token.text, token);
    }
    for (const { lengths } of this.#byFirst.values()) lengths.sort((a, b) => b - a);
    const codes = [...this.#byFirst.keys()].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
    this.#first = codes.length === 0 ? undefined : new RegExp(`[${codes.join("")}]`, "g");
  }

  /** A token of white space that the one before has stripped is still found, as in Hugging Face's tokenizers. */
  cut(text: string): Segment[] {
    const segments: Segment[] = [];
    let end = 0;
    for (const { token, start, stop } of this.#matches(text)) {
      const from = token.stripLeft ? Math.max(end, text.slice(0, start).trimEnd().length) : start;
      if (from > end) segments.push(text.slice(end, from));
      segments.push(token);
      end = token.stripRight ? text.length - text.slice(stop).trimStart().length : stop;
    }
    if (end < text.length) segments.push(text.slice(end));
    return segments;
  }

  *#matches(text: string): Generator<{ token: AddedToken; start: number; stop: number }> {
    const first = this.#first;
    if (first === undefined) return;
    let at = 0;
    for (;;) {
      first.lastIndex = at;
      const start = first.exec(text)?.index;
      if (start === undefined) return;
      const token = this.#tokenAt(text, start);
      at = start + (token?.text.length ?? 1);
      if (token !== undefined && (!token.singleWord || standsAlone(text, start, at))) yield { token, start, stop: at };
    }
  }

  #tokenAt(text: string, start: number): AddedToken | undefined {
    const { lengths = [], byText } = this.#byFirst.get(text.charAt(start)) ?? {};
    for (const length of lengths) {
      const token = byText?.get(text.slice(start, start + length));
      if (token !== undefined) return token;
    }
    return undefined;
  }
}

const standsAlone = (text: string, start: number, stop: number): boolean =>
  !/[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]$/u.test(text.slice(Math.max(0, start - 2), start)) &&
  !/^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]/u.test(text.slice(stop, stop + 2));
