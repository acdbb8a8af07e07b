// How large the inputs of a model's linear layers become, channel by channel, on a text that ships with Irori.
// It does not know what is made of it.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Config, type Family, familyNamed, type Weights } from "../models/mod.ts";
import { type Runtime, Tensor } from "../runtime/mod.ts";
import {
  type Dim,
  fuse,
  type Graph,
  graph,
  hookPoints,
  type Largest,
  largestOfColumns,
  nodesOf,
  onnxBytes,
  reshape,
  type Value,
  type WeightLocation,
  weightsMultiplied,
  withTaps,
} from "../tensor/mod.ts";
import { Tokenizer } from "../text/mod.ts";
import { FILES, locateIn, type Manifest } from "./manifest.ts";
import { isPrepacked, type PackSite } from "./packed.ts";
import { SAMPLE_TEXT } from "./sample-text.ts";
import { storedWeights } from "./stored-weight.ts";
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
export const measureInputs = (model: Measured, ids: readonly number[]): Promise<Largest> =>
  measure(model, inputsOfLayers(wholeOf(model)), ids);

/** `k.L` and `v.L` [G · K]: the largest magnitude of each channel of the keys (turned) and values of layer L over all tokens. */
export function measureKeys(model: Measured, ids: readonly number[]): Promise<Largest> {
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
): Promise<Largest> {
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

/** Token ids of the text that things are measured on; undefined where the model has no tokenizer. */
export async function sampleIds(folder: string, manifest: Manifest): Promise<readonly number[] | undefined> {
  if (manifest.noTokenizer !== undefined) return undefined;
  const tokenizer = Tokenizer.open(await readFile(join(folder, FILES.tokenizer)));
  return tokenizer.encode(SAMPLE_TEXT);
}

export function measuredModel({ folder, runtime }: PackSite, manifest: Manifest): Measured {
  const { config } = manifest;
  const of = { family: familyNamed(manifest.family), config, weights: storedWeights(manifest) };
  return { ...of, folder, runtime, locate: locateIn(manifest), isPrepacked: isPrepacked(manifest, "own") };
}

/** Largest magnitudes by name, from how they are kept: float32 in base64. */
export const fromTexts = (texts: Readonly<Record<string, string>>): Largest =>
  new Map(
    Object.entries(texts).map(([name, text]) => [
      name,
      new Float32Array(new Uint8Array(Buffer.from(text, "base64")).buffer),
    ]),
  );
export const toTexts = (largest: Largest): Record<string, string> =>
  Object.fromEntries(
    [...largest].map(([name, { buffer, byteOffset, byteLength }]) => [
      name,
      Buffer.from(buffer, byteOffset, byteLength).toString("base64"),
    ]),
  );
