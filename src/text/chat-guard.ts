// Keeps what people wrote from becoming control tokens: a marker character goes into every place of their texts where a
// control token stands, begins or ends, before the template runs. Does not know templates or token ids.
import { IroriError } from "../base/mod.ts";

export interface Guarded<T> {
  /** A character that nothing in the chat contains; strip it from the rendered text. */
  readonly marker: string;
  readonly data: T;
}

/** Roles that templates compare with and may build control tokens of (`<|user|>`). */
const knownRoles = new Set(["system", "developer", "user", "assistant", "model", "tool", "function", "ipython"]);

/** A deep copy of plain data in which no string holds, or joins with its neighbours into, a control token. */
export function guardChat<T>(controlTexts: readonly string[], data: T, templateSource: string): Guarded<T> {
  const marker = unusedCharacter(`${templateSource}${controlTexts.join("")}${JSON.stringify(data)}`);
  const breaker = new Breaker(controlTexts, marker);
  return { marker, data: mapStrings(data, (text, field) => breaker.breakText(text, field === "role")) as T };
}

/** Unicode's noncharacters first (nobody may exchange them), then the private use area. */
function unusedCharacter(text: string): string {
  for (const [first, last] of [
    [0xfdd0, 0xfdef],
    [0xe000, 0xf8ff],
  ] as const) {
    for (let code = first; code <= last; code++) {
      const char = String.fromCharCode(code);
      if (!text.includes(char)) return char;
    }
  }
  throw new IroriError("bad-input", {
    what: "the chat contains all 6432 noncharacters and private characters, of which Irori needs one for itself",
    next: "remove one of the characters U+FDD0 to U+FDEF from the messages",
  });
}

function mapStrings(value: unknown, change: (text: string, field?: string) => string, field?: string): unknown {
  if (typeof value === "string") return change(value, field);
  if (Array.isArray(value)) return value.map((item) => mapStrings(item, change));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [change(key), mapStrings(item, change, key)]));
}

class Breaker {
  readonly #marker: string;
  readonly #whole: RegExp | undefined;
  readonly #heads = new Set<string>();
  readonly #tails = new Set<string>();
  readonly #lowered: readonly string[];
  readonly #longest: number;

  constructor(controlTexts: readonly string[], marker: string) {
    this.#marker = marker;
    // Letter case is not looked at: a template may lower or raise it.
    this.#lowered = controlTexts.map((text) => text.toLowerCase());
    this.#longest = Math.max(0, ...controlTexts.map((text) => text.length));
    for (const text of this.#lowered) {
      for (let cut = 1; cut < text.length; cut++) {
        this.#heads.add(text.slice(0, cut));
        this.#tails.add(text.slice(cut));
      }
    }
    const patterns = controlTexts.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
    // Looked ahead, so that occurrences that overlap are all found.
    this.#whole = patterns.length === 0 ? undefined : new RegExp(`(?=${patterns.join("|")})[^]`, "giu");
  }

  breakText(text: string, isRole: boolean): string {
    if (this.#whole === undefined || text === "" || (isRole && knownRoles.has(text))) return text;
    const core = text.trim();
    if (core === "") return text;
    const marked = core.replace(this.#whole, (first) => this.#between(first, core));
    const lowered = core.toLowerCase();
    const isInside = isRole && this.#lowered.some((token) => token.includes(lowered));
    const before = this.#has(this.#tails, (length) => lowered.slice(0, length)) || isInside ? this.#marker : "";
    const after = this.#has(this.#heads, (length) => lowered.slice(-length)) || isInside ? this.#marker : "";
    const start = text.indexOf(core);
    return `${text.slice(0, start)}${before}${marked}${after}${text.slice(start + core.length)}`;
  }

  #between(first: string, text: string): string {
    if (!this.#lowered.includes(first.toLowerCase())) return first + this.#marker;
    throw new IroriError("unsupported", {
      what: "a message contains a control token of one character, which cannot be told from the template's own",
      got: JSON.stringify(text.slice(0, 80)),
      wanted: `no ${JSON.stringify(first)}`,
      next: "remove the character from the message",
    });
  }

  #has(set: ReadonlySet<string>, part: (length: number) => string): boolean {
    for (let length = 1; length < this.#longest; length++) if (set.has(part(length))) return true;
    return false;
  }
}
