// A golden family: a tiny checkpoint with what transformers computes on it.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type Checkpoint, openCheckpoint } from "../src/checkpoint/mod.ts";
import { type Config, type Family, familyOf, maskOf, wholeSequence } from "../src/models/mod.ts";
import type { Value } from "../src/tensor/mod.ts";
import * as t from "../src/tensor/mod.ts";
import type { Array_, Values } from "./evaluate.ts";

export interface GoldenFamily {
  readonly family: Family;
  readonly config: Config;
  readonly json: Record<string, unknown>;
  /** float32 weight leaves by checkpoint name, the same Value for the same name. */
  readonly weight: (name: string) => Value;
  readonly weightValues: Values;
  readonly expected: (name: string) => Array_;
  readonly names: readonly string[];
}

const goldenPath = (name: string): string => fileURLToPath(new URL(`goldens/families/${name}`, import.meta.url));

export async function goldenFamily(name: string): Promise<GoldenFamily> {
  const folder = goldenPath(name);
  const json = JSON.parse(await readFile(`${folder}/config.json`, "utf8")) as Record<string, unknown>;
  const family = familyOf(json.model_type as string);
  const config = family.parseConfig(json);
  await using checkpoint = await openCheckpoint(`${folder}/model.safetensors`);
  await using golden = await openCheckpoint(`${folder}/expected.safetensors`);
  const leaves = new Map<string, Value>();
  const weightValues: Record<string, Array_> = {};
  for (const [weight, shape] of family.weights(config)) {
    leaves.set(weight, t.weight(weight, "float32", shape));
    weightValues[weight] = { shape, data: await checkpoint.readFloat32(weight) };
  }
  const all = new Map<string, Array_>();
  for (const tensor of golden.tensors.keys()) all.set(tensor, await readArray(golden, tensor));
  return {
    family,
    config,
    json,
    weight: (weight) => leaves.get(weight) as Value,
    weightValues,
    expected: (tensor) => all.get(tensor) as Array_,
    names: [...all.keys()],
  };
}

export async function readArray(checkpoint: Checkpoint, name: string): Promise<Array_> {
  const info = checkpoint.tensors.get(name);
  if (info === undefined) throw new Error(`no golden ${name}`);
  if (info.type !== "I64") return { shape: info.shape, data: await checkpoint.readFloat32(name) };
  const bytes = await checkpoint.read(name);
  return { shape: info.shape, data: new BigInt64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8) };
}

/** The family over whole sequences: inputs ids, positions, mask (int64 [B, T]). */
export function wholeForward({ family, config, weight }: GoldenFamily) {
  const port = (name: string): Value => t.input(name, "int64", ["B", "T"]);
  const mask = maskOf(port("mask"), family.isCausal);
  const hidden = family.trace(config, weight, wholeSequence(port("ids"), port("positions"), mask));
  return { hidden, logits: family.head?.logits(config, weight, hidden), pooled: family.pool?.(config, weight, hidden) };
}
