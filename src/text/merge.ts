// Byte-pair merging of one piece: again and again the pair of lowest rank, leftmost first.
// Knows the prepared tables; does not know how text is cut into pieces.
import { MergeHeap } from "./heap.ts";
import type { ModelSettings } from "./parts.ts";
import { mergeRank, type Prepared, tokenOfBytes } from "./prepared.ts";

/** Up to this many units a plain loop over the pairs is quicker than a heap. */
const shortUnits = 64;

export class Merging {
  readonly #prepared: Prepared;
  readonly #settings: Extract<ModelSettings, { kind: "bpe" }>;
  readonly #utf8 = new TextEncoder();
  #scratch = new Uint8Array(256);

  constructor(prepared: Prepared, settings: Extract<ModelSettings, { kind: "bpe" }>) {
    this.#prepared = prepared;
    this.#settings = settings;
  }

  /** A unit that no token of the vocabulary stands for becomes the unknown token, or is left out where there is none. */
  idsOf(piece: string): readonly number[] {
    if (this.#scratch.length < piece.length * 3) this.#scratch = new Uint8Array(piece.length * 3);
    const { written } = this.#utf8.encodeInto(piece, this.#scratch);
    if (this.#settings.ignoreMerges) {
      const whole = tokenOfBytes(this.#prepared, this.#scratch, 0, written);
      if (whole >= 0) return [whole];
    }
    const ids = this.#settings.units === "bytes" ? this.#bytes(written) : this.#characters(written);
    return ids.length <= shortUnits ? mergeShort(this.#prepared, ids) : mergeLong(this.#prepared, ids);
  }

  #bytes(length: number): number[] {
    const { unknownId } = this.#settings;
    const ids: number[] = [];
    for (let i = 0; i < length; i++) {
      const id = this.#prepared.byteIds[this.#scratch[i] as number] as number;
      if (id >= 0) ids.push(id);
      else if (unknownId !== undefined) ids.push(unknownId);
    }
    return ids;
  }

  /** Ids of the characters; of one that is no token its bytes, where each of them is one, or the unknown token. */
  #characters(length: number): number[] {
    const { unknownId, fusesUnknown } = this.#settings;
    const { byteIds } = this.#prepared;
    const bytes = this.#scratch;
    const ids: number[] = [];
    let isUnknown = false;
    for (let at = 0, end = 0; at < length; at = end) {
      do end++;
      while (end < length && ((bytes[end] as number) & 0xc0) === 0x80);
      const id = tokenOfBytes(this.#prepared, bytes, at, end);
      const asBytes = id >= 0 ? [id] : Array.from(bytes.subarray(at, end), (byte) => byteIds[byte] as number);
      const isKnown = asBytes.every((each) => each >= 0);
      if (isKnown) ids.push(...asBytes);
      else if (unknownId !== undefined && !(fusesUnknown && isUnknown)) ids.push(unknownId);
      isUnknown = !isKnown;
    }
    return ids;
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
  const heap = new MergeHeap();
  const offer = (i: number): void => {
    const rank = rankAt(i);
    if (rank >= 0) heap.push(rank, i);
  };
  for (let i = 0; i + 1 < count; i++) offer(i);
  for (let best = heap.pop(); best !== undefined; best = heap.pop()) {
    const { rank, place: at } = best;
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
