// Unigram: of all ways to cut a piece into tokens the one whose scores add up to most, found from left to right.
// A character that begins no cut of its own counts as unknown. Source: Kudo 2018, arXiv:1804.10959.
import type { ModelSettings } from "./parts.ts";
import { type Prepared, visitTokens } from "./prepared.ts";

/** In place of an id: a character that is no token. */
const noToken = -1;
const unreached = -2;

export class Unigram {
  readonly #prepared: Prepared;
  readonly #settings: Extract<ModelSettings, { kind: "unigram" }>;
  readonly #utf8 = new TextEncoder();

  constructor(prepared: Prepared, settings: Extract<ModelSettings, { kind: "unigram" }>) {
    this.#prepared = prepared;
    this.#settings = settings;
  }

  /** A run of unknown characters becomes its bytes where each is a token, else one unknown token. */
  idsOf(piece: string): readonly number[] {
    const bytes = this.#utf8.encode(piece);
    const { byteIds } = this.#prepared;
    const ids: number[] = [];
    let isUnknown = false;
    let unknown: number[] = []; // bytes of a run
    const endRun = () => {
      if (!isUnknown) return;
      const known = unknown.map((byte) => byteIds[byte] as number);
      if (known.every((id) => id >= 0)) for (const id of known) ids.push(id);
      else if (this.#settings.unknownId !== undefined) ids.push(this.#settings.unknownId);
      isUnknown = false;
      unknown = [];
    };
    for (const { id, start, end } of this.#bestCut(bytes)) {
      if (id === noToken) {
        isUnknown = true;
        for (let i = start; i < end; i++) unknown.push(bytes[i] as number);
      } else {
        endRun();
        ids.push(id);
      }
    }
    endRun();
    return ids;
  }

  #bestCut(bytes: Uint8Array): { id: number; start: number; end: number }[] {
    const { scores } = this.#prepared;
    const length = bytes.length;
    // Of the best way to each place: its sum, and its last token.
    const sums = this.#settings.isFloat32 ? new Float32Array(length + 1) : new Float64Array(length + 1);
    const round = this.#settings.isFloat32 ? Math.fround : (sum: number) => sum;
    const starts = new Int32Array(length + 1);
    const ids = new Int32Array(length + 1).fill(unreached);
    const offer = (start: number, end: number, id: number, score: number) => {
      const sum = round((sums[start] as number) + score);
      if (ids[end] !== unreached && sum <= (sums[end] as number)) return;
      sums[end] = sum;
      starts[end] = start;
      ids[end] = id;
    };
    for (let at = 0, next = 0; at < length; at = next) {
      do next++;
      while (next < length && ((bytes[next] as number) & 0xc0) === 0x80);
      let hasCharacter = false;
      visitTokens(this.#prepared, bytes, at, length, (id, end) => {
        offer(at, end, id, scores[id] as number);
        hasCharacter ||= end === next;
      });
      if (!hasCharacter) offer(at, next, noToken, this.#settings.unknownScore);
    }
    const cut: { id: number; start: number; end: number }[] = [];
    for (let end = length; end > 0; end = starts[end] as number)
      cut.push({ id: ids[end] as number, start: starts[end] as number, end });
    return cut.reverse();
  }
}
