// One run over whole token sequences with the inside open: logits (or an encoder's outputs), captures, interventions, the loss
// and gradients. Plain data in and out. It does not know names of models or files.
import { IroriError } from "../base/mod.ts";
import {
  type Adapter,
  type InterventionSpec,
  interventionInputs,
  interventionsOf,
  type LowRank,
  loraByRow,
  loraValues,
  matchHookPoints,
  type Numbers,
  resumeAt,
  shapesAt,
  withoutPatterns,
} from "../hooks/mod.ts";
import type { Processing } from "../models/mod.ts";
import { Tensor } from "../runtime/mod.ts";
import { type Dim, evaluateDim, type Graph, hookPoints, inputsOf, type TensorType } from "../tensor/mod.ts";
import type { HeldProgram } from "./kept-programs.ts";
import { lossChunks, tokenLossInputs } from "./token-loss.ts";
import { ADAPTER, type Asked, type Model, planTrace, type TracePlan, wholeGraph } from "./trace-plan.ts";
import { checkedRows, integers, placesOf, type Rows, type RowsRequest, targetsOf } from "./trace-rows.ts";

export interface TraceRequest extends RowsRequest {
  /** Patterns of HookPoints whose values are wanted. */
  readonly capture?: readonly string[] | undefined;
  /** Names of model outputs that are wanted; default all: `logits`, or `last_hidden_state` and `pooler_output`. */
  readonly outputs?: readonly string[] | undefined;
  /** Positions (negative: from the end of each row's text) of outputs and captures that are wanted: their axis T becomes P. Default all. */
  readonly only?: readonly number[] | undefined;
  readonly interventions?: readonly InterventionSpec[] | undefined;
  /** Tensors that interventions name. */
  readonly tensors?: Readonly<Record<string, Numbers>> | undefined;
  /** Values at HookPoints, [B, T, …], to go on from: nothing that only they need is computed. */
  readonly from?: Readonly<Record<string, Numbers>> | undefined;
  /** Low-rank changes of the model's weights, as an adapter's folder holds them: for all rows, or one (or none) for each. */
  readonly adapter?: Adapter | readonly (Adapter | undefined)[] | undefined;
  /** The weights as TransformerLens processes them; default: as they are. Log-probabilities stay, what lies inside does not. */
  readonly processing?: Processing | undefined;
  /** `true`: the loss, and its gradient by every parameter. */
  readonly gradients?: boolean | GradientRequest | undefined;
}

export interface GradientRequest {
  /**
   * What is differentiated: `loss`, the mean next-token cross-entropy over real targets (an output of that name), or a weighted
   * sum of logits of each row (output `metric` [B]), such as a logit difference. Default: the loss.
   */
  readonly of?: "loss" | readonly LogitWeight[] | undefined;
  /** Patterns of HookPoints: `grad.HOOKPOINT`, of the value's shape. */
  readonly at?: readonly string[] | undefined;
  /** `grad.PARAMETER` for every parameter. Default: where `at` is not given. */
  readonly parameters?: boolean | undefined;
}

export interface LogitWeight {
  /** Negative: from the end of a row's text. */
  readonly position: number;
  readonly id: number;
  readonly weight: number;
  /** Default all. */
  readonly rows?: readonly number[] | undefined;
}

/** Outputs, captures under their HookPoints' names, loss or metric, and gradients. */
export type Traced = Readonly<Record<string, Numbers>>;

export interface TraceModel extends Model {
  /** Opens the Program of a Graph over the model's weights; it is the caller's until disposed of. */
  readonly program: (g: Graph) => Promise<HeldProgram>;
  /** Plans by what they were made for, the latest last. */
  readonly plans: Map<string, TracePlan>;
  /** Names of its HookPoints, by those that a run goes on from. */
  readonly hooks: Map<string, readonly string[]>;
}

