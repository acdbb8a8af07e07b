// The KvCaches of a model's answers: those in use, and those of answers that ended, kept for prompts that begin alike.
// It does not know prompts' texts or who asks.
import { IroriError } from "../base/mod.ts";
import type { Config } from "../models/mod.ts";
import { common } from "./common.ts";
import { KvCache, type KvType, kvCacheBytes } from "./kv-cache.ts";
import { megabytes } from "./plan.ts";

export interface KvMemoryOptions {
  readonly model: string;
  readonly config: Config;
  readonly kvType: KvType;
  /** Bytes that are free, beside caches in use on this machine, asked before each. */
  readonly budgetBytes: () => number;
  /** Bytes that caches of answers that ended may take. */
  readonly keptBytes: number;
}

/** Fewer tokens than this are read again as quickly. */
const WORTH_TOKENS = 8;

export class KvMemory implements Disposable {
  readonly #options: KvMemoryOptions;
  /** Caches in use, and the tokens that they hold or will. */
  readonly #used = new Map<KvCache, readonly number[]>();
  /** Those of answers that ended, the latest used last. */
  readonly #kept = new Map<KvCache, readonly number[]>();

  constructor(options: KvMemoryOptions) {
    this.#options = options;
  }

  /**
   * A cache for the tokens of `ids`, which grow; it holds those of an answer that they go on from. Throws "no-room".
   * @param isShared whether others may take over what it will hold, and it what others hold
   */
  take(ids: readonly number[], context: number, isShared: boolean): KvCache {
    const before = isShared ? this.#whole(ids) : undefined;
    if (before !== undefined) this.#kept.delete(before);
    if (before !== undefined && before.context >= context) return this.#use(before, ids);
    const cache = this.#make(context);
    if (cache === undefined) {
      before?.[Symbol.dispose]();
      throw new IroriError("no-room", {
        what: `${this.#options.model}: a KvCache of ${context.toLocaleString("en")} tokens`,
        got: `${megabytes(this.#options.budgetBytes())} free`,
        wanted: megabytes(this.#bytesOf(context)),
        next: "wait for other answers to end, or ask for a shorter one",
      });
    }
    if (before !== undefined) {
      cache.fill(before, before.length);
      before[Symbol.dispose]();
    }
    return this.#use(cache, isShared ? ids : []);
  }
  #use(cache: KvCache, ids: readonly number[]): KvCache {
    this.#used.set(cache, ids);
    return cache;
  }

  /** Takes over from other caches what they hold of the tokens of one that holds none; never the last. How many it has then. */
  share(cache: KvCache): number {
    const ids = this.#used.get(cache) as readonly number[];
    let best: { readonly from: KvCache; readonly tokens: number } | undefined;
    for (const [from, theirs] of [...this.#used, ...this.#kept]) {
      if (from === cache) continue;
      const tokens = Math.min(common(ids, theirs), from.length, ids.length - 1);
      if (tokens > Math.max(best?.tokens ?? 0, WORTH_TOKENS) && from.canGive(tokens)) best = { from, tokens };
    }
    if (best === undefined) return 0;
    cache.fill(best.from, best.tokens);
    const kept = this.#kept.get(best.from);
    if (kept !== undefined) {
      this.#kept.delete(best.from);
      this.#kept.set(best.from, kept);
    }
    return best.tokens;
  }

  /** A cache of a longer context with the same tokens, in the place of one in use; undefined where there is no room for it. */
  grow(cache: KvCache, context: number): KvCache | undefined {
    const grown = this.#make(context);
    if (grown === undefined) return undefined;
    grown.fill(cache, cache.length);
    const ids = this.#used.get(cache) as readonly number[];
    this.#used.delete(cache);
    return this.#use(grown, ids);
  }

  /** A cache is not needed any more: what it holds is kept for a while. @param holds default: the tokens that it was taken for */
  give(cache: KvCache, holds: readonly number[] = this.#used.get(cache) ?? []): void {
    const ids = holds.slice(0, cache.length);
    this.#used.delete(cache);
    if (ids.length <= WORTH_TOKENS) {
      cache[Symbol.dispose]();
      return;
    }
    for (const [other, theirs] of this.#kept) if (common(ids, theirs) === theirs.length) this.#forget(other);
    this.#kept.set(cache, ids);
    let over = this.keptBytes - this.#options.keptBytes;
    for (const oldest of this.#kept.keys()) {
      if (over <= 0) break;
      over -= oldest.heldBytes;
      this.#forget(oldest);
    }
  }

  /** Whether a cache of so many tokens may be kept. */
  mayKeep(tokens: number): boolean {
    return this.#bytesOf(tokens) <= this.#options.keptBytes;
  }
  /** Bytes of the caches that are kept. */
  get keptBytes(): number {
    return [...this.#kept.keys()].reduce((sum, { heldBytes }) => sum + heldBytes, 0);
  }
  #bytesOf(context: number): number {
    const { config, kvType } = this.#options;
    return kvCacheBytes(config, context, kvType);
  }
  /** Caches that answers have. */
  get inUse(): number {
    return this.#used.size;
  }
  /** Bytes of caches in use that no token has reached yet: the system does not know of them. */
  get untouchedBytes(): number {
    return [...this.#used.keys()].reduce((sum, cache) => sum + cache.untouchedBytes, 0);
  }

  #make(context: number): KvCache | undefined {
    const { config, kvType } = this.#options;
    const bytes = this.#bytesOf(context);
    for (const oldest of this.#kept.keys()) if (this.#options.budgetBytes() < bytes) this.#forget(oldest);
    return this.#options.budgetBytes() < bytes ? undefined : new KvCache(config, context, kvType);
  }
  /** Bytes that are free, or would be without the caches that are kept. */
  get freeBytes(): number {
    return this.#options.budgetBytes() + this.keptBytes;
  }

  /** A kept cache all of whose tokens are the first of these, and not the last. */
  #whole(ids: readonly number[]): KvCache | undefined {
    let best: KvCache | undefined;
    for (const [cache, theirs] of this.#kept)
      if (theirs.length < ids.length && theirs.length > (best?.length ?? 0) && common(ids, theirs) === theirs.length)
        best = cache;
    return best;
  }

  #forget(cache: KvCache): void {
    this.#kept.delete(cache);
    cache[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    for (const cache of [...this.#kept.keys()]) this.#forget(cache);
  }
}
