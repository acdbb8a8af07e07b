// Where NaN or infinity begins: the first weight that holds one, else the first HookPoint of a run whose value does.
// It does not know what brought it there.
import type { Numbers } from "../hooks/mod.ts";
import { fuse, graph, mul, scalar, sum, type Value } from "../tensor/mod.ts";
import { type TraceModel, type TraceRequest, trace, traceHookPoints } from "./trace.ts";

/** The first number that is not finite, in the order of computation, and its index in the array it stands in. */
export interface NotFinite {
  readonly kind: "weight" | "HookPoint";
  readonly name: string;
  readonly index: readonly number[];
  readonly value: number;
}

const isBlockOf = (name: string): number => Number(/^blocks\.(\d+)\./.exec(name)?.[1] ?? Number.NaN);

/** Undefined where every weight and every value is finite. */
export async function findNotFinite(model: TraceModel, request: TraceRequest): Promise<NotFinite | undefined> {
  return (await findInWeights(model)) ?? (await findInRun(model, request));
}

async function findInWeights(model: TraceModel): Promise<NotFinite | undefined> {
  const { family, config, weights } = model;
  const all = [...family.weights(config)];
  // 0 · x is 0 for what is finite alone: one number a weight
  const zeros = (value: Value): Value =>
    sum(
      mul(value, scalar(0)),
      value.shape.map((_, axis) => axis),
    );
  const outputs = Object.fromEntries(all.map(([name, shape]) => [`sum ${name}`, zeros(weights(name, shape))]));
  using held = await model.program(fuse(graph(outputs)));
  const results = await held.program.run({});
  const found = all.find(([name]) => !Number.isFinite(results[`sum ${name}`]?.data[0]));
  for (const tensor of Object.values(results)) tensor[Symbol.dispose]();
  if (found === undefined) return undefined;
  const [name, shape] = found;
  using one = await model.program(fuse(graph({ value: weights(name, shape) })));
  const { value } = await one.program.run({});
  const at = firstIn({ shape, data: value?.data as Float32Array });
  value?.[Symbol.dispose]();
  return at && { kind: "weight", name, ...at };
}

async function findInRun(model: TraceModel, request: TraceRequest): Promise<NotFinite | undefined> {
  const hooks = traceHookPoints(model, Object.keys(request.from ?? {}));
  const whole = { ...request, outputs: [], gradients: undefined, only: undefined };
  const look = async (capture: readonly string[]): Promise<NotFinite | undefined> => {
    if (capture.length === 0) return undefined;
    const captured = await trace(model, { ...whole, capture });
    for (const name of capture) {
      const at = firstIn(captured[name] as Numbers);
      if (at !== undefined) return { kind: "HookPoint", name, ...at };
    }
    return undefined;
  };
  // residuals say between which layers it begins, then all that stands there
  const rough = await look(hooks.filter((name) => Number.isNaN(isBlockOf(name)) || /hook_resid_post$/.test(name)));
  const last =
    rough === undefined || Number.isNaN(isBlockOf(rough.name)) ? model.config.layers - 1 : isBlockOf(rough.name);
  if (rough !== undefined && /^hook_(pos_)?embed$/.test(rough.name)) return rough;
  // what a softmax swallows leaves the residuals finite: layers before are looked at too
  for (let block = 0; block <= last; block++) {
    const found = await look(hooks.filter((name) => isBlockOf(name) === block));
    if (found !== undefined) return found;
  }
  return rough;
}

function firstIn({ shape, data }: Numbers): { readonly index: readonly number[]; readonly value: number } | undefined {
  const flat = (data as Float32Array).findIndex((value) => !Number.isFinite(value));
  if (flat < 0) return undefined;
  const index: number[] = [];
  let rest = flat;
  for (const size of shape.toReversed()) {
    index.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return { index, value: Number(data[flat]) };
}
