// Linear layers in 8-bit integers: weights with one scale a channel, inputs in 8 bits a row or in two 8-bit parts (16 bits together).
// Integer sums do not depend on their order, so a row's result has the same bits in any batch. It does not know which layers are which.
import { isLayerNorm, isRmsNorm, rmsNormWith, unitRows } from "./functions.ts";
import { add, cast, concat, div, exp, log, max, maxOver, mean, mul, neg, round, sub, transpose } from "./ops.ts";
import { flattenRows, matmul } from "./products.ts";
import { apply, constant, defineFunction, type Emitter, scalar, type Value } from "./value.ts";

const MS = "com.microsoft";
/** Steps from 0 to the largest of a part, and how much finer the second part's steps are. */
const STEPS = 127;
const FINER = 254;
/** Of a channel or a row that is all zero. */
const TINY = 1e-30;

const zeroPoint = (e: Emitter): string => e.literal({ dtype: "uint8", shape: [] }, Uint8Array.of(128));
const product = (e: Emitter, part: string, codes: string, scale: string, scales: string): string =>
  e.one("MatMulIntegerToFloat", [part, codes, scale, scales, zeroPoint(e)], {}, MS);

const int8RowsOp = defineFunction(
  "int8Rows",
  ([x, codes, scales]) => {
    const step = mul(max(maxOver(magnitude(x as Value), [-1], true), scalar(TINY)), scalar(1 / STEPS));
    const parts = round(div(x as Value, step));
    return [mul(mul(matmul(parts, cast(codes as Value, "float32")), scales as Value), step)];
  },
  {
    rowwise: () => "first",
    emit: (e, [x, codes, scales]) => {
      const largest = e.one("ReduceMax", [e.one("Abs", [x as string]), e.ints(-1)], { keepdims: 1 });
      const step = e.one("Mul", [e.one("Max", [largest, e.float(TINY)]), e.float(1 / STEPS)]);
      const parts = e.one("QuantizeLinear", [e.one("Div", [x as string, step]), e.float(1), zeroPoint(e)]);
      return [e.one("Mul", [product(e, parts, codes as string, e.float(1), scales as string), step])];
    },
  },
);

const int8FineOp = defineFunction(
  "int8Fine",
  ([x, codes, scales, step, finer]) => {
    const coarse = mul(round(div(x as Value, step as Value)), step as Value);
    const fine = mul(round(div(sub(x as Value, coarse), finer as Value)), finer as Value);
    return [mul(matmul(add(coarse, fine), cast(codes as Value, "float32")), scales as Value)];
  },
  {
    rowwise: () => "first",
    emit: (e, [x, codes, scales, step, finer]) => {
      const zero = zeroPoint(e);
      const coarse = e.one("QuantizeLinear", [x, step, zero] as string[]);
      const rest = e.one("Sub", [x as string, e.one("DequantizeLinear", [coarse, step as string, zero])]);
      const fine = e.one("QuantizeLinear", [rest, finer as string, zero]);
      const of = (part: string, scale: string): string => product(e, part, codes as string, scale, scales as string);
      return [e.one("Add", [of(coarse, step as string), of(fine, finer as string)])];
    },
  },
);

const magnitude = (x: Value): Value => max(x, neg(x));

/** The largest magnitude of each column over all rows: x [..., K] → [K]. */
export const largestOfColumns = (x: Value): Value => maxOver(magnitude(flattenRows(x)), [0]);

/** W [N, K] as codes int8 [K, N] and scales float32 [N]: each channel's largest weight is 127 steps. */
function channels(w: Value): { readonly codes: Value; readonly scales: Value } {
  const scales = div(max(maxOver(magnitude(w), [-1]), scalar(TINY)), scalar(STEPS));
  return { codes: cast(round(div(transpose(w, [1, 0]), scales)), "int8"), scales };
}

/** How much of an input's unevenness its weights take over: a little more than half did best on language and sentence models. */
const SHARE = 0.55;

/**
 * What each channel of an input is divided by, and its weights multiplied with, so that both are easier to round (SmoothQuant, Xiao
 * et al. 2023): largest^SHARE / the weights' largest^(1 − SHARE), with a geometric mean of 1.
 */
function smoothing(largest: Float32Array, ws: readonly Value[]): Value {
  const weights = ws.map((w) => maxOver(magnitude(w), [0])).reduce((a, b) => max(a, b));
  const floor = scalar(1e-5);
  const uneven = mul(log(max(constant(largest), floor)), scalar(SHARE));
  const even = mul(log(max(weights, floor)), scalar(1 - SHARE));
  const logs = sub(uneven, even);
  return exp(sub(logs, mean(logs, [0], true)));
}

/** x with its channels multiplied; a norm's own weight takes that over. */
const scaled = (x: Value, by: Value): Value => (isRmsNorm(x.node) ? rmsNormWith(x, by) : mul(x, by));

/** A step of normed rows: of unit root mean square their largest of K values is at most √K. */
function stepOf({ node, shape }: Value): Value | undefined {
  const [, weight, bias] = node.inputs;
  if (!(isRmsNorm(node) || isLayerNorm(node)) || weight === undefined) return undefined;
  const largest = (values: Value, by: number): Value => mul(maxOver(magnitude(values), [0]), scalar(by / STEPS));
  const step = largest(weight, Math.sqrt(shape.at(-1) as number));
  return bias === undefined ? step : add(step, largest(bias, 1));
}

export interface Int8Options {
  /** The largest magnitude of each of the input's K channels, as it was measured: with it the input is smoothed. */
  readonly largest?: Float32Array | undefined;
  /** 8 bits for a row of the input rather than 16. */
  readonly isCoarse?: boolean;
}

/** x · Wᵀ of layers with weights [N, K] over one input, in one product: [..., sum of N]. */
export function int8Linear(x: Value, ws: readonly Value[], { largest, isCoarse = false }: Int8Options = {}): Value {
  const by = largest && smoothing(largest, ws);
  const input = by === undefined ? x : scaled(x, div(scalar(1), by));
  const parts = ws.map((w) => channels(by === undefined ? w : mul(w, by)));
  const codes = concat(
    parts.map((part) => part.codes),
    1,
  );
  const scales = concat(
    parts.map((part) => part.scales),
    0,
  );
  if (isCoarse) return apply(int8RowsOp, [input, codes, scales]);
  const fine = (of: Value, step: Value): Value =>
    apply(int8FineOp, [of, codes, scales, step, mul(step, scalar(1 / FINER))]);
  const step = stepOf(input);
  if (step !== undefined) return fine(input, step);
  const [unit, inverse] = unitRows(input);
  return div(fine(unit, scalar(Math.sqrt(x.shape.at(-1) as number) / STEPS)), inverse);
}
