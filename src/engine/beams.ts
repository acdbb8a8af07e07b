// Beam search over rows of a model: beams that go on share a step, and a beam that goes on twice is copied.
// It does not know how beams are chosen (beam-search.ts) or text.
import { IroriError } from "../base/mod.ts";
import { type BeamOptions, BeamSearch, type Candidate, type Ended, type NextBeam } from "./beam-search.ts";
import { contextOf, type GenerationSetting } from "./generation.ts";
import type { KvCache } from "./kv-cache.ts";
import { type Candidates, ChangedLogits } from "./logits.ts";
import { Row } from "./row.ts";
import { GREEDY } from "./sampling.ts";

/** Throws "bad-input" for options that mean nothing. */
export function checkBeams(options: BeamOptions): BeamOptions {
  const { beams: count, maxTokens, lengthPenalty, early } = options;
  const refuse = (what: string, got: string | number, wanted: string): never => {
    throw new IroriError("bad-input", { what: `${what} of a beam search`, got, wanted });
  };
  if (!Number.isInteger(count) || count < 1 || count > MOST_BEAMS)
    refuse("the beams", count, `a whole number from 1 to ${MOST_BEAMS}`);
  if (!Number.isInteger(maxTokens) || maxTokens < 1) refuse("maxTokens", maxTokens, "a whole number, 1 or more");
  if (!Number.isFinite(lengthPenalty)) refuse("the length penalty", lengthPenalty, "a number");
  if (!["full", "heuristic", "never"].includes(early)) refuse("early", early, "full, heuristic or never");
  return options;
}
const MOST_BEAMS = 64;

/** The best continuations of a prompt, the best first. */
export async function beams(
  setting: GenerationSetting,
  prompt: readonly number[],
  options: BeamOptions,
  signal?: AbortSignal,
): Promise<readonly Ended[]> {
  const { memory, batcher } = setting;
  const context = contextOf(setting, prompt.length, options.maxTokens);
  const search = new BeamSearch({ ...options, maxTokens: context - prompt.length });
  const rows = new Set<Row>();
  const rowOf = (from?: KvCache): Row => {
    const cache = memory.take([], context, false);
    if (from !== undefined) cache.fill(from, from.length);
    const row = new Row(batcher, cache, { signal });
    rows.add(row);
    return row;
  };
  const drop = (row: Row): void => {
    rows.delete(row);
    row[Symbol.dispose]();
    memory.give(row.cache);
  };
  // what follows is read at once: it is overwritten by the next step
  const feed = async (row: Row, ids: readonly number[], isPrompt = false): Promise<readonly Candidate[]> =>
    best((await row.feed(ids, { isPrompt })) as Candidates, search.width);
  try {
    let running = [rowOf()];
    let candidates = [await feed(running[0] as Row, prompt, true)];
    while (!search.isDone) {
      const next = search.step(candidates);
      if (search.isDone) break;
      running = moved(running, next, rowOf, drop);
      candidates = await Promise.all(running.map((row, i) => feed(row, [(next[i] as NextBeam).id])));
    }
    return search.ended;
  } finally {
    for (const row of rows) drop(row);
  }
}

/** The rows of the beams that go on: each parent's own for its first child, copies for others; rows without a child are dropped. */
function moved(
  rows: readonly Row[],
  next: readonly NextBeam[],
  copy: (from: KvCache) => Row,
  drop: (row: Row) => void,
): Row[] {
  const taken = new Set<number>();
  const all = next.map(({ parent }) => {
    const row = rows[parent] as Row;
    const isFirst = !taken.has(parent);
    taken.add(parent);
    return isFirst ? row : copy(row.cache);
  });
  rows.forEach((row, parent) => {
    if (!taken.has(parent)) drop(row);
  });
  return all;
}

const NOTHING = { seen: new Set<number>(), counts: new Map<number, number>() };

/** The likeliest tokens with their log-probabilities. */
function best(candidates: Candidates, count: number): readonly Candidate[] {
  for (const pool of new ChangedLogits(candidates, { ...GREEDY, temperature: 1 }, NOTHING).pools())
    if (pool.ids.length >= count || pool.isWhole)
      return pool.ids
        .slice(0, count)
        .map((id, i) => ({ id, logprob: (pool.logits[i] as number) - candidates.logSumExp }));
  return [];
}
