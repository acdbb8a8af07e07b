// Linear layers in 8-bit integers: weights with one scale a channel, inputs in two 8-bit parts, 16 bits together.
// Integer sums do not depend on their order, so a row's result has the same bits in any batch. It does not know which layers are worth it.
import { isLayerNorm, isRmsNorm, unitRows } from "./functions.ts";
import { add, cast, concat, div, max, maxOver, mul, neg, round, sub, transpose } from "./ops.ts";
import { matmul } from "./products.ts";
import { apply, defineFunction, scalar, type Value } from "./value.ts";

const MS = "com.microsoft";
/** Steps from 0 to the largest of a part, and how much finer the second part's steps are. */
const STEPS = 127;
const FINER = 254;

const int8ProductOp = defineFunction(
  "int8Product",
  ([x, codes, scales, step, finer]) => {
    const coarse = mul(round(div(x as Value, step as Value)), step as Value);
    const fine = mul(round(div(sub(x as Value, coarse), finer as Value)), finer as Value);
    return [mul(matmul(add(coarse, fine), cast(codes as Value, "float32")), scales as Value)];
  },
  {
    rowwise: () => "first",
    emit: (e, [x, codes, scales, step, finer]) => {
      const zero = e.literal({ dtype: "uint8", shape: [] }, Uint8Array.of(128));
      const coarse = e.one("QuantizeLinear", [x, step, zero] as string[]);
      const rest = e.one("Sub", [x as string, e.one("DequantizeLinear", [coarse, step as string, zero])]);
      const fine = e.one("QuantizeLinear", [rest, finer as string, zero]);
      const product = (part: string, scale: string): string =>
        e.one("MatMulIntegerToFloat", [part, codes as string, scale, scales as string, zero], {}, MS);
      return [e.one("Add", [product(coarse, step as string), product(fine, finer as string)])];
    },
  },
);

/**
 * x · W with W = codes · scales: x float32 [..., K] of magnitude ≤ 127 · step (a scalar), codes int8 [K, N], scales float32 [N].
 * x is rounded to steps of step / 254: relative to the largest that it may be, 16 bits.
 */
const int8Product = (x: Value, codes: Value, scales: Value, step: Value, finer: Value): Value =>
  apply(int8ProductOp, [x, codes, scales, step, finer]);

const magnitude = (x: Value): Value => max(x, neg(x));
/** Of a channel that is all zero. */
const TINY = 1e-30;

/** W [N, K] as codes int8 [K, N] and scales [N]: each channel's largest weight is 127 steps. */
function channels(w: Value): { readonly codes: Value; readonly scales: Value } {
  const scales = div(max(maxOver(magnitude(w), [-1]), scalar(TINY)), scalar(STEPS));
  return { codes: cast(round(div(transpose(w, [1, 0]), scales)), "int8"), scales };
}

/** A step of normed rows: of unit root mean square their largest of K values is at most √K. */
function stepOf({ node, shape }: Value): Value | undefined {
  const [, weight, bias] = node.inputs;
  if (!(isRmsNorm(node) || isLayerNorm(node)) || weight === undefined) return undefined;
  const largest = (values: Value, by: number): Value => mul(maxOver(magnitude(values), [0]), scalar(by / STEPS));
  const step = largest(weight, Math.sqrt(shape.at(-1) as number));
  return bias === undefined ? step : add(step, largest(bias, 1));
}

/** x · Wᵀ of layers with weights [N, K] over one input, in one product: [..., sum of N]. */
export function int8Linear(x: Value, ws: readonly Value[]): Value {
  const parts = ws.map(channels);
  const codes = concat(
    parts.map((part) => part.codes),
    1,
  );
  const scales = concat(
    parts.map((part) => part.scales),
    0,
  );
  const step = stepOf(x);
  if (step !== undefined) return int8Product(x, codes, scales, step, mul(step, scalar(1 / FINER)));
  const [unit, inverse] = unitRows(x);
  const own = Math.sqrt(x.shape.at(-1) as number) / STEPS;
  return div(int8Product(unit, codes, scales, scalar(own), scalar(own / FINER)), inverse);
}
