// Low-rank adapters (LoRA, Hu et al. 2021) as a graph rewrite: y = x Wᵀ becomes y + scale · (x Aᵀ) Bᵀ, with A and B as inputs.
// It does not know adapter files (peft.ts), losses or optimisers.
import { IroriError } from "../base/mod.ts";
import type { Numbers } from "../checkpoint/mod.ts";
import {
  add,
  applyAll,
  type Dim,
  type Graph,
  input,
  matmul,
  reshape,
  rewrite,
  type Value,
  weightsMultiplied,
} from "../tensor/mod.ts";

/** A low-rank change of one weight. */
export interface LowRank {
  /** Name of the weight in the checkpoint, "model.layers.0.self_attn.q_proj.weight". */
  readonly weight: string;
  /** R: inner dimension. */
  readonly rank: number;
  /** alpha / R, or alpha / √R (rsLoRA). */
  readonly scale: number;
}

/** A and B of one change: A [R, in], B [out, R], row-major. */
export interface LowRankValues extends LowRank {
  readonly a: Float32Array;
  readonly b: Float32Array;
}

/** Names of the inputs that hold a change's A [R, in] and B [out, R]. */
export const loraInputs = (adapter: string, weight: string) => {
  const module = weight.replace(/\.weight$/, "");
  return { a: `${adapter}.${module}.A`, b: `${adapter}.${module}.B` };
};

/** The values of an adapter's inputs, by their names. */
export function loraValues(adapter: string, changes: readonly LowRankValues[]): Record<string, Numbers> {
  const values: Record<string, Numbers> = {};
  for (const { weight, rank, a, b } of changes) {
    const names = loraInputs(adapter, weight);
    values[names.a] = { shape: [rank, a.length / rank], data: a };
    values[names.b] = { shape: [b.length / rank, rank], data: b };
  }
  return values;
}

/** Of each row of a batch its own changes: what all rows have together, and A [B, R, in] and B [B, out, R] with zeros where a row has none. */
export function loraByRow(adapter: string, rows: readonly (readonly LowRankValues[])[]) {
  const weights = new Map<string, readonly (LowRankValues | undefined)[]>();
  for (const { weight } of rows.flat())
    weights.set(
      weight,
      rows.map((own) => own.find((change) => change.weight === weight)),
    );
  const changes: LowRank[] = [];
  const values: Record<string, Numbers> = {};
  for (const [weight, own] of weights) {
    const some = own.find((change) => change !== undefined) as LowRankValues;
    const rank = Math.max(...own.map((change) => change?.rank ?? 0));
    const [width, out] = [some.a.length / some.rank, some.b.length / some.rank];
    const [a, b] = [new Float32Array(rows.length * rank * width), new Float32Array(rows.length * out * rank)];
    own.forEach((change, row) => {
      if (change === undefined) return;
      if (change.a.length !== change.rank * width || change.b.length !== change.rank * out)
        throw new IroriError("bad-input", {
          what: `row ${row}'s change of ${weight}`,
          got: `A [${change.rank}, ${change.a.length / change.rank}], B [${change.b.length / change.rank}, ${change.rank}]`,
          wanted: `A [R, ${width}], B [${out}, R], as in the other rows`,
        });
      a.set(change.a, row * rank * width);
      for (let o = 0; o < out; o++)
        for (let r = 0; r < change.rank; r++)
          b[(row * out + o) * rank + r] = (change.b[o * change.rank + r] as number) * change.scale;
    });
    const names = loraInputs(adapter, weight);
    changes.push({ weight, rank, scale: 1 });
    values[names.a] = { shape: [rows.length, rank, width], data: a };
    values[names.b] = { shape: [rows.length, out, rank], data: b };
  }
  return { changes, values };
}

/**
 * The Graph with low-rank changes of its linear layers. With `rows`, the batch's dimension, each row has its own: A [B, R, in],
 * B [B, out, R]; zeros leave a row as it is. Throws "bad-input" for a weight that no linear layer of the Graph reads.
 */
export function withLora(
  g: Graph,
  adapter: string,
  changes: readonly LowRank[],
  { rows }: { readonly rows?: Dim | undefined } = {},
): Graph {
  const byWeight = new Map(changes.map((change) => [change.weight, change]));
  const found = new Set<string>();
  const changed = (x: Value, y: Value, change: LowRank): Value => {
    found.add(change.weight);
    const { a, b } = loraInputs(adapter, change.weight);
    if (rows !== undefined && x.shape[0] !== rows)
      throw new IroriError("unsupported", {
        what: `an adapter of its own for each row changes ${change.weight}, which reads rows of all texts together`,
        next: "take one adapter for all rows, or one row at a time",
      });
    const lead = rows === undefined ? [] : [rows];
    const [width, out] = [x.shape.at(-1) as number, y.shape.at(-1) as number];
    const own = rows !== undefined && x.rank === 2 ? reshape(x, [rows, 1, width]) : x;
    const low = matmul(own, input(a, "float32", [...lead, change.rank, width]), { transB: true });
    const wide = input(b, "float32", [...lead, out, change.rank]);
    return add(y, reshape(matmul(low, wide, { transB: true, alpha: change.scale }), y.shape));
  };
  const result = rewrite(g, ({ node, inputs }) => {
    const names = weightsMultiplied(node);
    if (!names.some((name) => name !== undefined && byWeight.has(name))) return undefined;
    return applyAll(node.op, inputs, node.attrs).map((y, i) => {
      const change = byWeight.get(names[i] ?? "");
      return change === undefined ? y : changed(inputs[0] as Value, y, change);
    });
  });
  const missing = changes.filter(({ weight }) => !found.has(weight));
  if (missing.length > 0)
    throw new IroriError("bad-input", {
      what: `the adapter ${adapter} changes weights that this model's linear layers do not read`,
      got: missing
        .map(({ weight }) => weight)
        .slice(0, 3)
        .join(", "),
      next: "it was made for another model",
    });
  return result;
}
