// The best tokens of a position, with exact logits: what a step's outputs say, put in order.
// It does not know how a token is chosen among them.
import { IroriError } from "../base/mod.ts";
import type { Candidates } from "./logits.ts";

/** Candidates of a position that the Graph chooses. */
const CANDIDATES = 64;
export const candidatesOf = ({ vocabSize }: { readonly vocabSize: number }): number => Math.min(CANDIDATES, vocabSize);

export interface StepOutputs {
  /** [V]; the candidates' places are overwritten with their exact logits. */
  readonly all: Float32Array;
  /** Descending; one more than there are candidates (unless they are the whole vocabulary). */
  readonly topIds: BigInt64Array;
  readonly topLogits: Float32Array;
  /** Of the candidates, in the order of `topIds`. */
  readonly exactLogits: Float32Array;
  /** log Σ exp(logit · inverseTemperature) before refinement. */
  readonly logSumExp: number;
  readonly inverseTemperature: number;
}

function refuseNotFinite(logSumExp: number): void {
  if (Number.isFinite(logSumExp)) return;
  throw new IroriError("bad-file", {
    what: "the model gives no numbers: its logits are not finite",
    got: String(logSumExp),
    next: "where an intervention or an adapter is asked for, it may be that; else remove the model and fetch it again (`irori trace --finite` names where it begins)",
  });
}

/**
 * The candidates by their exact logits. Those that fall to the bound of the rest or below are left out, so that the list is a
 * prefix of all tokens in order; `all` and `logSumExp` agree with it.
 */
export function refine({
  all,
  topIds,
  topLogits,
  exactLogits,
  logSumExp,
  inverseTemperature,
}: StepOutputs): Candidates {
  refuseNotFinite(logSumExp);
  const count = exactLogits.length;
  const isWhole = count === all.length;
  const bound = isWhole ? Number.NEGATIVE_INFINITY : (topLogits[count] as number);
  let change = 0;
  for (let i = 0; i < count; i++) {
    const exact = exactLogits[i] as number;
    change +=
      Math.exp(exact * inverseTemperature - logSumExp) -
      Math.exp((topLogits[i] as number) * inverseTemperature - logSumExp);
    all[Number(topIds[i])] = exact;
  }
  const order = Array.from({ length: count }, (_, i) => i)
    .filter((i) => isWhole || (exactLogits[i] as number) > bound)
    .sort((a, b) => (exactLogits[b] as number) - (exactLogits[a] as number) || Number(topIds[a]) - Number(topIds[b]));
  return {
    ids: order.map((i) => Number(topIds[i])),
    logits: order.map((i) => exactLogits[i] as number),
    logSumExp: logSumExp + Math.log1p(change),
    all,
  };
}
