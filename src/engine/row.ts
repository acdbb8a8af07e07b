// One row over a model: its tokens go in, what follows them comes out; its KvCache, which is its owner's, is written in place.
// It does not know text, sampling or other rows.
import type { Numbers } from "../hooks/mod.ts";
import type { Ask, Batcher } from "./batcher.ts";
import type { BoundStep } from "./bound-step.ts";
import type { KvCache } from "./kv-cache.ts";
import type { Candidates } from "./logits.ts";

export interface RowOptions {
  /** The step of a row that is changed inside: disposed of with the row. */
  readonly own?: BoundStep | undefined;
  /** Of several prompts the most urgent is fed first. Default 0. */
  readonly urgency?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export class Row implements Disposable {
  #cache: KvCache;
  readonly #batcher: Batcher;
  readonly #options: RowOptions;
  readonly #number: number;

  constructor(batcher: Batcher, cache: KvCache, options: RowOptions = {}) {
    this.#cache = cache;
    this.#batcher = batcher;
    this.#options = options;
    this.#number = batcher.number();
  }

  get cache(): KvCache {
    return this.#cache;
  }

  /** Goes on over another cache that holds the same tokens; the one before is disposed of. */
  move(to: KvCache): void {
    const before = this.#cache;
    this.#cache = to;
    this.#batcher.leave(before);
    before[Symbol.dispose]();
  }

  /** What the last run captured. */
  get captured(): Readonly<Record<string, Numbers>> {
    return this.#options.own?.captured ?? {};
  }

  /** Appends tokens; what follows the last of them, valid until the next step (undefined where all were skipped). */
  feed(
    ids: readonly number[],
    asked: Partial<Pick<Ask, "temperature" | "look" | "isPrompt" | "skip" | "onRun">> = {},
  ): Promise<Candidates | undefined> {
    const { own, urgency = 0, signal } = this.#options;
    const row = { cache: this.#cache, own, urgency, signal, row: this.#number };
    return this.#batcher.feed({ ...row, ids, temperature: 1, ...asked });
  }

  [Symbol.dispose](): void {
    this.#options.own?.[Symbol.dispose]();
    this.#batcher.leave(this.#cache);
  }
}
