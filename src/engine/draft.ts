// Guesses at the tokens that come next: those that followed the same few tokens before (prompt look-up, Saxena 2023). The fewer of
// them hold, the more tokens must agree before the next guess. It does not know the model.

/** Tokens of a draft at most: a run of so many costs little more than two of one token. */
const MOST = 8;
/** Tokens that must agree, at least and at most. */
const [LEAST_SAME, MOST_SAME] = [3, 24];
/** A draft that gives fewer tokens costs more than it saves. */
const WORTH = 2;
/** Tokens that are searched, from the end. */
const REACH = 4096;

export class Draft {
  #same = LEAST_SAME;

  /** Up to `most` tokens, less the one that comes anyway, that may follow `ids`; none where nothing like their end came before. */
  of(ids: readonly number[], most: number): readonly number[] {
    const wanted = Math.min(most - 1, MOST);
    if (wanted < WORTH) return [];
    const from = ids.length - this.#same;
    for (let at = from - 1; at >= Math.max(0, from - REACH); at--)
      if (agrees(ids, at, from, this.#same)) return ids.slice(at + this.#same, at + this.#same + wanted);
    return [];
  }

  /** Is told how many tokens of the last draft held. */
  held(tokens: number): void {
    this.#same =
      tokens < WORTH ? Math.min(2 * this.#same, MOST_SAME) : Math.max(Math.floor(this.#same / 2), LEAST_SAME);
  }
}

function agrees(ids: readonly number[], a: number, b: number, count: number): boolean {
  for (let i = count - 1; i >= 0; i--) if (ids[a + i] !== ids[b + i]) return false;
  return true;
}
