// Choosing a token: penalties, temperature, top-k, top-p, min-p, then a draw.
// It decides from the Graph's candidates wherever they suffice, else from all logits; both give the same token.
import { IroriError, type Random } from "../base/mod.ts";

export interface Sampling {
  /** 0: always the most likely token. Default 0.8. */
  readonly temperature: number;
  /** Keep the k most likely (0: all). */
  readonly topK: number;
  /** Keep the fewest tokens whose probability reaches p (1: all). */
  readonly topP: number;
  /** Keep tokens at least this fraction as likely as the likeliest (0: all). */
  readonly minP: number;
  /** Divide positive (multiply negative) logits of tokens seen before (1: none; Keskar et al. 2019). */
  readonly repetitionPenalty: number;
}

export const GREEDY: Sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1 };
export const DEFAULT_SAMPLING: Sampling = { temperature: 0.8, topK: 40, topP: 0.95, minP: 0, repetitionPenalty: 1 };

/** The next token's logits as a step leaves them. */
export interface Candidates {
  /** The best tokens, descending by logit, lower id first where equal. */
  readonly ids: readonly number[];
  readonly logits: readonly number[];
  /** log Σ exp(logit / temperature) over the whole vocabulary (not used at temperature 0). */
  readonly logSumExp: number;
  /** Logits of the whole vocabulary [V]. */
  readonly all: ArrayLike<number>;
}

export interface Distribution {
  /** Tokens that may be drawn, descending by probability. */
  readonly ids: readonly number[];
  /** Their probabilities: sum 1 unless `isPartial`. */
  readonly probabilities: readonly number[];
  /** Further tokens have the rest of the probability: only the candidates were looked at, and no filter cut the tail. */
  readonly isPartial: boolean;
}

interface Pool {
  readonly ids: readonly number[];
  /** Divided by the temperature, descending. */
  readonly logits: readonly number[];
  /** log Σ exp of all logits / temperature. */
  readonly logSumExp: number;
  readonly isWhole: boolean;
}

/** Rejects settings that mean nothing, with a sentence. */
export function checkSampling(s: Sampling): void {
  const rules: readonly [keyof Sampling, (x: number) => boolean, string][] = [
    ["temperature", (x) => x >= 0, "0 or more"],
    ["topK", (x) => Number.isInteger(x) && x >= 0, "a whole number, 0 for all"],
    ["topP", (x) => x > 0 && x <= 1, "more than 0, at most 1"],
    ["minP", (x) => x >= 0 && x <= 1, "0 to 1"],
    ["repetitionPenalty", (x) => x > 0, "more than 0"],
  ];
  for (const [name, holds, wanted] of rules)
    if (!Number.isFinite(s[name]) || !holds(s[name]))
      throw new IroriError("bad-input", { what: `sampling: ${name}`, got: s[name], wanted });
}

/** Draws a token id. */
export function sample(candidates: Candidates, s: Sampling, seen: ReadonlySet<number>, random: Random): number {
  if (s.temperature === 0 && s.repetitionPenalty === 1 && candidates.ids.length > 0) return candidates.ids[0] as number;
  if (s.temperature === 0) return wholePool(candidates, s, seen).ids[0] as number;
  const u = random.next();
  const near = distribution(candidates, s, seen);
  return draw(near, u) ?? (draw(distribution(candidates, s, seen, true), u) as number);
}

function draw({ ids, probabilities, isPartial }: Distribution, u: number): number | undefined {
  let sum = 0;
  for (let i = 0; i < ids.length; i++) {
    sum += probabilities[i] as number;
    if (u < sum) return ids[i];
  }
  return isPartial ? undefined : ids.at(-1);
}

/** The probabilities that `sample` draws from; `readAll` looks at the whole vocabulary even where candidates suffice. */
export function distribution(
  candidates: Candidates,
  s: Sampling,
  seen: ReadonlySet<number>,
  readAll = false,
): Distribution {
  if (s.temperature === 0)
    throw new IroriError("bad-input", { what: "temperature 0 has no distribution", wanted: "more than 0" });
  // a penalty moves tokens from anywhere: all logits are read
  if (!readAll && s.repetitionPenalty === 1) {
    const filtered = filter(nearPool(candidates, s), s);
    if (filtered !== undefined) return filtered;
  }
  return filter(wholePool(candidates, s, seen), s) as Distribution;
}

function nearPool({ ids, logits, logSumExp, all }: Candidates, { temperature }: Sampling): Pool {
  return {
    ids,
    logits: logits.map((x) => x / temperature),
    logSumExp,
    isWhole: ids.length === all.length,
  };
}

function wholePool({ all }: Candidates, { temperature, repetitionPenalty }: Sampling, seen: ReadonlySet<number>): Pool {
  const logits = Float64Array.from(all);
  if (repetitionPenalty !== 1)
    for (const id of seen) {
      const logit = logits[id] as number;
      logits[id] = logit < 0 ? logit * repetitionPenalty : logit / repetitionPenalty;
    }
  const order = Uint32Array.from({ length: logits.length }, (_, i) => i);
  // by the logits before the temperature, as the Graph's candidates are: dividing can make different ones equal
  order.sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b);
  const divisor = temperature > 0 ? temperature : 1;
  const sharp = Array.from(order, (id) => (logits[id] as number) / divisor);
  return { ids: [...order], logits: sharp, logSumExp: logSumOf(sharp, sharp.length), isWhole: true };
}

/** top-k, then top-p, then min-p, each on what the one before left and renormalised; undefined where the pool is too small to tell. */
function filter(pool: Pool, { topK, topP, minP }: Sampling): Distribution | undefined {
  let kept = pool.logits.length;
  if (kept === 0) return undefined;
  let logSum = pool.logSumExp;
  let isCut = pool.isWhole;
  if (topK > 0 && (topK <= kept || pool.isWhole)) {
    const boundary = pool.logits[Math.min(topK, kept) - 1] as number;
    // tokens as likely as the k-th stay too
    const end = pool.logits.findIndex((logit) => logit < boundary);
    if (end < 0 && !pool.isWhole) return undefined;
    kept = end < 0 ? kept : end;
    isCut = true;
    logSum = logSumOf(pool.logits, kept);
  } else if (topK > 0) return undefined;
  if (topP < 1) {
    let before = 0;
    let end = 0;
    while (end < kept && before < topP) before += Math.exp((pool.logits[end++] as number) - logSum);
    if (end === kept && !isCut && before < topP) return undefined;
    kept = end;
    isCut = true;
    logSum = logSumOf(pool.logits, kept);
  }
  if (minP > 0) {
    const least = (pool.logits[0] as number) + Math.log(minP);
    const end = pool.logits.findIndex((logit, i) => i < kept && logit < least);
    if (end < 0 && !isCut) return undefined;
    kept = end < 0 ? kept : Math.min(end, kept);
    isCut = true;
    logSum = logSumOf(pool.logits, kept);
  }
  const probabilities = pool.logits.slice(0, kept).map((logit) => Math.exp(logit - logSum));
  return { ids: pool.ids.slice(0, kept), probabilities, isPartial: !isCut };
}

function logSumOf(logits: readonly number[], count: number): number {
  const top = logits[0] as number;
  let sum = 0;
  for (let i = 0; i < count; i++) sum += Math.exp((logits[i] as number) - top);
  return top + Math.log(sum);
}
