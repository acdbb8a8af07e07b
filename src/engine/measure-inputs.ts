// How large the inputs of a model's linear layers become, channel by channel, on a text that ships with Irori.
// It does not know what is made of it.
import type { Config, Family, Weights } from "../models/mod.ts";
import { type Runtime, Tensor } from "../runtime/mod.ts";
import {
  fuse,
  type Graph,
  graph,
  largestOfColumns,
  nodesOf,
  onnxBytes,
  type Value,
  type WeightLocation,
  weightsMultiplied,
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

/** By the checkpoint name of a layer's (first) weight, the largest magnitude of each channel of its input over all tokens. */
export async function measureInputs(
  { family, config, weights, runtime, folder, locate, isPrepacked }: Measured,
  ids: readonly number[],
): Promise<ReadonlyMap<string, Float32Array>> {
  const measured = fuse(inputsOfLayers(textGraph(family, config, weights, { of: "mean", hasTypes: false })));
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
