// Functions of deep learning, written in primitives: HookPoints, norms, activations, softmax, rotary embedding.
// A function with `emit` has a kernel that equals its body; the tests run both.
import type { Dim } from "./dim.ts";
import {
  add,
  arange,
  cast,
  concat,
  div,
  erf,
  exp,
  log,
  maxOver,
  mean,
  mul,
  reciprocal,
  reshape,
  sigmoid,
  split,
  sqrt,
  sub,
  sum,
  tanh,
} from "./ops.ts";
import { flattenRows, gather } from "./products.ts";
import { apply, applyAll, defineFunction, defineOp, type Op, scalar, type Value } from "./value.ts";

const float = (value: number) => ({ float: value });
const MS = "com.microsoft";

// ---- HookPoints

const tapOp = defineOp({
  name: "tap",
  infer: ([x]) => [x as NonNullable<typeof x>],
  emit: (_, inputs) => inputs,
  vjp: (cts) => cts,
  rowwise: () => "all",
});
/** A HookPoint: a named identity that vanishes unless somebody asks for it. */
export const tap = (x: Value, name: string): Value => apply(tapOp, [x], { name });
/** Where a Graph is cut into stages: a tap that is no HookPoint. */
export const cut = (x: Value, name: string): Value => apply(tapOp, [x], { name, isCut: true });
export const isTap = (node: { readonly op: Op }): boolean => node.op === tapOp;

const afterOp = defineOp({
  name: "after",
  infer: ([x]) => [x as NonNullable<typeof x>],
  // a choice that always falls on x, between x and one number of the other
  emit: (e, [x, other]) => {
    const flat = e.one("Reshape", [other as string, e.ints(-1)]);
    const one = e.one("Slice", [flat, e.ints(0), e.ints(1), e.ints(0)]);
    return [e.one("Where", [e.literal({ dtype: "bool", shape: [1] }, Uint8Array.of(0)), one, x as string])];
  },
  vjp: ([ct]) => [ct],
});
/** x, computed once `other` (float32) is there: what makes a value come late. */
export const after = (x: Value, other: Value): Value => apply(afterOp, [x, other]);

// ---- softmax and norms

const softmaxOp = defineFunction(
  "softmax",
  ([x]) => {
    const e = exp(sub(x as Value, maxOver(x as Value, [-1], true)));
    return [div(e, sum(e, [-1], true))];
  },
  {
    rowwise: () => "first",
    emit: (e, inputs) => [e.one("Softmax", inputs, { axis: -1 })],
    // dx = y (dy − Σ dy·y)
    vjp: ([ct], { inputs: [x] }) => {
      if (ct === undefined || x === undefined) return [];
      const y = softmax(x);
      return [mul(y, sub(ct, sum(mul(ct, y), [-1], true)))];
    },
  },
);
/** exp(x) / Σ exp(x) over the last axis. */
export const softmax = (x: Value): Value => apply(softmaxOp, [x]);

const logSumExpOp = defineFunction(
  "logSumExp",
  ([x]) => {
    const top = maxOver(x as Value, [-1], true);
    return [add(log(sum(exp(sub(x as Value, top)), [-1])), reshape(top, (x as Value).shape.slice(0, -1)))];
  },
  { vjp: ([ct], { inputs: [x] }) => (ct && x ? [mul(reshape(ct, [...ct.shape, 1]), softmax(x))] : []) },
);
/** log Σ exp(x) over the last axis, stable. */
export const logSumExp = (x: Value): Value => apply(logSumExpOp, [x]);

const NORM_HOOKS = ["hook_scale", "hook_normalized"] as const;

const rmsNormOp = defineFunction(
  "rmsNorm",
  ([x, w], { epsilon, hook }) => {
    const named = (value: Value, name: string) => (hook === undefined ? value : tap(value, `${hook}.${name}`));
    const scale = named(
      sqrt(add(mean(mul(x as Value, x as Value), [-1], true), scalar(epsilon as number))),
      "hook_scale",
    );
    return [mul(named(div(x as Value, scale), "hook_normalized"), w as Value)];
  },
  {
    hooks: NORM_HOOKS,
    rowwise: () => "first",
    emit: (e, inputs, { attrs }) => [
      e.one("SimplifiedLayerNormalization", inputs, {
        axis: -1,
        epsilon: float(attrs.epsilon as number),
        stash_type: 1,
      }),
    ],
    // n = x / rms; dx = (h − n · mean(h·n)) / rms with h = dy·w
    vjp: ([ct], { inputs: [x, w], attrs }) => {
      if (ct === undefined || x === undefined || w === undefined) return [];
      const inverse = reciprocal(sqrt(add(mean(mul(x, x), [-1], true), scalar(attrs.epsilon as number))));
      const n = mul(x, inverse);
      const h = mul(ct, w);
      const dw = sum(flattenRows(mul(ct, n)), [0]);
      return [mul(sub(h, mul(n, mean(mul(h, n), [-1], true))), inverse), dw];
    },
  },
);
/** x / √(mean x² + ε) · w over the last axis (Zhang & Sennrich 2019); HookPoints hook_scale and hook_normalized under `hook`. */
export const rmsNorm = (x: Value, w: Value, epsilon: number, hook?: string): Value =>
  apply(rmsNormOp, [x, w], { epsilon, hook });

