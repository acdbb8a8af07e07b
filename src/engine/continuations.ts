// Scoring given continuations of one prompt: the prompt is read once, and what continuations have in common is too.
// It does not know text.
import { IroriError } from "../base/mod.ts";
import { common } from "./common.ts";
import { contextOf, type GenerationSetting } from "./generation.ts";
import type { KvCache } from "./kv-cache.ts";
import type { KvMemory } from "./kv-memory.ts";
import type { Candidates } from "./logits.ts";
import { readPrompt } from "./read-prompt.ts";
import { Row } from "./row.ts";
import type { ScoreOptions } from "./score.ts";
import type { StepResults } from "./step-results.ts";

export interface ContinuationScore {
  readonly ids: readonly number[];
  /** ln p of each of its tokens, after the prompt and those before it. */
  readonly logprobs: readonly number[];
  /** Their sum: ln p of the continuation. */
  readonly logprob: number;
  /** Their mean: what continuations of different lengths are compared by. */
  readonly meanLogprob: number;
}

/** In the order given. `onDone` is told how many are scored. */
export async function scoreContinuations(
  setting: GenerationSetting,
  prompt: readonly number[],
  continuations: readonly (readonly number[])[],
  { signal, onDone }: ScoreOptions = {},
): Promise<readonly ContinuationScore[]> {
  const empty = continuations.findIndex(({ length }) => length === 0);
  if (empty >= 0)
    throw new IroriError("bad-input", { what: `continuation ${empty + 1} has no tokens`, wanted: "1 or more" });
  const { memory, batcher, config } = setting;
  const longest = Math.max(0, ...continuations.map(({ length }) => length));
  const context = contextOf(setting, prompt.length, Math.max(1, longest));
  if (context < prompt.length + longest)
    throw new IroriError("no-room", {
      what: `the prompt and its longest continuation are longer than the context of ${setting.model}`,
      got: `${(prompt.length + longest).toLocaleString("en")} tokens`,
      wanted: `at most ${context.toLocaleString("en")}`,
    });
  const cache = memory.take(prompt, context, true);
  using row = new Row(batcher, cache, { signal });
  let afterPrompt: KvCache | undefined;
  try {
    const firsts = [...new Set(continuations.map(([id]) => id as number))];
    const seen = await readPrompt(row, memory, prompt);
    const first = new Map(firsts.map((id) => [id, logprobOf(seen, id)]));
    if (config.windows?.some((window) => window)) afterPrompt = copyOf(cache, memory);
    const scores = new Array<ContinuationScore>(continuations.length);
    let before: readonly number[] = [];
    let known: number[] = [];
    let done = 0;
    for (const index of inOrder(continuations)) {
      const ids = continuations[index] as readonly number[];
      const shared = common(before, ids);
      known = shared === 0 ? [first.get(ids[0] as number) as number] : known.slice(0, shared);
      if (known.length < ids.length) {
        // the last token whose successor is known is fed again: what followed it was looked up for another
        const from = rewind(cache, prompt.length, known.length - 1, afterPrompt);
        const read = (i: number, after: Candidates): void => {
          if (from + i + 1 >= known.length) known.push(logprobOf(after, ids[from + i + 1] as number));
        };
        await row.feed(ids.slice(from, -1), {
          look: "each",
          onRun: (fed, results) => {
            const { positions } = results as StepResults;
            for (let i = 0; i < positions; i++) read(fed - positions + i, (results as StepResults).candidates(i));
          },
        });
      }
      before = ids;
      const logprob = known.reduce((sum, x) => sum + x, 0);
      scores[index] = { ids, logprobs: known, logprob, meanLogprob: logprob / known.length };
      onDone?.(++done);
    }
    return scores;
  } finally {
    if (cache.length > prompt.length) rewind(cache, prompt.length, 0, afterPrompt);
    memory.give(cache);
    if (afterPrompt !== undefined) memory.give(afterPrompt);
  }
}

const logprobOf = ({ all, logSumExp }: Candidates, id: number): number => (all[id] as number) - logSumExp;

function copyOf(cache: KvCache, memory: KvMemory): KvCache {
  const copy = memory.take([], cache.length, false);
  copy.fill(cache, cache.length);
  return copy;
}

/** Takes the cache back to the prompt and so many tokens more, or to the prompt where layers with windows forgot; how many it has then. */
function rewind(cache: KvCache, prompt: number, tokens: number, afterPrompt: KvCache | undefined): number {
  if (cache.canGive(prompt + tokens)) {
    cache.truncate(prompt + tokens);
    return tokens;
  }
  cache.fill(afterPrompt as KvCache, prompt);
  return 0;
}

/** Indices such that neighbours have the longest beginnings in common. */
const inOrder = (all: readonly (readonly number[])[]): number[] =>
  all
    .map((_, i) => i)
    .sort((i, j) => {
      const [a, b] = [all[i] as readonly number[], all[j] as readonly number[]];
      const length = common(a, b);
      return (a[length] ?? -1) - (b[length] ?? -1);
    });
