// What a trace computes, without its numbers: the Graph of a request, made once for requests that ask the same.
// It does not know token ids, values or Programs.
import { IroriError } from "../base/mod.ts";
import {
  type Intervention,
  type LowRank,
  matchHookPoints,
  resumeAt,
  shapesAt,
  withInterventions,
  withLora,
} from "../hooks/mod.ts";
import {
  type Config,
  type Family,
  maskOf,
  type Processing,
  processed,
  type Weights,
  wholeSequence,
} from "../models/mod.ts";
import {
  type Dim,
  fuse,
  type Graph,
  gather,
  graph,
  input,
  inputsOf,
  mul,
  narrowRows,
  pick,
  reshape,
  sum,
  transpose,
  type Value,
  withGradients,
  withTaps,
} from "../tensor/mod.ts";
import { type LogitsAt, tokenLoss } from "./token-loss.ts";

/** A model as its family's program over its weights. */
export interface Model {
  readonly family: Family;
  readonly config: Config;
  readonly weights: Weights;
}

/** What a trace asks for. Requests that agree in this are one Program, whatever their numbers. */
export interface Asked {
  /** Texts come in kinds (token types). */
  readonly hasTypes: boolean;
  /** Only some positions are wanted. */
  readonly isSome: boolean;
  readonly processing: Processing;
  readonly capture: readonly string[];
  readonly interventions: readonly Intervention[];
  readonly outputs: readonly string[] | undefined;
  /** HookPoints whose values are given. */
  readonly from: readonly string[];
  readonly adapter: readonly LowRank[];
  /** Each row has an adapter of its own. */
  readonly isAdaptedByRow: boolean;
  readonly gradients:
    | {
        readonly of: "loss" | "metric";
        /** Of the loss. */
        readonly chunks: number;
        readonly at: readonly string[];
        readonly parameters: boolean;
      }
    | undefined;
}

export interface TracePlan {
  readonly graph: Graph;
  /** Shapes at the HookPoints of interventions, and at those whose values are given. */
  readonly shapes: ReadonlyMap<string, readonly Dim[]>;
}

/** In front of the names of an adapter's inputs. */
export const ADAPTER = "lora";

const rows = (name: string): Value => input(name, "int64", ["B", "T"]);

/**
 * Inputs: ids, positions and mask int64 [B, T]; `places` int64 [B, P] (of B · T) where only some positions are wanted; of a
 * loss those of `tokenLoss`; of a metric, `rows` and `targets` int64 [B, M] and `factors` float32 [B, M].
 */
export function planTrace(model: Model, asked: Asked): TracePlan {
  const { adapter, from, interventions, gradients, isSome } = asked;
  const whole = withLora(wholeGraph(processedModel(model, asked), asked), ADAPTER, adapter, {
    rows: asked.isAdaptedByRow ? "B" : undefined,
  });
  refuseTypes(model, asked, whole);
  const outputs = wantedOutputs(asked, whole);
  const given = shapesAt(whole, from);
  const resumed = from.length === 0 ? whole : resumeAt(whole, ...from);
  const shapes = new Map([
    ...given,
    ...shapesAt(
      resumed,
      interventions.map(({ hook }) => hook),
    ),
  ]);
  const changed = withInterventions(resumed, interventions);
  const captures = matchHookPoints(changed, asked.capture);
  const by = matchHookPoints(changed, gradients?.at ?? []);
  const tapped = withTaps(changed, [...new Set([...captures, ...by])]);
  const wanted = [...outputs, ...captures, ...(gradients ? [gradients.of, ...by.map((name) => `grad.${name}`)] : [])];
  const parameters = gradients?.parameters ? parametersOf(model) : {};
  const narrow = narrowRows(tapped);
  const all = gradients
    ? withGradients(narrow, gradients.of === "loss" ? "loss" : TOTAL, parameters, { at: by })
    : narrow;
  const isWanted = (name: string) => wanted.includes(name) || name.slice("grad.".length) in parameters;
  const kept = Object.entries(all.outputs).filter(([name]) => isWanted(name));
  const placed = kept.map(
    ([name, value]) => [name, isSome && !outputs.includes(name) ? atPlaces(name, value) : value] as const,
  );
  return { graph: fuse(narrowRows(graph(Object.fromEntries(placed), tapped.inputs))), shapes };
}