const skipRmsNormOp = defineFunction(
  "skipRmsNorm",
  ([a, b, w], { epsilon }) => {
    const x = add(a as Value, b as Value);
    return [rmsNorm(x, w as Value, epsilon as number), x];
  },
  {
    emit: (e, inputs, { attrs }) => {
      const [y, , , x] = e.node(
        "SkipSimplifiedLayerNormalization",
        inputs,
        { epsilon: float(attrs.epsilon as number) },
        [true, false, false, true],
        MS,
      );
      return [y as string, x as string];
    },
  },
);
/** [rmsNorm(a + b), a + b] in one kernel. */
export const skipRmsNorm = (a: Value, b: Value, w: Value, epsilon: number): readonly [Value, Value] =>
  applyAll(skipRmsNormOp, [a, b, w], { epsilon }) as unknown as readonly [Value, Value];
/** An rmsNorm's result with its channels multiplied: the norm with another weight. */
export const rmsNormWith = ({ node: { inputs, attrs } }: Value, by: Value): Value =>
  apply(rmsNormOp, [inputs[0] as Value, mul(inputs[1] as Value, by)], attrs);

const unitRowsOp = defineFunction(
  "unitRows",
  ([x]) => {
    const inverse = reciprocal(sqrt(add(mean(mul(x as Value, x as Value), [-1], true), scalar(UNIT_EPSILON))));
    return [mul(x as Value, inverse), inverse];
  },
  {
    rowwise: () => "all",
    emit: (e, [x], node) => {
      const width = (node.inputs[0] as Value).shape.at(-1) as number;
      const ones = e.literal(
        { dtype: "float32", shape: [width] },
        new Uint8Array(new Float32Array(width).fill(1).buffer),
      );
      const attrs = { axis: -1, epsilon: float(UNIT_EPSILON), stash_type: 1 };
      return e.node("SimplifiedLayerNormalization", [x as string, ones], attrs, 2);
    },
  },
);
/** Small enough for any row but one of zeros, which stays one. */
const UNIT_EPSILON = 1e-20;
/** [x / rms(x), 1 / rms(x)] over the last axis: rows of unit root mean square, and what they were divided by, [..., 1]. */
export const unitRows = (x: Value): readonly [Value, Value] =>
  applyAll(unitRowsOp, [x]) as unknown as readonly [Value, Value];

export const isRmsNorm = (node: { readonly op: Op }): boolean => node.op === rmsNormOp;

const layerNormOp = defineFunction(
  "layerNorm",
  ([x, w, b], { epsilon, hook }) => {
    const named = (value: Value, name: string) => (hook === undefined ? value : tap(value, `${hook}.${name}`));
    const centred = sub(x as Value, mean(x as Value, [-1], true));
    const scale = named(sqrt(add(mean(mul(centred, centred), [-1], true), scalar(epsilon as number))), "hook_scale");
    // unlike rmsNorm's, TransformerLens' normalised value has the weight and the bias in it
    return [named(add(mul(div(centred, scale), w as Value), b as Value), "hook_normalized")];
  },
  {
    hooks: NORM_HOOKS,
    rowwise: () => "first",
    emit: (e, inputs, { attrs }) => [
      e.one("LayerNormalization", inputs, { axis: -1, epsilon: float(attrs.epsilon as number) }),
    ],
    // n = (x − μ) / σ; dx = (h − mean(h) − n · mean(h·n)) / σ with h = dy·w
    vjp: ([ct], { inputs: [x, w], attrs }) => {
      if (ct === undefined || x === undefined || w === undefined) return [];
      const centred = sub(x, mean(x, [-1], true));
      const inverse = reciprocal(sqrt(add(mean(mul(centred, centred), [-1], true), scalar(attrs.epsilon as number))));
      const n = mul(centred, inverse);
      const h = mul(ct, w);
      const dx = mul(sub(sub(h, mean(h, [-1], true)), mul(n, mean(mul(h, n), [-1], true))), inverse);
      return [dx, sum(flattenRows(mul(ct, n)), [0]), sum(flattenRows(ct), [0])];
    },
  },
);
export const isLayerNorm = (node: { readonly op: Op }): boolean => node.op === layerNormOp;
/** (x − mean) / √(variance + ε) · w + b over the last axis (Ba et al. 2016); HookPoints as rmsNorm's. */
export const layerNorm = (x: Value, w: Value, b: Value, epsilon: number, hook?: string): Value =>
  apply(layerNormOp, [x, w, b], { epsilon, hook });

// ---- activations

