// Scoring a text: the negative log likelihood of each token from the second on, and the most likely token at each position.
// It does not know where the text comes from.
import { IroriError } from "../base/mod.ts";
import { contextOf, type GenerationSetting } from "./generation.ts";
import { Row } from "./row.ts";
import type { StepResults } from "./step-results.ts";

export interface Score {
  readonly ids: readonly number[];
  /** Mean of `nll`, in nats. */
  readonly meanNll: number;
  readonly perplexity: number;
  /** −log p of ids[1], ids[2] … */
  readonly nll: readonly number[];
  /** The most likely token where ids[1], ids[2] … stand. */
  readonly argmax: readonly number[];
}

export interface ScoreOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onDone?: ((tokens: number) => void) | undefined;
}

export async function score(
  setting: GenerationSetting,
  ids: readonly number[],
  { signal, onDone }: ScoreOptions = {},
): Promise<Score> {
  if (ids.length < 2)
    throw new IroriError("bad-input", { what: "a text to score", got: `${ids.length} tokens`, wanted: "2 or more" });
  const { memory, batcher } = setting;
  const before = ids.slice(0, -1);
  const cache = memory.take(before, contextOf(setting, before.length, 1), false);
  using row = new Row(batcher, cache, { signal });
  try {
    const nll: number[] = [];
    const argmax: number[] = [];
    const read = (done: number, seen: StepResults): void => {
      for (let i = 0; i < seen.positions; i++) {
        const at = done - seen.positions + i;
        const { ids: best, all, logSumExp } = seen.candidates(i);
        nll.push(logSumExp - (all[ids[at + 1] as number] as number));
        argmax.push(best[0] ?? largestOf(all));
      }
      onDone?.(done);
    };
    await row.feed(before, { look: "each", onRun: (done, seen) => read(done, seen as StepResults) });
    const meanNll = nll.reduce((sum, x) => sum + x, 0) / nll.length;
    return { ids, meanNll, perplexity: Math.exp(meanNll), nll, argmax };
  } finally {
    memory.give(cache);
  }
}

/** Index of the largest value, the first of equal ones. */
function largestOf(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}
