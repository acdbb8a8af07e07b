// The next token's logits as a step leaves them, and as penalties, biases, bans and a constraint change them: always the likeliest
// tokens first, of as few tokens as will do. It does not know how one is drawn.
import type { Sampling } from "./sampling.ts";

/** The next token's logits as a step leaves them. */
export interface Candidates {
  /** The best tokens, descending by logit, lower id first where equal. */
  readonly ids: readonly number[];
  readonly logits: readonly number[];
  /** log Σ exp(logit / temperature) over the whole vocabulary (at temperature 0: of the logits themselves). */
  readonly logSumExp: number;
  /** Logits of the whole vocabulary [V]. */
  readonly all: ArrayLike<number>;
}

/** What penalties look at. */
export interface History {
  /** Tokens of prompt and answer. */
  readonly seen: ReadonlySet<number>;
  /** Tokens of the answer, and how often they came. */
  readonly counts: ReadonlyMap<number, number>;
}

/** Which tokens may come. */
export interface Allowed {
  /** Tokens that may not. */
  readonly banned: ReadonlySet<number>;
  /** Bit i & 31 of word i >> 5: whether token i may come. Absent: all but the banned. */
  readonly mask?: Uint32Array | undefined;
}
export const ALL_ALLOWED: Allowed = { banned: new Set() };

/** The likeliest tokens, in order: whatever is not among them is less likely than the last. */
export interface Pool {
  readonly ids: readonly number[];
  /** Divided by the temperature, descending. */
  readonly logits: readonly number[];
  /** Every token that may come is here. */
  readonly isWhole: boolean;
}

/** Pools that are tried one after another: the candidates, so many tokens, all. */
const SIZES = [0, 1024, Number.POSITIVE_INFINITY] as const;
/** Below this share of the probability, what changes leave is not told from its rounding: all is added up again. */
const LEAST_SHARE = 0.1;

export class ChangedLogits {
  readonly #candidates: Candidates;
  readonly #temperature: number;
  readonly #mask: Uint32Array | undefined;
  /** Logits of the tokens that are changed. */
  readonly #changed: ReadonlyMap<number, number>;
  #whole: Float64Array | undefined;

  constructor(candidates: Candidates, sampling: Sampling, history: History, { banned, mask }: Allowed = ALL_ALLOWED) {
    this.#candidates = candidates;
    this.#temperature = sampling.temperature > 0 ? sampling.temperature : 1;
    this.#mask = mask;
    this.#changed = changesOf(candidates.all, sampling, history, banned);
  }

  /** Pools of growing size; the last one is whole. */
  *pools(): Generator<Pool, void> {
    for (const size of SIZES) {
      const pool = size === 0 ? this.#near() : this.#top(size);
      if (pool === undefined) continue;
      yield pool;
      if (pool.isWhole) return;
    }
  }

