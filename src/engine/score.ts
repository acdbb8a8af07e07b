// Scoring a text: the negative log likelihood of each token from the second on, and the most likely token at each position.
// It does not know where the text comes from.
import { IroriError } from "../base/mod.ts";
import { contextOf, type GenerationSetting } from "./generation.ts";
import { KvCache } from "./kv-cache.ts";
import { Row } from "./row.ts";

/** Positions of one run: each brings a row of logits. */
export const SCORE_CHUNK = 128;

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

export async function score(
  setting: GenerationSetting,
  ids: readonly number[],
  options: { readonly signal?: AbortSignal; readonly onDone?: (tokens: number) => void } = {},
): Promise<Score> {
  if (ids.length < 2)
    throw new IroriError("bad-input", { what: "a text to score", got: `${ids.length} tokens`, wanted: "2 or more" });
  const context = contextOf(setting, ids.length - 1, 1);
  using cache = new KvCache(setting.config, context);
  using row = new Row(setting.step, cache, setting.config.vocabSize);
  const nll: number[] = [];
  const argmax: number[] = [];
  for (let at = 0; at < ids.length - 1; at += SCORE_CHUNK) {
    const chunk = ids.slice(at, Math.min(at + SCORE_CHUNK, ids.length - 1));
    const { logits, logSumExp, best } = await setting.inTurn(() => row.scores(chunk, options.signal));
    for (let i = 0; i < chunk.length; i++) {
      const target = ids[at + i + 1] as number;
      nll.push((logSumExp[i] as number) - (logits[i * setting.config.vocabSize + target] as number));
    }
    argmax.push(...best);
    options.onDone?.(at + chunk.length);
  }
  const meanNll = nll.reduce((sum, x) => sum + x, 0) / nll.length;
  return { ids, meanNll, perplexity: Math.exp(meanNll), nll, argmax };
}
