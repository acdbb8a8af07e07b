// The step that generates: new tokens of each row over its KvCache, and the best candidates of the positions asked for.
// It does not know prompts, sampling or where weights lie.

import { type CachedRows, type Config, cachedRows, type Decoder, type Weights } from "../models/mod.ts";
import {
  type CacheScales,
  cut,
  cutAtTaps,
  type Fusion,
  fuse,
  type Graph,
  gather,
  graph,
  hasTap,
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
 * The step of R rows, with its HookPoints: of any number of tokens where R = 1, of one token in each row where there are more.
 * Inputs: those of `cachedRows`, `wanted` int64 [W] (of R rows which, of one row which tokens) and `inverseTemperature` float32 [W]. Outputs: the caches, `logits` [W, V] with `logSumExp` [W] of logits · inverseTemperature,
 * `topLogits` and `topIds` [W, 65] descending (the 65th bounds all others), and `exactLogits` [W, 64]: the candidates' logits
 * without the rounding of a quantised head, which costs 64 rows of its table.
 */
export function stepGraph(
  family: Decoder,
  config: Config,
  weights: Weights,
  rows: number,
  scales?: readonly CacheScales[],
): Graph {
  const tokens: CachedRows = cachedRows(config, rows, rows === 1 ? "T" : 1, scales);
  const all = family.trace(config, weights, tokens);
  const places = [rows === 1 ? "T" : rows, config.hiddenSize];
  const hidden = cut(gather(reshape(all, places), input("wanted", "int64", ["W"])), HIDDEN);
  const logits = family.head.logits(config, weights, hidden);
  const count = candidatesOf(config);
  const [topLogits, topIds] = topK(logits, Math.min(count + 1, config.vocabSize));
  const exactLogits = candidateLogits(family, config, weights, hidden, slice(topIds, 1, 0, count));
  const sharpness = reshape(input("inverseTemperature", "float32", ["W"]), ["W", 1]);
  const spread = logSumExp(mul(logits, sharpness));
  const step = graph({ ...tokens.caches, logits, topLogits, topIds, exactLogits, logSumExp: spread }, [tokens.given]);
  verify(step);
  return step;
}

/** Hidden states [W, D] of the wanted positions: where the head begins. */
const HIDDEN = "step.hidden";

/**
 * A step in three: half of the layers, the other half, the head (in two, of a family without HookPoints between its layers). They
 * open side by side, and the head is the same for any number of rows. A stage's outputs that a later one takes go by the names of
 * their HookPoints.
 */
export function stagesOf(step: Graph, { layers }: Config, list: readonly Fusion[]): readonly Graph[] {
  const middle = `blocks.${layers >> 1}.hook_resid_pre`;
  const cuts = hasTap(step, middle) ? [middle, HIDDEN] : [HIDDEN];
  const stages = cutAtTaps(step, cuts).map((stage) => fuse(stage, list));
  const head = stages.pop() as Graph;
  return [...stages, graph(head.outputs)];
}

/** The head over the rows of its table that `ids` [W, n] name: [W, n]. */
function candidateLogits(family: Decoder, config: Config, weights: Weights, hidden: Value, ids: Value): Value {
  const table = family.head.weight(config);
  const rowsOf: Weights = (name, shape) => (name === table ? gather(weights(name, shape), ids) : weights(name, shape));
  return reshape(family.head.logits(config, rowsOf, reshape(hidden, ["W", 1, config.hiddenSize])), ids.shape);
}
