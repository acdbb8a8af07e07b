// sentencepiece's normalization table: a double-array trie from characters to the text in their place. What is cut short
// or points outside itself is refused when it is opened. Does not know tokens.
// Layout: u32 length of the trie in bytes, the trie's units (u32), then the replacements, each ended by a zero byte.
import { IroriError } from "../base/mod.ts";

/** Only graphemes shorter than this are looked up as a whole by tokenizers. */
const longestGrapheme = 6;
const keptGraphemes = 8192;

export class Charsmap {
  readonly #units: Uint32Array;
  readonly #texts: Uint8Array;
  readonly #segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });
  readonly #utf8 = new TextEncoder();
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  /** What a grapheme, or a character by itself, becomes. */
  readonly #known = new Map<string, string>();

  constructor(bytes: Uint8Array) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const length = bytes.length < 4 ? Number.POSITIVE_INFINITY : view.getUint32(0, true);
    if (length % 4 !== 0 || length === 0 || 4 + length > bytes.length || bytes.at(-1) !== 0)
      throw new IroriError("bad-file", {
        what: "the tokenizer's table of characters (precompiled_charsmap) is cut",
        got: `${bytes.length} bytes`,
        wanted: "a length, a trie of that length, and texts that end with a zero",
        next: "fetch the tokenizer again from the source of the model",
      });
    this.#units = new Uint32Array(new Uint8Array(bytes.subarray(4, 4 + length)).buffer);
    this.#texts = bytes.subarray(4 + length);
  }

  /** The text with every entry replaced: by graphemes as in tokenizers, or the longest entry at each place as in sentencepiece. */
  apply(text: string, by: "grapheme" | "longest"): string {
    if (by === "longest") return this.#applyLongest(text);
    let out = "";
    for (const { segment } of this.#segmenter.segment(text)) {
      let known = this.#known.get(segment);
      if (known === undefined) {
        known = this.#ofGrapheme(segment);
        if (this.#known.size >= keptGraphemes) this.#known.clear();
        this.#known.set(segment, known);
      }
      out += known;
    }
    return out;
  }

  #ofGrapheme(grapheme: string): string {
    const bytes = this.#utf8.encode(grapheme);
    const whole = bytes.length < longestGrapheme ? this.#matches(bytes, 0, "first") : undefined;
    if (whole !== undefined) return whole.text;
    let out = "";
    for (const char of grapheme) out += this.#matches(this.#utf8.encode(char), 0, "first")?.text ?? char;
    return out;
  }

  #applyLongest(text: string): string {
    const bytes = this.#utf8.encode(text);
    let out = "";
    let kept = 0; // from here on nothing was replaced yet
    for (let at = 0; at < bytes.length; ) {
      const match = this.#matches(bytes, at, "last");
      if (match !== undefined) {
        out += this.#decoder.decode(bytes.subarray(kept, at)) + match.text;
        at += match.length;
        kept = at;
      } else
        do at++;
        while (((bytes[at] ?? 0) & 0xc0) === 0x80);
    }
    return out + this.#decoder.decode(bytes.subarray(kept));
  }

  /** The shortest or the longest entry that the bytes begin with at `at`. */
  #matches(bytes: Uint8Array, at: number, which: "first" | "last"): { length: number; text: string } | undefined {
    const units = this.#units;
    let found: { length: number; text: string } | undefined;
    let node = offsetOf(units[0] as number);
    for (let i = at; i < bytes.length; i++) {
      const byte = bytes[i] as number;
      node ^= byte;
      const unit = units[node];
      if (unit === undefined || labelOf(unit) !== byte) return found;
      node ^= offsetOf(unit);
      if (!hasLeaf(unit)) continue;
      found = { length: i + 1 - at, text: this.#textAt((units[node] ?? 0) & 0x7fffffff) };
      if (which === "first") return found;
    }
    return found;
  }

  #textAt(start: number): string {
    const end = this.#texts.indexOf(0, start);
    return end < 0 ? "" : this.#decoder.decode(this.#texts.subarray(start, end));
  }
}

// A unit of the Darts-clone double array: its label, whether a value hangs below, and where its children begin.
const labelOf = (unit: number): number => (unit & (0x80000000 | 0xff)) >>> 0;
const hasLeaf = (unit: number): boolean => ((unit >>> 8) & 1) === 1;
const offsetOf = (unit: number): number => ((unit >>> 10) << ((unit & (1 << 9)) >>> 6)) >>> 0;
