// sentencepiece's BPE: of all neighbours whose text together is a token, the one of best score is joined first, leftmost
// first. Scores stand for merges, so there is no table of pairs. Knows the prepared tables only.
import { MergeHeap } from "./heap.ts";
import type { ModelSettings } from "./parts.ts";
import { type Prepared, tokenOfBytes } from "./prepared.ts";

export class ScoredMerging {
  readonly #prepared: Prepared;
  readonly #unknownId: number | undefined;
  readonly #utf8 = new TextEncoder();

  constructor(prepared: Prepared, { unknownId }: Extract<ModelSettings, { kind: "scored-bpe" }>) {
    this.#prepared = prepared;
    this.#unknownId = unknownId;
  }

  /** A character that is no token becomes its bytes; where they are none, a run of such ones is one unknown token. */
  idsOf(piece: string): readonly number[] {
    const bytes = this.#utf8.encode(piece);
    const ids: number[] = [];
    let isUnknown = false;
    for (const [start, end] of this.#join(bytes)) {
      const id = tokenOfBytes(this.#prepared, bytes, start, end);
      const known = id >= 0 ? [id] : this.#byteIds(bytes.subarray(start, end));
      if (known !== undefined) for (const each of known) ids.push(each);
      else if (this.#unknownId !== undefined && !isUnknown) ids.push(this.#unknownId);
      isUnknown = known === undefined;
    }
    return ids;
  }

  #byteIds(bytes: Uint8Array): number[] | undefined {
    const ids = Array.from(bytes, (byte) => this.#prepared.byteIds[byte] as number);
    return ids.every((id) => id >= 0) ? ids : undefined;
  }

  /** Places [start, end) of the joined symbols: a linked list over the characters' starts. */
  *#join(bytes: Uint8Array): Generator<readonly [number, number]> {
    const prepared = this.#prepared;
    const starts: number[] = [];
    for (const [i, byte] of bytes.entries()) if ((byte & 0xc0) !== 0x80) starts.push(i);
    const count = starts.length;
    starts.push(bytes.length);
    const next = Int32Array.from({ length: count + 1 }, (_, i) => i + 1);
    const previous = Int32Array.from({ length: count + 1 }, (_, i) => i - 1);
    const endOf = (symbol: number): number => starts[next[symbol] as number] as number;
    const rankAt = (left: number): number => {
      const right = next[left] as number;
      if (right >= count) return -1;
      const id = tokenOfBytes(prepared, bytes, starts[left] as number, endOf(right));
      return id < 0 ? -1 : (prepared.scores[id] as number);
    };
    const heap = new MergeHeap();
    const offer = (left: number): void => {
      const rank = rankAt(left);
      if (rank >= 0) heap.push(rank, left);
    };
    for (let i = 0; i + 1 < count; i++) offer(i);
    for (let best = heap.pop(); best !== undefined; best = heap.pop()) {
      const left = best.place;
      // passed over where the left one was joined to its neighbour, or either has grown
      if (next[left] === gone || rankAt(left) !== best.rank) continue;
      const right = next[left] as number;
      next[left] = next[right] as number;
      next[right] = gone;
      if ((next[left] as number) < count) previous[next[left] as number] = left;
      offer(left);
      if ((previous[left] as number) >= 0) offer(previous[left] as number);
    }
    for (let i = 0; i < count; i = next[i] as number) yield [starts[i] as number, endOf(i)];
  }
}

const gone = -1;