  /** log Σ exp(logit / temperature) of all tokens that may come. */
  logSumExp(): number {
    const { logSumExp, all } = this.#candidates;
    if (this.#mask === undefined) {
      let share = 1;
      const part = (logit: number): number => Math.exp(logit / this.#temperature - logSumExp);
      for (const [id, logit] of this.#changed) share += part(logit) - part(all[id] as number);
      if (share > LEAST_SHARE) return logSumExp + Math.log(share);
    }
    return logSum(this.#all(), this.#temperature);
  }

  #isAllowed(id: number): boolean {
    return this.#mask === undefined || (((this.#mask[id >> 5] ?? 0) >>> (id & 31)) & 1) === 1;
  }

  /** From the candidates: nothing else is looked at. Undefined where none of them is left. */
  #near(): Pool | undefined {
    const { ids, logits, all } = this.#candidates;
    const last = logits.at(-1);
    if (last === undefined) return undefined;
    const isWhole = ids.length === all.length;
    const found: Entry[] = [];
    ids.forEach((id, i) => {
      if (!this.#changed.has(id) && this.#isAllowed(id)) found.push({ id, logit: logits[i] as number });
    });
    // whatever is no candidate is less likely than the last of them, unless it was changed
    for (const [id, logit] of this.#changed)
      if ((isWhole || logit >= last) && logit > Number.NEGATIVE_INFINITY && this.#isAllowed(id))
        found.push({ id, logit });
    return found.length === 0 ? undefined : this.#pool(found, isWhole);
  }

  /** At least `size` of the likeliest of all. */
  #top(size: number): Pool {
    const all = this.#all();
    const least = leastOf(all, size);
    const found: Entry[] = [];
    let isWhole = true;
    for (let id = 0; id < all.length; id++) {
      const logit = all[id] as number;
      if (logit === Number.NEGATIVE_INFINITY) continue;
      if (logit >= least) found.push({ id, logit });
      else isWhole = false;
    }
    return this.#pool(found, isWhole);
  }

  #pool(entries: Entry[], isWhole: boolean): Pool {
    // by the logits before the temperature, as the Graph's candidates are: dividing can make different ones equal
    entries.sort((a, b) => b.logit - a.logit || a.id - b.id);
    return { ids: entries.map(({ id }) => id), logits: entries.map(({ logit }) => logit / this.#temperature), isWhole };
  }

  /** All logits with their changes; those that may not come are −∞. */
  #all(): Float64Array {
    if (this.#whole !== undefined) return this.#whole;
    const all = Float64Array.from(this.#candidates.all);
    for (const [id, logit] of this.#changed) all[id] = logit;
    if (this.#mask !== undefined)
      for (let id = 0; id < all.length; id++) if (!this.#isAllowed(id)) all[id] = Number.NEGATIVE_INFINITY;
    this.#whole = all;
    return all;
  }
}

interface Entry {
  readonly id: number;
  readonly logit: number;
}

function changesOf(
  all: ArrayLike<number>,
  s: Sampling,
  { seen, counts }: History,
  banned: ReadonlySet<number>,
): ReadonlyMap<number, number> {
  const changed = new Map<number, number>();
  const change = (id: number, to: (logit: number) => number) =>
    changed.set(id, to(changed.get(id) ?? (all[id] as number)));
  for (const [id, bias] of Object.entries(s.logitBias)) change(Number(id), (x) => x + bias);
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = s;
  if (repetitionPenalty !== 1)
    for (const id of seen) change(id, (x) => (x < 0 ? x * repetitionPenalty : x / repetitionPenalty));
  if (frequencyPenalty !== 0 || presencePenalty !== 0)
    for (const [id, count] of counts) change(id, (x) => x - count * frequencyPenalty - presencePenalty);
  for (const id of banned) changed.set(id, Number.NEGATIVE_INFINITY);
  return changed;
}

/** log Σ exp(logit / temperature). */
export function logSum(logits: ArrayLike<number>, temperature: number): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if ((logits[i] as number) > top) top = logits[i] as number;
  if (top === Number.NEGATIVE_INFINITY) return top;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(((logits[i] as number) - top) / temperature);
  return top / temperature + Math.log(sum);
}

/** Nats below the largest logit that are told apart, and into how many steps. */
const RANGE = 32;
const STEPS = 4096;

/** A logit that at least `size` tokens reach, and not many more; −∞ where there are fewer. */
function leastOf(logits: Float64Array, size: number): number {
  if (size >= logits.length) return Number.NEGATIVE_INFINITY;
  let top = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > top) top = logit;
  const counts = new Uint32Array(STEPS);
  for (const logit of logits) {
    const step = Math.floor(((top - logit) * STEPS) / RANGE);
    if (step < STEPS) counts[step] = (counts[step] as number) + 1;
  }
  let reached = 0;
  for (let step = 0; step < STEPS; step++) {
    reached += counts[step] as number;
    if (reached >= size) return top - ((step + 1) * RANGE) / STEPS;
  }
  return Number.NEGATIVE_INFINITY;
}
