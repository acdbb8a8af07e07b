// An answer's thinking apart from what it says: `<think> … </think>` and its kin, as the text comes.
// It does not know tokens, tools or APIs.

/** What begins thinking, and what ends it. */
const PAIRS: readonly (readonly [string, string])[] = [
  ["<think>", "</think>"],
  ["<thinking>", "</thinking>"],
  ["<reasoning>", "</reasoning>"],
  ["[THINK]", "[/THINK]"],
];

export interface Said {
  readonly kind: "text" | "reasoning";
  readonly text: string;
}

/** How many characters at the end of a text may be the beginning of a marker. */
export function heldBack(text: string, markers: readonly string[]): number {
  let most = 0;
  for (const marker of markers)
    for (let length = Math.min(marker.length - 1, text.length); length > most; length--)
      if (marker.startsWith(text.slice(text.length - length))) most = length;
  return most;
}

export class ReasoningSplit {
  #state: "start" | "thinking" | "said" = "start";
  #end = "";
  #held = "";
  #isTrimmed = true;

  /** @param tail the end of the prompt: a template may have begun the thinking itself */
  constructor(tail: string) {
    const opened = PAIRS.find(([begin]) => tail.trimEnd().endsWith(begin));
    if (opened) this.#think(opened[1]);
  }

  /** "start" until it is known whether the answer begins with thinking. */
  get stage(): "start" | "thinking" | "said" {
    return this.#state;
  }

  #think(end: string): void {
    this.#state = "thinking";
    this.#end = end;
    this.#isTrimmed = false;
  }

  push(text: string): Said[] {
    this.#held += text;
    const said: Said[] = [];
    if (this.#state === "start") {
      const trimmed = this.#held.trimStart();
      const pair = PAIRS.find(([begin]) => trimmed.startsWith(begin));
      if (pair) {
        this.#think(pair[1]);
        this.#held = trimmed.slice(pair[0].length);
      } else if (PAIRS.some(([begin]) => begin.startsWith(trimmed))) return said;
      else this.#state = "said";
    }
    if (this.#state === "thinking") {
      this.#trimStart();
      const at = this.#held.indexOf(this.#end);
      const upTo = at >= 0 ? at : this.#held.length - heldBack(this.#held, [this.#end]);
      if (upTo > 0) said.push({ kind: "reasoning", text: this.#held.slice(0, upTo) });
      if (at < 0) {
        this.#held = this.#held.slice(upTo);
        return said;
      }
      this.#state = "said";
      this.#isTrimmed = false;
      this.#held = this.#held.slice(at + this.#end.length);
    }
    this.#trimStart();
    if (this.#held !== "") said.push({ kind: "text", text: this.#held });
    this.#held = "";
    return said;
  }

  /** Spaces and line breaks behind a marker belong to it. */
  #trimStart(): void {
    if (this.#isTrimmed) return;
    this.#held = this.#held.trimStart();
    this.#isTrimmed = this.#held !== "";
  }

  /** What was held back when no more comes. */
  end(): Said[] {
    const rest = this.#held;
    this.#held = "";
    if (rest === "") return [];
    return [{ kind: this.#state === "thinking" ? "reasoning" : "text", text: rest }];
  }
}
