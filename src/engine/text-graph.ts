// Whole texts in, one vector each out (or the scores of a classifier): what embedding and reranking run.
// It does not know batches, tokens' texts or Programs.
import { IroriError } from "../base/mod.ts";
import { type Config, type Family, maskOf, type Weights, wholeSequence } from "../models/mod.ts";
import {
  arange,
  cast,
  type Dim,
  div,
  equal,
  type Graph,
  graph,
  input,
  int64,
  max,
  maxOver,
  mul,
  reshape,
  scalar,
  slice,
  sub,
  sum,
  type Value,
  where,
} from "../tensor/mod.ts";
import type { Pooling } from "./manifest.ts";

/** What is read of a text: its hidden states as one vector, or its classifier's scores. */
export interface Reading {
  readonly of: Pooling | "classes";
  /** Texts come in kinds (token types): pairs. */
  readonly hasTypes: boolean;
}

/** Stands for minus infinity without making NaN of what is multiplied with it. */
const NEVER = -3e38;

/**
 * Inputs: `ids`, `positions`, `mask` int64 [B, T], each text padded on the right, and `types` int64 [B, T] where it has them.
 * Output: `vectors` float32 [B, D] (or [B, C] of C classes), not normalised. Throws "unsupported" for a model without classes.
 */
export function textGraph(family: Family, config: Config, weights: Weights, { of, hasTypes }: Reading): Graph {
  const rows = (name: string): Value => input(name, "int64", ["B", "T"]);
  const mask = rows("mask");
  const types = hasTypes ? rows("types") : undefined;
  const tokens = wholeSequence(rows("ids"), rows("positions"), maskOf(mask, family.isCausal), types);
  const hidden = family.trace(config, weights, tokens);
  const vectors = of === "classes" ? family.classify?.(config, weights, hidden) : POOLS[of](hidden, mask);
  if (vectors === undefined)
    throw new IroriError("unsupported", {
      what: `this ${family.name} has no classifier: it cannot score pairs`,
      next: "take a reranker (a cross-encoder), or compare the vectors of both texts",
    });
  return graph({ vectors }, [rows("ids")]);
}

/** Hidden states [B, T, D] and mask [B, T] to [B, D]. */
const POOLS: Readonly<Record<Pooling, (hidden: Value, mask: Value) => Value>> = {
  mean: (hidden, mask) => {
    const real = cast(mask, "float32");
    return div(sum(mul(hidden, columns(real)), [1]), max(sum(real, [1], true), scalar(1)));
  },
  cls: (hidden) => {
    const [batch, , width] = hidden.shape as [Dim, Dim, Dim];
    return reshape(slice(hidden, 1, 0, 1), [batch, width]);
  },
  last: (hidden, mask) => {
    const [batch, length] = mask.shape as [Dim, Dim];
    const last = sub(reshape(sum(mask, [1]), [batch, 1]), int64(1));
    const isLast = cast(equal(reshape(arange(length), [1, length]), last), "float32");
    return sum(mul(hidden, columns(isLast)), [1]);
  },
  max: (hidden, mask) => maxOver(where(columns(cast(mask, "bool")), hidden, scalar(NEVER)), [1]),
};

/** [B, T] → [B, T, 1]. */
const columns = (x: Value): Value => reshape(x, [...x.shape, 1]);
