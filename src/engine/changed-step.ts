// The step of an answer that is changed or read inside: its Graph, and the values of what it has beside the usual inputs.
// It does not know Programs, files or sampling.
import {
  type Adapter,
  type Intervention,
  type InterventionSpec,
  interventionInputs,
  interventionsOf,
  type LowRank,
  loraValues,
  matchHookPoints,
  type Numbers,
  shapesAt,
  withInterventions,
  withLora,
} from "../hooks/mod.ts";
import { Tensor } from "../runtime/mod.ts";
import { type Dim, evaluateDim, type Graph, graph, slice, type Value, withTaps } from "../tensor/mod.ts";
import type { StepExtras } from "./bound-step.ts";
import type { KvCache } from "./kv-cache.ts";
import type { Step } from "./programs.ts";

/** What a request changes and reads inside the model, in the prompt and in every token made: no other request sees it. */
export interface Inside {
  /** Positions count from the prompt's start, negative ones back from its end; without them the tokens made are meant too. */
  readonly interventions?: readonly InterventionSpec[] | undefined;
  /** Tensors that interventions name. */
  readonly tensors?: Readonly<Record<string, Numbers>> | undefined;
  /** A low-rank change of the model's weights. */
  readonly adapter?: Adapter | undefined;
  /** Patterns of HookPoints whose values are wanted, of every token that is fed: they come as "captured" events. */
  readonly capture?: readonly string[] | undefined;
}

/** What is changed and read, without its numbers: requests that agree in it share a step. */
export interface StepChange {
  readonly interventions: readonly Intervention[];
  readonly adapter: readonly LowRank[];
  readonly capture: readonly string[];
}

/** Undefined where a request leaves the model as it is. */
export function changeOf({ interventions = [], adapter, capture = [] }: Inside): StepChange | undefined {
  const changes = (adapter?.changes ?? []).map(({ weight, rank, scale }) => ({ weight, rank, scale }));
  if (interventions.length + changes.length + capture.length === 0) return undefined;
  return { interventions: interventionsOf(interventions), adapter: changes, capture };
}

export interface Shapes {
  /** At the HookPoints of interventions. */
  readonly changed: ReadonlyMap<string, readonly Dim[]>;
  /** At those that are captured. */
  readonly captured: ReadonlyMap<string, readonly Dim[]>;
}

const ADAPTER = "lora";
/** In front of the names of outputs that are captures: a HookPoint's own may be that of a cut between stages. */
const CAPTURED = "captured.";

/**
 * The step with its changes. Throws where a HookPoint or a weight is not there.
 * @param headWeight the weight whose rows candidates' logits are computed from again
 */
export function changedGraph(
  step: Graph,
  { interventions, adapter, capture }: StepChange,
  headWeight: string,
): { graph: Graph; shapes: Shapes } {
  const adapted = withLora(step, ADAPTER, adapter);
  const hooks = interventions.map(({ hook }) => hook);
  const changed = withInterventions(adapted, interventions);
  const captures = matchHookPoints(changed, capture);
  const { outputs: tapped, inputs } = withTaps(changed, captures);
  // a changed head's candidates are what it gives: their rows alone do not have the change
  const isHeadAdapted = adapter.some(({ weight }) => weight === headWeight);
  const outputs = isHeadAdapted ? { ...tapped, exactLogits: firstOf(tapped) } : tapped;
  const named = Object.entries(outputs).map(([name, value]) => [
    captures.includes(name) ? CAPTURED + name : name,
    value,
  ]);
  const shapes = { changed: shapesAt(adapted, hooks), captured: shapesAt(changed, captures) };
  return { graph: graph(Object.fromEntries(named), inputs), shapes };
}

/** The likeliest logits, as many as are computed exactly of an unchanged head. */
function firstOf({ topLogits, exactLogits }: Graph["outputs"]): Value {
  return slice(topLogits as Value, 1, 0, (exactLogits as Value).shape[1] as number);
}

/** The values that a changed step takes, and where it writes what is captured, for an answer to a prompt of so many tokens. */
export function extrasOf(inside: Inside, step: Step, { changed, captured }: Shapes, promptTokens: number): StepExtras {
  const { interventions = [], tensors = {}, adapter } = inside;
  const dtypes = new Map(step.flatMap(({ inputs }) => inputs).map(({ name, dtype }) => [name, dtype]));
  const made = (values: Readonly<Record<string, Numbers>>): Record<string, Tensor> =>
    Object.fromEntries(
      Object.entries(values).map(([name, { shape, data }]) => [
        name,
        Tensor.of(dtypes.get(name) ?? "float32", shape, data as never),
      ]),
    );
  // what is done everywhere has the same numbers in every step of as many tokens
  const isSame = interventions.every(
    (spec) => spec.positions === undefined && !("value" in spec && typeof spec.value === "string"),
  );
  let last: { readonly key: string | undefined; readonly inputs: Record<string, Tensor> } | undefined;
  return {
    fixed: made(loraValues(ADAPTER, adapter?.changes ?? [])),
    inputs: (past, count, caches) => {
      const dims = dimsOf(count, caches);
      const key = isSame ? JSON.stringify(dims) : undefined;
      if (key !== undefined && last?.key === key) return last.inputs;
      for (const tensor of Object.values(last?.inputs ?? {})) tensor[Symbol.dispose]();
      const spans = [[-past, promptTokens - past]] as const;
      last = { key, inputs: made(interventionInputs(interventions, changed, { dims, spans, tensors, isOpen: true })) };
      return last.inputs;
    },
    outputs: (count, caches) => {
      const dims = dimsOf(count, caches);
      const sizes = (shape: readonly Dim[]) => shape.map((dim) => evaluateDim(dim, dims));
      return Object.fromEntries(
        [...captured].map(([name, shape]) => [CAPTURED + name, Tensor.of("float32", sizes(shape))]),
      );
    },
    [Symbol.dispose]: () => {
      for (const tensor of Object.values(last?.inputs ?? {})) tensor[Symbol.dispose]();
    },
    read: (outputs, count, caches) =>
      Object.fromEntries(
        [...captured].map(([name, shape]) => {
          const last = shape.at(-1) as Dim;
          const keys = caches[last];
          return [name, firstColumns(outputs[CAPTURED + name] as Tensor, keys && keys.held + count)];
        }),
      ),
  };
}

/** The symbols of a step of one row: its new tokens, and what its caches have room for. */
function dimsOf(count: number, caches: KvCache["sizes"]): Record<string, number> {
  const dims: Record<string, number> = { T: count };
  for (const [symbol, { capacity }] of Object.entries(caches)) dims[symbol] = capacity;
  return dims;
}

/** What a cache has room for beyond its tokens is cut off scores and patterns. */
function firstColumns({ shape, data }: Tensor, count: number | undefined): Numbers {
  const all = data as Float32Array;
  const width = shape.at(-1) as number;
  if (count === undefined || count === width) return { shape, data: all };
  const kept = new Float32Array((all.length / width) * count);
  for (let row = 0; row * width < all.length; row++)
    kept.set(all.subarray(row * width, row * width + count), row * count);
  return { shape: [...shape.slice(0, -1), count], data: kept };
}