/** The model with its weights processed as it is asked. */
function processedModel(model: Model, { processing, adapter, gradients }: Asked): Model {
  if (!Object.values(processing).some(Boolean)) return model;
  if (adapter.length > 0 || gradients?.parameters)
    throw new IroriError("bad-input", {
      what: "processed weights",
      got: adapter.length > 0 ? "with an adapter" : "with gradients by parameters",
      wanted: "the weights as they are",
    });
  return { ...model, ...processed(model.family, model.config, model.weights, processing) };
}

/** The metric's sum over the rows: what is differentiated. */
const TOTAL = "metric.total";

/** The model over whole sequences, unhooked. */
export function wholeGraph(
  model: Model,
  { hasTypes, isSome, gradients }: Pick<Asked, "hasTypes" | "isSome" | "gradients">,
) {
  const { family, config, weights } = model;
  const types = hasTypes ? rows("types") : undefined;
  const tokens = wholeSequence(rows("ids"), rows("positions"), maskOf(rows("mask"), family.isCausal), types);
  const hidden = family.trace(config, weights, tokens);
  const places = isSome ? input("places", "int64", ["B", "P"]) : undefined;
  const some = places === undefined ? hidden : gather(flat(hidden), places);
  if (family.head === undefined) {
    if (gradients) throw new IroriError("unsupported", { what: `a ${family.name} predicts no tokens: it has no loss` });
    const pooled = family.pool?.(config, weights, hidden);
    return graph({ last_hidden_state: some, ...(pooled && { pooler_output: pooled }) }, [rows("ids")]);
  }
  const { head } = family;
  const logitsAt = (value: Value): Value => head.logits(config, weights, value);
  const outputs: Record<string, Value> = { logits: logitsAt(some) };
  if (gradients?.of === "loss") outputs.loss = tokenLoss(flat(hidden), logitsAt, gradients.chunks);
  if (gradients?.of === "metric") Object.assign(outputs, metricOf(hidden, logitsAt));
  return graph(outputs, [rows("ids")]);
}

/** Of each row, the sum of chosen logits times their factors. */
function metricOf(hidden: Value, logitsAt: LogitsAt): Record<string, Value> {
  const at = (name: string): Value => input(name, "int64", ["B", "M"]);
  const chosen = pick(logitsAt(gather(flat(hidden), at("rows"))), at("targets"));
  const metric = sum(mul(chosen, input("factors", "float32", ["B", "M"])), [1]);
  return { metric, [TOTAL]: sum(metric, [0]) };
}

/** [B, T, …] → [B · T, …]. */
function flat(value: Value): Value {
  const [batch, length, ...rest] = value.shape as [string, string, ...Dim[]];
  return reshape(value, [`${batch}*${length}`, ...rest]);
}

/** The wanted positions of what stands at a HookPoint (queries, where its axes are heads, queries and keys), or of its gradient. */
function atPlaces(name: string, value: Value): Value {
  const places = input("places", "int64", ["B", "P"]);
  if (/\.hook_(attn_scores|pattern)$/.test(name))
    return transpose(gather(flat(transpose(value, [0, 2, 1, 3])), places), [0, 2, 1, 3]);
  return value.rank > 2 && value.shape[1] === "T" ? gather(flat(value), places) : value;
}

function parametersOf({ family, config, weights }: Model): Record<string, Value> {
  return Object.fromEntries([...family.weights(config)].map(([name, shape]) => [name, weights(name, shape)]));
}

function wantedOutputs({ outputs, capture, gradients }: Asked, { outputs: all }: Graph): readonly string[] {
  const known = Object.keys(all).filter((name) => !["loss", "metric", TOTAL].includes(name));
  const unknown = outputs?.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new IroriError("bad-input", {
      what: "an output that this model has not",
      got: unknown,
      wanted: known.join(", "),
    });
  if (outputs?.length === 0 && capture.length === 0 && !gradients)
    throw new IroriError("bad-input", {
      what: "nothing is asked of the run",
      wanted: "outputs, captures or gradients",
    });
  return outputs ?? known;
}

function refuseTypes({ family }: Model, { hasTypes }: Asked, whole: Graph): void {
  if (!hasTypes || inputsOf(whole).some(({ name }) => name === "types")) return;
  throw new IroriError("bad-input", {
    what: `a ${family.name} has no kinds of text`,
    got: "token types other than 0",
  });
}
