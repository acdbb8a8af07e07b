// Cutting a streamed text at the first of some stop texts, also where one arrives in pieces.
// It does not know tokens.

export class StopText {
  readonly #stops: readonly string[];
  #held = "";
  isFound = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  /** The part of the text so far that no stop text can claim any more. */
  push(piece: string): string {
    this.#held += piece;
    const at = this.#stops.map((stop) => this.#held.indexOf(stop)).filter((index) => index >= 0);
    if (at.length > 0) {
      this.isFound = true;
      const before = this.#held.slice(0, Math.min(...at));
      this.#held = "";
      return before;
    }
    const keep = Math.max(0, ...this.#stops.map((stop) => overlap(this.#held, stop)));
    const free = this.#held.slice(0, this.#held.length - keep);
    this.#held = this.#held.slice(this.#held.length - keep);
    return free;
  }
  /** What was held back in vain. */
  end(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }
}

/** Length of the longest end of `text` that begins `stop`. */
function overlap(text: string, stop: string): number {
  for (let size = Math.min(text.length, stop.length - 1); size > 0; size--)
    if (text.endsWith(stop.slice(0, size))) return size;
  return 0;
}
