// The probabilities that a token is drawn with: temperature, top-k, top-p, min-p and typical sampling, each on what the one before
// left, as transformers' processors do. It does not know where logits come from.
import { IroriError, type Random } from "../base/mod.ts";
import type { ChangedLogits, Pool } from "./logits.ts";
import type { Sampling } from "./sampling.ts";

export interface Distribution {
  /** Tokens that may be drawn, descending by probability. */
  readonly ids: readonly number[];
  /** Their probabilities: sum 1 unless `isPartial`. */
  readonly probabilities: readonly number[];
  /** Further tokens have the rest of the probability: not all were looked at, and no filter cut the tail. */
  readonly isPartial: boolean;
}

/** Throws "bad-input" where nothing may come. */
function nothing(): IroriError {
  return new IroriError("bad-input", {
    what: "no token may come next",
    got: "every token banned or outside of the constraint",
    next: "loosen what is banned, or the constraint",
  });
}

/** The most likely token. */
export function likeliest(logits: ChangedLogits): number {
  for (const { ids } of logits.pools()) if (ids.length > 0) return ids[0] as number;
  throw nothing();
}

/** Draws a token: the one at u of the distribution's cumulated probability, 0 ≤ u < 1. */
export function drawn(logits: ChangedLogits, s: Sampling, random: Random): number {
  const u = random.next();
  for (const distribution of distributions(logits, s)) {
    const id = at(distribution, u);
    if (id !== undefined) return id;
  }
  throw nothing();
}

function at({ ids, probabilities, isPartial }: Distribution, u: number): number | undefined {
  let sum = 0;
  for (let i = 0; i < ids.length; i++) {
    sum += probabilities[i] as number;
    if (u < sum) return ids[i];
  }
  return isPartial ? undefined : ids.at(-1);
}

/** The distribution as far as each pool tells it, until one knows all of it. */
export function* distributions(logits: ChangedLogits, s: Sampling): Generator<Distribution, void> {
  if (s.temperature === 0)
    throw new IroriError("bad-input", { what: "temperature 0 has no distribution", wanted: "more than 0" });
  for (const pool of logits.pools()) {
    const distribution = filtered(pool, logits, s);
    if (distribution === undefined) continue;
    yield distribution;
    if (!distribution.isPartial) return;
  }
}

/** Undefined where the pool is too small to tell. */
function filtered(pool: Pool, logits: ChangedLogits, s: Sampling): Distribution | undefined {
  let kept: Kept | undefined = { ids: pool.ids, logits: pool.logits, isCut: pool.isWhole };
  for (const cut of [topK, topP, minP, typical]) {
    if (kept.ids.length === 0) return undefined;
    kept = cut(kept, s, logits);
    if (kept === undefined) return undefined;
  }
  const { ids, logits: own, isCut } = kept;
  const all = massOf(kept, logits);
  return { ids, probabilities: own.map((logit) => Math.exp(logit - all)), isPartial: !isCut };
}

/** What a filter left. */
interface Kept {
  readonly ids: readonly number[];
  readonly logits: readonly number[];
  /** Nothing else can be drawn. */
  readonly isCut: boolean;
}
type Cut = (kept: Kept, s: Sampling, logits: ChangedLogits) => Kept | undefined;

const first = (kept: Kept, count: number): Kept => ({
  ids: kept.ids.slice(0, count),
  logits: kept.logits.slice(0, count),
  isCut: true,
});

/** log Σ exp of all that can still be drawn. */
const massOf = (kept: Kept, logits: ChangedLogits): number => (kept.isCut ? logSumOf(kept.logits) : logits.logSumExp());

const topK: Cut = (kept, { topK: k }) => {
  if (k === 0) return kept;
  const { length } = kept.ids;
  if (k > length) return kept.isCut ? kept : undefined;
  const boundary = kept.logits[k - 1] as number;
  // tokens as likely as the k-th stay too
  const end = kept.logits.findIndex((logit) => logit < boundary);
  if (end < 0 && !kept.isCut) return undefined;
  return end < 0 ? kept : first(kept, end);
};

const topP: Cut = (kept, { topP: p }, logits) => {
  if (p === 1) return kept;
  const all = massOf(kept, logits);
  let [before, end] = [0, 0];
  while (end < kept.ids.length && before < p) before += Math.exp((kept.logits[end++] as number) - all);
  return end === kept.ids.length && !kept.isCut && before < p ? undefined : first(kept, end);
};

const minP: Cut = (kept, { minP: share }) => {
  if (share === 0) return kept;
  const least = (kept.logits[0] as number) + Math.log(share);
  const end = kept.logits.findIndex((logit) => logit < least);
  if (end < 0) return kept.isCut ? kept : undefined;
  return first(kept, end);
};

const typical: Cut = (kept, { typicalP: mass }) => {
  if (mass === 1) return kept;
  if (!kept.isCut) return undefined;
  const all = logSumOf(kept.logits);
  const surprise = kept.logits.map((logit) => all - logit);
  const expected = surprise.reduce((sum, each) => sum + each * Math.exp(-each), 0);
  const distance = surprise.map((each) => Math.abs(each - expected));
  const order = distance.map((_, i) => i).sort((a, b) => (distance[a] as number) - (distance[b] as number));
  let [reached, count] = [0, 0];
  while (count < order.length && reached < mass) reached += Math.exp(-(surprise[order[count++] as number] as number));
  const farthest = distance[order[count - 1] as number] as number;
  const stays = distance.map((each) => each <= farthest);
  return { ids: kept.ids.filter((_, i) => stays[i]), logits: kept.logits.filter((_, i) => stays[i]), isCut: true };
};

function logSumOf(logits: readonly number[]): number {
  const top = logits[0] as number;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - top);
  return top + Math.log(sum);
}
