// What models take of memory and which may be open together: an itemised plan, checked before anything is allocated.
// Pure: it does not know what is open, allocated or asked; all of it is passed in.
import { IroriError } from "../base/mod.ts";
import { megabytes } from "../engine/mod.ts";
import type { ModelFacts } from "./host.ts";
import { kvBytes } from "./kv-plan.ts";

/** What a model's plan counts. */
/** Tokens of a model's answers together that room is kept for, where nobody says another number. */
export const PLANNED_CONTEXT = 4096;
/** Bytes of the budget that no model takes, where nobody says another number. */
export const RESERVE_BYTES = 64 * 2 ** 20;

export type MeasuredFacts = Pick<ModelFacts, "model" | "context" | "weightBytes" | "ownBytes" | "kv" | "scratchBytes">;

export interface ResidencyItem {
  readonly name: string;
  readonly kind: "weights" | "own" | "kv" | "scratch";
  readonly bytes: number;
  /** Backed by a file. */
  readonly isMapped: boolean;
}

export interface Want {
  readonly facts: MeasuredFacts;
  /** Tokens of all its answers together that room is kept for. */
  readonly context: number;
}

/** A model that is open or being opened. */
export interface HeldModel {
  readonly model: string;
  readonly bytes: number;
  readonly isPinned: boolean;
  /** Requests that use it; 1 or more while it loads. */
  readonly users: number;
  readonly idleMs: number;
  /** What loading it took. */
  readonly loadMs: number;
}

export interface ResidencyState {
  readonly held: readonly HeldModel[];
}

export interface Budget {
  readonly bytes: number;
  /** Of it, what no model may take. */
  readonly reserveBytes: number;
}

export interface ResidencyPlan {
  readonly model: string;
  readonly context: number;
  readonly items: readonly ResidencyItem[];
  readonly neededBytes: number;
  /** What the budget leaves beside its reserve and the models that are held. */
  readonly freeBytes: number;
  readonly verdict:
    | { readonly type: "fits"; readonly evict: readonly string[] }
    /** It would fit without these, which are in use. */
    | { readonly type: "wait"; readonly waitFor: readonly string[] }
    /** It does not fit beside the pinned models, whoever else gives way. */
    | { readonly type: "refused"; readonly longestContext: number; readonly roomBytes: number };
}

/** The memory of one model with room for `context` tokens, item by item; layers with a window stop growing at it. */
export function itemsOf({ facts, context }: Want): readonly ResidencyItem[] {
  const { weightBytes, ownBytes, kv, scratchBytes } = facts;
  const caches = kv.map((kind): ResidencyItem => {
    const tokens = Math.min(kind.most ?? context, context).toLocaleString("en");
    const layers = `${kind.layers} ${kind.layers === 1 ? "layer" : "layers"}`;
    return {
      name: `KV of ${layers}, ${tokens} tokens${kind.most === undefined ? "" : " (window)"}`,
      ...{ kind: "kv", bytes: kvBytes([kind], context), isMapped: false },
    };
  });
  return [
    { name: "weights", kind: "weights", bytes: weightBytes, isMapped: true },
    { name: "programs and vocabulary", kind: "own", bytes: ownBytes, isMapped: false },
    ...caches,
    { name: "scratch", kind: "scratch", bytes: scratchBytes, isMapped: false },
  ];
}

const sumOf = (items: readonly { readonly bytes: number }[]): number =>
  items.reduce((sum, { bytes }) => sum + bytes, 0);

export function planResidency({ held }: ResidencyState, want: Want, budget: Budget): ResidencyPlan {
  const { model } = want.facts;
  const items = itemsOf(want);
  const neededBytes = sumOf(items);
  const others = held.filter((each) => each.model !== model);
  const room = budget.bytes - budget.reserveBytes;
  const freeBytes = room - sumOf(others);
  const plan = { model, context: want.context, items, neededBytes, freeBytes };
  const roomBytes = room - sumOf(others.filter(({ isPinned }) => isPinned));
  if (neededBytes > roomBytes)
    return { ...plan, verdict: { type: "refused", longestContext: longestContext(want, roomBytes), roomBytes } };
  const short = neededBytes - freeBytes;
  const idle = others.filter(({ isPinned, users }) => !isPinned && users === 0);
  const evict = cheapest(idle, short);
  if (evict !== undefined) return { ...plan, verdict: { type: "fits", evict } };
  const busy = others.filter(({ isPinned, users }) => !isPinned && users > 0);
  return { ...plan, verdict: { type: "wait", waitFor: cheapest(busy, short - sumOf(idle)) ?? [] } };
}

/** Models that free so many bytes: first those whose loading costs little for the time that nobody wanted them. */
function cheapest(from: readonly HeldModel[], bytes: number): readonly string[] | undefined {
  const cost = ({ loadMs, idleMs }: HeldModel) => loadMs / (idleMs + 1000);
  const chosen: HeldModel[] = [];
  for (const each of from.toSorted((a, b) => cost(a) - cost(b))) {
    if (sumOf(chosen) >= bytes) break;
    chosen.push(each);
  }
  if (sumOf(chosen) < bytes) return undefined;
  // one that is not needed any more, since a larger one came later, stays
  for (const each of chosen.toSorted((a, b) => cost(b) - cost(a)))
    if (sumOf(chosen) - each.bytes >= bytes) chosen.splice(chosen.indexOf(each), 1);
  return chosen.map(({ model }) => model);
}

/** The longest context that fits into so many bytes; 0 where none does. */
function longestContext({ facts }: Want, bytes: number): number {
  let [fits, tooLong] = [0, facts.context + 1];
  while (tooLong - fits > 1) {
    const middle = (fits + tooLong) >> 1;
    if (sumOf(itemsOf({ facts, context: middle })) <= bytes) fits = middle;
    else tooLong = middle;
  }
  return fits;
}

/** "weights 145 MB (mapped), KV of 30 layers, 4,096 tokens 189 MB, …". */
const tableOf = (items: readonly ResidencyItem[]): string =>
  items.map(({ name, bytes, isMapped }) => `${name} ${megabytes(bytes)}${isMapped ? " (mapped)" : ""}`).join(", ");

/** A model that does not fit, with its plan. */
export class NoRoomError extends IroriError {
  readonly plan: ResidencyPlan;
  constructor(plan: ResidencyPlan, budget: Budget) {
    const { model, context, items, neededBytes, verdict } = plan;
    const { longestContext, roomBytes } = verdict.type === "refused" ? verdict : { longestContext: 0, roomBytes: 0 };
    super("no-room", {
      what: `${model} at ${context.toLocaleString("en")} tokens needs ${megabytes(neededBytes)} (${tableOf(items)})`,
      got: `a budget of ${megabytes(budget.bytes)} that leaves ${megabytes(Math.max(0, roomBytes))} beside its reserve and pinned models`,
      next:
        longestContext > 0
          ? `${longestContext.toLocaleString("en")} tokens would fit`
          : "no context would fit: take a smaller model, pin fewer, or close other programs",
    });
    this.plan = plan;
  }
}

/** What items take of mapped files, and what no file backs. */
export function plannedBytes(items: readonly ResidencyItem[]): { readonly mapped: number; readonly own: number } {
  const of = (isMapped: boolean) => items.reduce((sum, item) => sum + (item.isMapped === isMapped ? item.bytes : 0), 0);
  return { mapped: of(true), own: of(false) };
}