export async function trace(model: TraceModel, asked: TraceRequest, isOpen = false): Promise<Traced> {
  const interventions = withoutPatterns(asked.interventions ?? [], () =>
    traceHookPoints(model, Object.keys(asked.from ?? {})),
  );
  const request = { ...asked, interventions };
  const rows = checkedRows(model.config, request);
  const targets = wantsLoss(request) ? targetsOf(rows) : undefined;
  const adapted = adapterOf(request, rows);
  const plan = planOf(model, askedOf(request, adapted, lossChunks(targets?.ids.length ?? 0)));
  const values = {
    ...valuesOf(model, request, rows, plan, isOpen),
    ...adapted.values,
    ...(targets && tokenLossInputs(targets.places, targets.ids)),
  };
  using held = await model.program(plan.graph);
  return run(held, plan.graph, values);
}

const wantsLoss = ({ gradients }: TraceRequest): boolean =>
  gradients === true || (typeof gradients === "object" && !Array.isArray(gradients.of));

interface Adapted {
  readonly changes: readonly LowRank[];
  readonly isByRow: boolean;
  readonly values: Readonly<Record<string, Numbers>>;
}

function adapterOf({ adapter }: TraceRequest, { count }: Rows): Adapted {
  if (adapter === undefined || "changes" in adapter) {
    const all = adapter?.changes ?? [];
    const changes = all.map(({ weight, rank, scale }) => ({ weight, rank, scale }));
    return { changes, isByRow: false, values: loraValues(ADAPTER, all) };
  }
  if (adapter.length !== count)
    throw new IroriError("bad-input", { what: "adapters, one a row", got: adapter.length, wanted: count });
  return {
    ...loraByRow(
      ADAPTER,
      adapter.map((own) => own?.changes ?? []),
    ),
    isByRow: true,
  };
}

/** What a request asks for, without its numbers. */
function askedOf(request: TraceRequest, { changes, isByRow }: Adapted, chunks: number): Asked {
  const { types, only, capture = [], interventions = [], outputs, from = {}, gradients, processing = {} } = request;
  const { of = "loss", at = [], parameters = at.length === 0 } = typeof gradients === "object" ? gradients : {};
  return {
    hasTypes: types?.flat().some((type) => type !== 0) ?? false,
    isSome: only !== undefined,
    ...{ capture, outputs, processing, from: Object.keys(from) },
    interventions: interventionsOf(interventions),
    ...{ adapter: changes, isAdaptedByRow: isByRow },
    gradients: gradients ? { of: of === "loss" ? of : "metric", chunks, at, parameters } : undefined,
  };
}

/** Plans that are kept of a model. */
const PLANS = 64;

function planOf({ plans, ...model }: TraceModel, asked: Asked): TracePlan {
  const key = JSON.stringify(asked);
  const plan = plans.get(key) ?? planTrace(model, asked);
  plans.delete(key);
  plans.set(key, plan);
  for (const oldest of plans.keys()) if (plans.size > PLANS) plans.delete(oldest);
  return plan;
}

/** The inputs that a request's numbers are, by name. */
function valuesOf(
  { config }: TraceModel,
  request: TraceRequest,
  rows: Rows,
  { shapes }: TracePlan,
  isOpen: boolean,
): Record<string, Numbers> {
  const { gradients, interventions = [], only, from = {} } = request;
  const dims = { B: rows.count, T: rows.length };
  const batch = { dims, spans: rows.spans, isOpen, tensors: request.tensors ?? {} };
  const of = typeof gradients === "object" ? gradients.of : undefined;
  return {
    ...interventionInputs(interventions, shapes, batch),
    ...checkedFrom(from, shapes, dims),
    ...(rows.types && { types: integers(rows.types) }),
    ...{ ids: integers(rows.ids), positions: integers(rows.positions), mask: integers(rows.mask) },
    ...(only && { places: integers(placesOf(rows, only)) }),
    ...(Array.isArray(of) && metricValues(of, rows, config.vocabSize)),
  };
}

