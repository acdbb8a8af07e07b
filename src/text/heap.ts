// Candidate merges in the order of their ranks, then of their places. Knows numbers only.

const positions = 2 ** 31;

/** Binary heap of (rank, place), smallest first. One number orders by both and stays exact below 2^53. */
export class MergeHeap {
  readonly #keys: number[] = [];

  push(rank: number, place: number): void {
    const keys = this.#keys;
    const key = rank * positions + place;
    let at = keys.length;
    keys.push(key);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((keys[parent] as number) <= key) break;
      keys[at] = keys[parent] as number;
      at = parent;
    }
    keys[at] = key;
  }

  pop(): { rank: number; place: number } | undefined {
    const key = this.#popKey();
    if (key === undefined) return undefined;
    const place = key % positions;
    return { rank: (key - place) / positions, place };
  }

  #popKey(): number | undefined {
    const keys = this.#keys;
    const smallest = keys[0];
    const last = keys.pop();
    if (last === undefined || keys.length === 0) return smallest;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= keys.length) break;
      if (child + 1 < keys.length && (keys[child + 1] as number) < (keys[child] as number)) child++;
      if ((keys[child] as number) >= last) break;
      keys[at] = keys[child] as number;
      at = child;
    }
    keys[at] = last;
    return smallest;
  }
}
