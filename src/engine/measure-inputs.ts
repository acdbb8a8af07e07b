// How large the inputs of a model's linear layers become, channel by channel, on a text that ships with Irori.
// It does not know what is made of it.
import type { Config, Family, Weights } from "../models/mod.ts";
import { type Runtime, Tensor } from "../runtime/mod.ts";
import {
  type Dim,
  fuse,
  type Graph,
  graph,
  hookPoints,
  largestOfColumns,
  nodesOf,
  onnxBytes,
  reshape,
  type Value,
  type WeightLocation,
  weightsMultiplied,
  withTaps,
} from "../tensor/mod.ts";
import { textGraph } from "./text-graph.ts";

/** In front of a weight's name: an output may not have it too. */
const LARGEST = "largest.";
/** Tokens of one run. */
const WINDOW = 512;

export interface Measured {
  readonly family: Family;
  readonly config: Config;
  readonly weights: Weights;
  readonly runtime: Runtime;
  readonly folder: string;
  readonly locate: (name: string) => WeightLocation | undefined;
  readonly isPrepacked: boolean;
}

/** Largest magnitudes by name. */
type Found = ReadonlyMap<string, Float32Array>;

/** By the checkpoint name of a layer's (first) weight, the largest magnitude of each channel of its input over all tokens. */
export const measureInputs = (model: Measured, ids: readonly number[]): Promise<Found> =>
  measure(model, inputsOfLayers(wholeOf(model)), ids);

/** `k.L` and `v.L` [G · K]: the largest magnitude of each channel of the keys (turned) and values of layer L over all tokens. */
export function measureKeys(model: Measured, ids: readonly number[]): Promise<Found> {
  const whole = wholeOf(model);
  const known = new Set(hookPoints(whole));
  const places = Array.from({ length: model.config.layers }, (_, l) => {
    const at = (name: string) => `blocks.${l}.attn.${name}`;
    const turned = at("hook_rot_k");
    return { [`k.${l}`]: known.has(turned) ? turned : at("hook_k"), [`v.${l}`]: at("hook_v") };
  });
  const named: Readonly<Record<string, string>> = Object.assign({}, ...places);
  const tapped = withTaps(whole, Object.values(named));
  const outputs: Record<string, Value> = {};
  for (const [name, hook] of Object.entries(named)) {
    const value = tapped.outputs[hook] as Value;
    const [batch, length, heads, width] = value.shape as [Dim, Dim, number, number];
    outputs[LARGEST + name] = largestOfColumns(reshape(value, [batch, length, heads * width]));
  }
  return measure(model, graph(outputs, whole.inputs), ids);
}

const wholeOf = ({ family, config, weights }: Measured): Graph =>
  textGraph(family, config, weights, { of: "mean", hasTypes: false });

async function measure(
  { config, runtime, folder, locate, isPrepacked }: Measured,
  outputs: Graph,
  ids: readonly number[],
): Promise<Found> {
  const measured = fuse(outputs);
  await using program = await runtime.compile(onnxBytes(measured, { locate }), {
    weightsFolder: folder,
    prepack: isPrepacked,
    optimization: "off",
    memoryPattern: false,
    name: "measuring inputs",
  });
  const largest = new Map<string, Float32Array>();
  const weightOf = (output: string): string => output.slice(LARGEST.length);
  const length = Math.min(WINDOW, config.maxPositions);
  for (let at = 0; at < ids.length; at += length) {
    const window = ids.slice(at, at + length);
    using owned = new DisposableStack();
    const row = (of: (i: number) => number) =>
      owned.use(
        Tensor.of(
          "int64",
          [1, window.length],
          BigInt64Array.from(window, (_, i) => BigInt(of(i))),
        ),
      );
    const inputs = { ids: row((i) => window[i] as number), positions: row((i) => i), mask: row(() => 1) };
    for (const [name, tensor] of Object.entries(await program.run(inputs))) {
      const data = owned.use(tensor).data as Float32Array;
      const known = largest.get(weightOf(name));
      largest.set(
        weightOf(name),
        known === undefined ? data.slice() : known.map((value, i) => Math.max(value, data[i] as number)),
      );
    }
  }
  return largest;
}

/** The Graph whose outputs are the largest magnitudes of the inputs of its linear layers. */
function inputsOfLayers(whole: Graph): Graph {
  const outputs: Record<string, Value> = {};
  for (const node of nodesOf(Object.values(whole.outputs))) {
    const [name] = weightsMultiplied(node);
    if (name !== undefined) outputs[LARGEST + name] = largestOfColumns(node.inputs[0] as Value);
  }
  return graph(outputs, whole.inputs);
}
