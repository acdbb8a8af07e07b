// The mean cross-entropy of a model's tokens as part of a Graph, in chunks: logits of a few hundred positions exist at a time.
// It does not know models: hidden states and the way from them to logits are handed in.
import type { Numbers } from "../hooks/mod.ts";
import {
  add,
  addDims,
  crossEntropy,
  type Dim,
  div,
  gather,
  input,
  mul,
  sizeScalar,
  type Value,
} from "../tensor/mod.ts";

/** Logits [..., V] of hidden states [..., D]. */
export type LogitsAt = (hidden: Value) => Value;

/** Positions of a chunk: enough for the products' best rate. */
const CHUNK = 256;
const MOST_CHUNKS = 8;

/** Into how many chunks the positions of a loss are cut. */
export const lossChunks = (positions: number): number =>
  Math.min(MOST_CHUNKS, Math.max(1, Math.round(positions / CHUNK)));

/**
 * Mean cross-entropy over positions of hidden states [B · T, D]: a scalar, in nats. Inputs: `rows.I` and `targets.I` int64 [NI]
 * for chunk I.
 */
export function tokenLoss(hidden: Value, logitsAt: LogitsAt, chunks: number): Value {
  const sizes = Array.from({ length: chunks }, (_, i): Dim => `N${i}`);
  const total = sizeScalar([sizes.reduce(addDims)]);
  const parts = sizes.map((size, i) => {
    const at = (name: string): Value => input(`${name}.${i}`, "int64", [size]);
    const loss = crossEntropy(logitsAt(gather(hidden, at("rows"))), at("targets"));
    return chunks === 1 ? loss : mul(loss, div(sizeScalar([size]), total));
  });
  return parts.reduce(add);
}

/** The values of its inputs: positions (of B · T) and the ids they should predict. */
export function tokenLossInputs(positions: readonly number[], ids: readonly number[]): Record<string, Numbers> {
  const chunks = lossChunks(positions.length);
  const values: Record<string, Numbers> = {};
  for (let i = 0; i < chunks; i++) {
    const cut = (list: readonly number[]): Numbers => {
      const part = list.slice(Math.floor((i * list.length) / chunks), Math.floor(((i + 1) * list.length) / chunks));
      return { shape: [part.length], data: BigInt64Array.from(part, BigInt) };
    };
    values[`rows.${i}`] = cut(positions);
    values[`targets.${i}`] = cut(ids);
  }
  return values;
}