function checkedFrom(
  from: Readonly<Record<string, Numbers>>,
  shapes: TracePlan["shapes"],
  dims: Readonly<Record<string, number>>,
): Readonly<Record<string, Numbers>> {
  for (const [hook, { shape }] of Object.entries(from)) {
    const wanted = (shapes.get(hook) as readonly Dim[]).map((dim) => evaluateDim(dim, dims));
    if (shape.join() !== wanted.join())
      throw new IroriError("bad-input", {
        what: `${hook}: values to go on from`,
        got: `[${shape}]`,
        wanted: `[${wanted}]`,
      });
  }
  return Object.fromEntries(Object.entries(from).map(([hook, values]) => [`from.${hook}`, values]));
}

/** Each row's chosen logits: their places, ids and factors (0 in rows that a choice leaves out). */
function metricValues(chosen: readonly LogitWeight[], rows: Rows, vocabSize: number): Record<string, Numbers> {
  const wrong = chosen.find(({ id }) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (wrong || chosen.length === 0)
    throw new IroriError("bad-input", {
      what: "logits to differentiate",
      got: wrong?.id ?? "none",
      wanted: `ids from 0 to ${vocabSize - 1}`,
    });
  const factors = rows.ids.flatMap((_, row) =>
    chosen.map((one) => ((one.rows?.includes(row) ?? true) ? one.weight : 0)),
  );
  return {
    rows: integers(
      placesOf(
        rows,
        chosen.map(({ position }) => position),
      ),
    ),
    targets: integers(rows.ids.map(() => chosen.map(({ id }) => id))),
    factors: { shape: [rows.count, chosen.length], data: Float32Array.from(factors) },
  };
}

/** Results are written by the library into arrays of ours: nothing is copied. */
async function run({ program }: HeldProgram, g: Graph, values: Readonly<Record<string, Numbers>>): Promise<Traced> {
  using owned = new DisposableStack();
  const known = new Set(program.inputs.map(({ name }) => name));
  const inputs: Record<string, Tensor> = {};
  const dims: Record<string, number> = {};
  for (const { name, node } of inputsOf(g)) {
    const { shape, data } = values[name] as Numbers;
    const type = node.types[0] as TensorType;
    type.shape.forEach((dim, axis) => {
      if (typeof dim === "string") dims[dim] = shape[axis] as number;
    });
    if (known.has(name)) inputs[name] = owned.use(Tensor.of(type.dtype, shape, data as never));
  }
  const outputs = Object.fromEntries(
    Object.entries(g.outputs).map(([name, { shape }]) => {
      const sizes = shape.map((dim) => evaluateDim(dim, dims));
      return [name, owned.use(Tensor.of("float32", sizes))];
    }),
  );
  await program.run(inputs, { outputs });
  return Object.fromEntries(Object.entries(outputs).map(([name, { shape, data }]) => [name, { shape, data }]));
}

/** Names of the model's HookPoints, of a run that goes on from some of them. */
export function traceHookPoints(model: TraceModel, from: readonly string[] = []): readonly string[] {
  const key = JSON.stringify(from);
  const known = model.hooks.get(key);
  if (known !== undefined) return known;
  const whole = wholeGraph(model, { hasTypes: false, isSome: false, gradients: undefined });
  const names = hookPoints(from.length === 0 ? whole : resumeAt(whole, ...from));
  model.hooks.set(key, names);
  return names;
}

/** How many numbers captures of `tokens` tokens are at most, by HookPoint: of scores and patterns one for every two tokens. */
export function captureSizes(
  model: TraceModel,
  patterns: readonly string[],
  tokens: number,
): Readonly<Record<string, number>> {
  const whole = wholeGraph(model, { hasTypes: false, isSome: false, gradients: undefined });
  const dims = { B: 1, T: tokens };
  const sizes = [...shapesAt(whole, matchHookPoints(whole, patterns))].map(([name, shape]) => [
    name,
    shape.reduce<number>((product, dim) => product * evaluateDim(dim, dims), 1),
  ]);
  return Object.fromEntries(sizes);
}
