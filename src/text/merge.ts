// Byte-pair merging of one piece: again and again the pair of lowest rank, leftmost first.
// Knows the prepared tables; does not know how text is cut into pieces.
import { mergeRank, type Prepared, tokenOfBytes } from "./prepared.ts";

/** Up to this many bytes a plain loop over the pairs is quicker than a heap. */
const shortBytes = 64;
const cachedPieces = 8192;

/** Ids of pieces of one vocabulary; remembers those of short pieces. */
export class Merger {
  readonly #prepared: Prepared;
  readonly #ignoreMerges: boolean;
  readonly #cache = new Map<string, readonly number[]>();
  readonly #utf8 = new TextEncoder();
  #scratch = new Uint8Array(256);

  constructor(prepared: Prepared) {
    this.#prepared = prepared;
    this.#ignoreMerges = prepared.settings.ignoreMerges;
  }

  /** Appends the ids of a piece to `out`. A byte that no token of the vocabulary stands for has no id and is left out. */
  append(piece: string, out: number[]): void {
    const known = this.#cache.get(piece);
    const ids = known ?? this.#merge(piece);
    for (const id of ids) out.push(id);
    if (known !== undefined || piece.length > shortBytes) return;
    if (this.#cache.size >= cachedPieces) this.#cache.clear();
    this.#cache.set(piece, ids);
  }

  #merge(piece: string): readonly number[] {
    if (this.#scratch.length < piece.length * 3) this.#scratch = new Uint8Array(piece.length * 3);
    const { written } = this.#utf8.encodeInto(piece, this.#scratch);
    if (this.#ignoreMerges) {
      const whole = tokenOfBytes(this.#prepared, this.#scratch, written);
      if (whole >= 0) return [whole];
    }
    const ids: number[] = [];
    for (let i = 0; i < written; i++) {
      const id = this.#prepared.byteIds[this.#scratch[i] as number] as number;
      if (id >= 0) ids.push(id);
    }
    return written <= shortBytes ? mergeShort(this.#prepared, ids) : mergeLong(this.#prepared, ids);
  }
}

/** Quadratic, in place. */
function mergeShort(prepared: Prepared, ids: number[]): number[] {
  const ranks: number[] = [];
  const rankAt = (i: number): number => {
    const rank = i + 1 < ids.length ? mergeRank(prepared, ids[i] as number, ids[i + 1] as number) : -1;
    return rank < 0 ? Number.POSITIVE_INFINITY : rank;
  };
  for (let i = 0; i + 1 < ids.length; i++) ranks.push(rankAt(i));
  for (;;) {
    let best = -1;
    let bestRank = Number.POSITIVE_INFINITY;
    for (let i = 0; i < ranks.length; i++) {
      if ((ranks[i] as number) < bestRank) {
        best = i;
        bestRank = ranks[i] as number;
      }
    }
    if (best < 0) return ids;
    ids[best] = prepared.merges[bestRank * 3 + 2] as number;
    ids.splice(best + 1, 1);
    ranks.splice(best, 1);
    if (best < ranks.length) ranks[best] = rankAt(best);
    if (best > 0) ranks[best - 1] = rankAt(best - 1);
  }
}

/** n log n: a linked list of ids, and a heap of candidate pairs of which outdated ones are passed over. */
function mergeLong(prepared: Prepared, ids: number[]): number[] {
  const count = ids.length;
  const next = Int32Array.from(ids, (_, i) => i + 1);
  const previous = Int32Array.from(ids, (_, i) => i - 1);
  const rankAt = (i: number): number => {
    const right = next[i] as number;
    return right < count ? mergeRank(prepared, ids[i] as number, ids[right] as number) : -1;
  };
  const heap = new Heap();
  const offer = (i: number): void => {
    const rank = rankAt(i);
    // One number orders by rank, then by position; both stay exact below 2^53.
    if (rank >= 0) heap.push(rank * positions + i);
  };
  for (let i = 0; i + 1 < count; i++) offer(i);
  for (let key = heap.pop(); key !== undefined; key = heap.pop()) {
    const at = key % positions;
    const rank = (key - at) / positions;
    if (ids[at] === gone || rankAt(at) !== rank) continue;
    const right = next[at] as number;
    ids[at] = prepared.merges[rank * 3 + 2] as number;
    ids[right] = gone;
    next[at] = next[right] as number;
    if ((next[at] as number) < count) previous[next[at] as number] = at;
    offer(at);
    if ((previous[at] as number) >= 0) offer(previous[at] as number);
  }
  return ids.filter((id) => id !== gone);
}

const gone = -1;
const positions = 2 ** 31;

/** Binary heap of numbers, smallest first. */
class Heap {
  readonly #keys: number[] = [];

  push(key: number): void {
    const keys = this.#keys;
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

  pop(): number | undefined {
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
