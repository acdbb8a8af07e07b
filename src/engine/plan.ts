// The memory that a generation needs, item by item, before any of it is allocated.
// Pure: the budget is passed in; nothing is measured here.
import { IroriError } from "../base/mod.ts";
import type { Config } from "../models/mod.ts";
import { candidatesOf } from "./candidates.ts";
import { type KvType, kvCacheBytes } from "./kv-cache.ts";

export interface PlanItem {
  readonly name: string;
  readonly bytes: number;
  /** Mapped files count as memory that the system can take back. */
  readonly isMapped: boolean;
}
export interface Plan {
  readonly model: string;
  readonly context: number;
  readonly items: readonly PlanItem[];
  /** Sum of what is not mapped. */
  readonly privateBytes: number;
  readonly mappedBytes: number;
}
export interface PlanWants {
  readonly model: string;
  readonly config: Config;
  /** Bytes of the files that are mapped. */
  readonly mappedBytes: number;
  readonly context: number;
  readonly kvType?: KvType;
  /** KvCaches of that context. Default 1. */
  readonly caches?: number;
  /** Tokens of one run at most. */
  readonly chunk: number;
  /** Positions of one run whose logits are wanted. Default 1. */
  readonly positions?: number;
}

/**
 * Working memory of a run: the widest activations of a chunk, and for each wanted position its logits (with what becomes of
 * them on the way) and the rows of the head's table that its candidates have, dequantised in three steps.
 */
export function scratchBytes(config: Config, chunk: number, positions = 1): number {
  const activations = chunk * (8 * config.hiddenSize + 4 * (config.heads + 2 * config.kvHeads) * config.headSize);
  const perPosition = 4 * config.vocabSize + 3 * candidatesOf(config) * config.hiddenSize;
  return 4 * (activations + positions * perPosition);
}

export function planGeneration(wants: PlanWants): Plan {
  const { model, config, mappedBytes, context, chunk, positions = 1, kvType = "f32", caches = 1 } = wants;
  const items: PlanItem[] = [
    { name: "weights", bytes: mappedBytes, isMapped: true },
    {
      name: `${caches === 1 ? "KvCache" : `${caches} KvCaches`} of ${context.toLocaleString("en")} tokens`,
      bytes: caches * kvCacheBytes(config, context, kvType),
      isMapped: false,
    },
    { name: "scratch", bytes: scratchBytes(config, chunk, positions), isMapped: false },
  ];
  const sum = (isMapped: boolean) =>
    items.filter((item) => item.isMapped === isMapped).reduce((all, item) => all + item.bytes, 0);
  return { model, context, items, privateBytes: sum(false), mappedBytes: sum(true) };
}

/** Throws "no-room" with the table and the longest context that would fit. */
export function refuseTooLarge(wants: PlanWants, budgetBytes: number): Plan {
  const plan = planGeneration(wants);
  const needs = plan.privateBytes + plan.mappedBytes;
  if (needs <= budgetBytes) return plan;
  const longest = longestContext(wants, budgetBytes);
  const table = plan.items
    .map((item) => `${item.name} ${megabytes(item.bytes)}${item.isMapped ? " (mapped)" : ""}`)
    .join(", ");
  throw new IroriError("no-room", {
    what: `${wants.model} at ${wants.context.toLocaleString("en")} tokens needs ${megabytes(needs)} (${table})`,
    got: `a budget of ${megabytes(budgetBytes)}`,
    next:
      longest > 0
        ? `${longest.toLocaleString("en")} tokens would fit`
        : "no context would fit: close other programs or take a smaller model",
  });
}

/** The longest context whose plan fits (layers with windows stop growing, so this is searched); 0 where none does. */
function longestContext(wants: PlanWants, budgetBytes: number): number {
  let [fits, tooLong] = [0, wants.context];
  while (tooLong - fits > 1) {
    const middle = (fits + tooLong) >> 1;
    const plan = planGeneration({ ...wants, context: middle });
    if (plan.privateBytes + plan.mappedBytes <= budgetBytes) fits = middle;
    else tooLong = middle;
  }
  return fits;
}

export const megabytes = (bytes: number): string =>
  bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
