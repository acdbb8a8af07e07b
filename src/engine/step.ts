// The Program that generates: new tokens of each row over its KvCache, and the best candidates of the positions asked for.
// It does not know prompts, sampling or where weights lie.

import { type CachedRows, type Config, cachedRows, type Family, type Weights } from "../models/mod.ts";
import {
  fuse,
  type Graph,
  gather,
  graph,
  input,
  logSumExp,
  mul,
  reshape,
  slice,
  topK,
  type Value,
  verify,
} from "../tensor/mod.ts";
import { candidatesOf } from "./candidates.ts";

/**
 * The step of R rows. Inputs: those of `cachedRows`, `wanted` int64 [W] (positions in the packed tokens) and
 * `inverseTemperature` float32 [W]. Outputs: the caches, `logits` [W, V] with `logSumExp` [W] of logits · inverseTemperature,
 * `topLogits` and `topIds` [W, 65] descending (the 65th bounds all others), and `exactLogits` [W, 64]: the candidates' logits
 * without the rounding of a quantised head, which costs 64 rows of its table.
 */
export function stepGraph(family: Family, config: Config, weights: Weights, rows: number): Graph {
  const tokens: CachedRows = cachedRows(config, rows);
  const hidden = gather(family.trace(config, weights, tokens), input("wanted", "int64", ["W"]));
  const logits = family.head(config, weights, hidden);
  const count = candidatesOf(config);
  const [topLogits, topIds] = topK(logits, Math.min(count + 1, config.vocabSize));
  const exactLogits = candidateLogits(family, config, weights, hidden, slice(topIds, 1, 0, count));
  const sharpness = reshape(input("inverseTemperature", "float32", ["W"]), ["W", 1]);
  const spread = logSumExp(mul(logits, sharpness));
  const step = graph({ ...tokens.caches, logits, topLogits, topIds, exactLogits, logSumExp: spread });
  verify(step);
  return fuse(step);
}

/** The head over the rows of its table that `ids` [W, n] name: [W, n]. */
function candidateLogits(family: Family, config: Config, weights: Weights, hidden: Value, ids: Value): Value {
  const table = family.headWeight(config);
  const rowsOf: Weights = (name, shape) => (name === table ? gather(weights(name, shape), ids) : weights(name, shape));
  return reshape(family.head(config, rowsOf, reshape(hidden, ["W", 1, config.hiddenSize])), ids.shape);
}
