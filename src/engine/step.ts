// The Program that generates: new tokens of each row over its KvCache, and the best candidates of the positions asked for.
// It does not know prompts, sampling or where weights lie.
import { type CachedRows, type Config, cachedRows, type Family, type Weights } from "../models/mod.ts";
import { fuse, type Graph, gather, graph, input, logSumExp, mul, reshape, topK, verify } from "../tensor/mod.ts";

/** Candidates of a position that the Graph chooses. */
export const CANDIDATES = 64;

/**
 * The step of R rows. Inputs: those of `cachedRows`, `wanted` int64 [W] (positions in the packed tokens) and
 * `inverseTemperature` float32 [W]. Outputs: the caches, `logits` [W, V], `topLogits` and `topIds` [W, 64] descending, and
 * `logSumExp` [W] of logits · inverseTemperature.
 */
export function stepGraph(family: Family, config: Config, weights: Weights, rows: number): Graph {
  const tokens: CachedRows = cachedRows(config, rows);
  const hidden = family.trace(config, weights, tokens);
  const wanted = input("wanted", "int64", ["W"]);
  const logits = family.head(config, weights, gather(hidden, wanted));
  const [topLogits, topIds] = topK(logits, Math.min(CANDIDATES, config.vocabSize));
  const sharpness = reshape(input("inverseTemperature", "float32", ["W"]), ["W", 1]);
  const step = graph({ ...tokens.caches, logits, topLogits, topIds, logSumExp: logSumExp(mul(logits, sharpness)) });
  verify(step);
  return fuse(step);
}