const siluOp = defineFunction("silu", ([x]) => [mul(x as Value, sigmoid(x as Value))], {
  rowwise: () => "first",
  emit: (e, inputs) => [e.one("QuickGelu", inputs, { alpha: float(1) }, MS)],
  // dx = s + y (1 − s)
  vjp: ([ct], { inputs: [x] }) => {
    if (ct === undefined || x === undefined) return [];
    const s = sigmoid(x);
    return [mul(ct, add(s, mul(mul(x, s), sub(scalar(1), s))))];
  },
});
/** x · sigmoid(x). */
export const silu = (x: Value): Value => apply(siluOp, [x]);

const geluOp = defineFunction(
  "gelu",
  ([x]) => [mul(mul(x as Value, scalar(0.5)), add(scalar(1), erf(mul(x as Value, scalar(Math.SQRT1_2)))))],
  {
    rowwise: () => "first",
    emit: (e, inputs) => [e.one("Gelu", inputs)],
    // dx = Φ(x) + x φ(x)
    vjp: ([ct], { inputs: [x] }) => {
      if (ct === undefined || x === undefined) return [];
      const area = mul(scalar(0.5), add(scalar(1), erf(mul(x, scalar(Math.SQRT1_2)))));
      const density = mul(exp(mul(mul(x, x), scalar(-0.5))), scalar(1 / Math.sqrt(2 * Math.PI)));
      return [mul(ct, add(area, mul(x, density)))];
    },
  },
);
/** x · Φ(x), Φ the normal distribution's (Hendrycks & Gimpel 2016). */
export const gelu = (x: Value): Value => apply(geluOp, [x]);

/** 2 √(2/π), and that times the factor of x³, in the tanh form of GELU: u = x (A + B x²). */
const [GELU_A, GELU_B] = [2 * Math.sqrt(2 / Math.PI), 2 * Math.sqrt(2 / Math.PI) * 0.044715];
/** [A + B x², sigmoid(u)]; the sigmoid is (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2. */
function geluGate(x: Value): readonly [Value, Value] {
  const factor = add(mul(mul(x, x), scalar(GELU_B)), scalar(GELU_A));
  return [factor, sigmoid(mul(x, factor))];
}
const geluTanhOp = defineFunction("geluTanh", ([x]) => [mul(x as Value, geluGate(x as Value)[1])], {
  rowwise: () => "first",
  emit: (e, inputs) => [e.one("Gelu", inputs, { approximate: "tanh" })],
  // y = x s: dx = s + y (1 − s) u', with u' = A + 3 B x² = 3 (A + B x²) − 2 A
  vjp: ([ct], { inputs: [x] }) => {
    if (ct === undefined || x === undefined) return [];
    const [factor, s] = geluGate(x);
    const slope = sub(mul(factor, scalar(3)), scalar(2 * GELU_A));
    return [mul(ct, add(s, mul(mul(geluTanh(x), sub(scalar(1), s)), slope)))];
  },
});
/** GELU with tanh for the normal distribution ("gelu_new", "gelu_pytorch_tanh"). */
export const geluTanh = (x: Value): Value => apply(geluTanhOp, [x]);

/** c · tanh(x / c): values bounded by ±c. */
export const softCap = (x: Value, cap: number): Value => mul(tanh(mul(x, scalar(1 / cap))), scalar(cap));

// ---- rotary position embedding (Su et al. 2021), half-split as Hugging Face stores it

const rotaryOp = defineFunction("rotary", ([x, cosTable, sinTable, positions]) => {
  const { shape } = x as Value;
  const half = (cosTable as Value).shape[1] as number;
  const rest = (shape.at(-1) as number) - 2 * half;
  const [a, b, ...tail] = split(x as Value, -1, rest > 0 ? [half, half, rest] : [half, half]) as [Value, Value];
  // [..., T, half] → [..., T, 1, half]: the same angle for every head
  const angle = (table: Value): Value => {
    const rows = gather(table, positions as Value);
    return reshape(rows, [...rows.shape.slice(0, -1), 1, half]);
  };
  const [c, s] = [angle(cosTable as Value), angle(sinTable as Value)];
  return [concat([sub(mul(a, c), mul(b, s)), add(mul(b, c), mul(a, s)), ...tail], -1)];
});
/** Rotates x [..., T, H, K] by the rows `positions` [..., T] of cos and sin tables [P, R/2]; the first R of K channels. */
export const rotary = (x: Value, cosTable: Value, sinTable: Value, positions: Value): Value =>
  apply(rotaryOp, [x, cosTable, sinTable, positions]);
export const isRotary = (node: { readonly op: Op }): boolean => node.op === rotaryOp;

const positionsFromOp = defineFunction("positionsFrom", ([past], attrs) => [
  add(cast(past as Value, "int64"), arange((attrs.size as readonly Dim[])[0] as Dim)),
]);
/** past, past+1, … : the positions of `size` tokens after `past` [1] (int32), as int64. */
export const positionsFrom = (past: Value, size: Dim): Value => apply(positionsFromOp, [past], { size: [size] });
export const isPositionsFrom = (node: { readonly op: Op }): boolean => node.op === positionsFromOp;
