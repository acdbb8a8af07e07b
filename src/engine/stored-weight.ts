// A stored tensor as a Value: its float32 array, or its blocks dequantised.
// It does not know where the arrays lie.
import { IroriError } from "../base/mod.ts";
import type { Weights } from "../models/mod.ts";
import { dequantize, transpose, type Value, weight } from "../tensor/mod.ts";
import type { Manifest, StoredTensor } from "./manifest.ts";

/** The float32 Value of a stored tensor: itself, or its blocks dequantised. Arrays are named `NAME`, `NAME#codes` … */
function storedWeight(name: string, stored: StoredTensor): Value {
  if ("values" in stored) return weight(name, "float32", stored.shape);
  const { bits, block } = stored.format;
  const lead = stored.shape.slice(0, -1);
  const blocks = (stored.shape.at(-1) as number) / block;
  const part = (of: string, dtype: "uint8" | "float32", last: number[]) =>
    weight(`${name}#${of}`, dtype, [...lead, ...last]);
  const mins = stored.mins && part("mins", "float32", [blocks]);
  return dequantize(
    part("codes", "uint8", [blocks, (block * bits) / 8]),
    part("scales", "float32", [blocks]),
    mins,
    stored.format,
  );
}

const turned = (value: Value, { isTransposed = false }: StoredTensor): Value =>
  isTransposed ? transpose(value, [1, 0]) : value;

/** Every weight of a prepared model by its checkpoint name, the same Value for the same name. */
export function storedWeights({ tensors }: Manifest): Weights {
  const leaves = new Map<string, Value>();
  return (name) => {
    const stored = tensors[name];
    if (stored === undefined)
      throw new IroriError("bad-file", {
        what: `the prepared model lacks ${name}`,
        next: "remove it and prepare it again",
      });
    const value = leaves.get(name) ?? turned(storedWeight(name, stored), stored);
    leaves.set(name, value);
    return value;
  };
}
