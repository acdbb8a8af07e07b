// Functions of deep learning, written in primitives: norms, activations, softmax, linear layers, rotary embedding, losses.
// A function with `emit` has a kernel that equals its body; the tests run both.
import type { Dim } from "./dim.ts";
import type { Rule } from "./graph.ts";
import {
  add,
  arange,
  bitAnd,
  cast,
  concat,
  div,
  equal,
  erf,
  exp,
  expandTo,
  log,
  maxOver,
  mean,
  mul,
  neg,
  reciprocal,
  reshape,
  shiftRight,
  sigmoid,
  sizeScalar,
  split,
  sqrt,
  sub,
  sum,
  tanh,
  transpose,
} from "./ops.ts";
import { flattenRows, gather, isMatmul, matmul, pick, scatterAdd } from "./products.ts";
import {
  apply,
  applyAll,
  constant,
  defineFunction,
  defineOp,
  type Node,
  type Op,
  scalar,
  type Value,
  weightOp,
} from "./value.ts";

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

// ---- linear layers over weights [N, K], as checkpoints store them

const linearOp = defineFunction("linear", ([x, w]) => [matmul(x as Value, w as Value, { transB: true })], {
  rowwise: () => "first",
  vjp: ([ct], { inputs: [x, w] }) =>
    ct && x && w ? [matmul(ct, w), matmul(flattenRows(ct), flattenRows(x), { transA: true })] : [],
});
/** x [..., K] · Wᵀ with W [N, K] → [..., N]. */
export const linear = (x: Value, w: Value): Value => apply(linearOp, [x, w]);
export const isLinear = (node: { readonly op: Op }): boolean => node.op === linearOp;

interface MixAttrs {
  readonly heads: number;
  readonly hook: string;
  /** The weight is stored [in, out] (GPT-2). */
  readonly isInOut: boolean;
}
const mixHeadsOp = defineFunction(
  "mixHeads",
  ([z, w], { isInOut }) => [isInOut ? matmul(z as Value, w as Value) : linear(z as Value, w as Value)],
  {
    hooks: ["hook_result"],
    rowwise: () => "first",
    // each head's share [..., H, D], then their sum
    opened: ([z, w], attrs) => {
      const { heads, hook, isInOut } = attrs as unknown as MixAttrs;
      const { shape } = z as Value;
      const channels = (shape.at(-1) as number) / heads;
      const out = (w as Value).shape[isInOut ? 1 : 0] as Dim;
      const byHead = isInOut
        ? reshape(w as Value, [heads, channels, out])
        : transpose(reshape(w as Value, [out, heads, channels]), [1, 2, 0]);
      const rows = reshape(z as Value, [...shape.slice(0, -1), heads, 1, channels]);
      const result = tap(reshape(matmul(rows, byHead), [...shape.slice(0, -1), heads, out]), `${hook}.hook_result`);
      return [sum(result, [result.rank - 2])];
    },
  },
);
/** What the heads z [..., H·K] write: z · Wᵀ, with each head's share at the HookPoint hook_result under `hook`. */
export const mixHeads = (
  z: Value,
  w: Value,
  { heads, hook, isInOut = false }: Omit<MixAttrs, "isInOut"> & Partial<MixAttrs>,
): Value => apply(mixHeadsOp, [z, w], { heads, hook, isInOut });
export const isMixHeads = (node: { readonly op: Op }): boolean => node.op === mixHeadsOp;

const linearsOp = defineFunction("linears", ([x, ...ws]) => ws.map((w) => linear(x as Value, w)), {
  rowwise: () => "first",
});
/** Several linear layers that read the same input: one product where their weights allow it. */
export const linears = (x: Value, ws: readonly Value[]): readonly Value[] => applyAll(linearsOp, [x, ...ws]);
export const isLinears = (node: { readonly op: Op }): boolean => node.op === linearsOp;

/** How block-quantised weights are coded: value = scale · (code − zero) [+ min] for each block of consecutive columns. */
export interface BlockFormat {
  readonly bits: 4 | 8;
  readonly block: number;
  readonly zero: number;
}

/** A format whose zero is the kernel's own. */
export type CentredFormat = Omit<BlockFormat, "zero">;

const dequantizeOp = defineFunction("dequantize", ([codes, scales, mins], attrs) => {
  const { bits, block, zero } = attrs as unknown as BlockFormat;
  const lead = (scales as Value).shape;
  const packed = codes as Value;
  const low = bits === 8 ? packed : bitAnd(packed, constant(Uint8Array.of(15), []));
  const pair = (value: Value): Value => reshape(value, [...value.shape, 1]);
  const all = bits === 8 ? low : concat([pair(low), pair(shiftRight(packed, constant(Uint8Array.of(4), [])))], -1);
  const numbers = cast(reshape(all, [...lead, block]), "float32");
  const centred = zero === 0 ? numbers : sub(numbers, scalar(zero));
  const scaled = mul(centred, reshape(scales as Value, [...lead, 1]));
  const values = mins === undefined ? scaled : add(scaled, reshape(mins, [...lead, 1]));
  return [reshape(values, [...lead.slice(0, -1), mulBlock(lead.at(-1) as Dim, block)])];
});
const mulBlock = (blocks: Dim, block: number): Dim => {
  if (typeof blocks !== "number") throw new Error(`wanted a number of blocks, got ${blocks}`);
  return blocks * block;
};
/**
 * Block-quantised weights as float32 [..., K]: codes uint8 [..., K/block, block·bits/8] (4 bit: low nibble first),
 * scales and mins float32 [..., K/block].
 */
export const dequantize = (codes: Value, scales: Value, mins: Value | undefined, format: BlockFormat): Value =>
  apply(dequantizeOp, mins === undefined ? [codes, scales] : [codes, scales, mins], { ...format });
export const isDequantize = (node: { readonly op: Op }): boolean => node.op === dequantizeOp;

/** The kernel's own zero point. */
export const centreOf = (bits: 4 | 8): number => (bits === 4 ? 8 : 128);

const blockProductOp = defineFunction(
  "blockProduct",
  ([x, codes, scales], { bits, block }) => [
    linear(
      x as Value,
      dequantize(codes as Value, scales as Value, undefined, {
        bits: bits as 4 | 8,
        block: block as number,
        zero: centreOf(bits as 4 | 8),
      }),
    ),
  ],
  {
    emit: (e, inputs, node) => {
      const [n, blocks] = (node.inputs[2] as Value).shape as [number, number];
      const { bits, block } = node.attrs as { bits: number; block: number };
      return [
        e.one("MatMulNBits", inputs, { K: blocks * block, N: n, bits, block_size: block, accuracy_level: 4 }, MS),
      ];
    },
  },
);
/**
 * x · Wᵀ with W block-quantised around the kernel's zero point. The kernel rounds each block of x to 8 bits
 * (relative error of a product ≤ 1/254 of the block's largest |x|·Σ|w|).
 */
export const blockProduct = (x: Value, codes: Value, scales: Value, { bits, block }: CentredFormat): Value =>
  apply(blockProductOp, [x, codes, scales], { bits, block });
export const isBlockProduct = (node: { readonly op: Op }): boolean => node.op === blockProductOp;

const offsetProductOp = defineFunction(
  "offsetProduct",
  ([x, codes, scales, offsets], attrs) => {
    const format = attrs as unknown as CentredFormat;
    const product = blockProduct(x as Value, codes as Value, scales as Value, format);
    return [addProduct(product, blockSums(x as Value, format.block), offsets as Value)];
  },
  { emit: (e, [x, codes, scales], node) => blockProductOp.emit?.(e, [x, codes, scales] as string[], node) ?? [] },
);
/** x · Wᵀ with W block-quantised around the kernel's zero point plus `offsets`, which the packed form of `codes` must carry. */
export const offsetProduct = (parts: readonly Value[], offsets: Value, { bits, block }: CentredFormat): Value =>
  apply(offsetProductOp, [...parts, offsets], { bits, block });

const addProductOp = defineFunction(
  "addProduct",
  ([c, a, b]) => [add(c as Value, matmul(a as Value, b as Value, { transB: true }))],
  {
    emit: (e, [c, a, b], node) => [
      (node.inputs[1] as Value).rank === 2
        ? e.one("Gemm", [a, b, c] as string[], { transB: 1 })
        : e.one("Add", [c as string, e.one("FusedMatMul", [a, b] as string[], { transB: 1, alpha: float(1) }, MS)]),
    ],
  },
);
/** c + a · bᵀ. */
export const addProduct = (c: Value, a: Value, b: Value): Value => apply(addProductOp, [c, a, b]);
export const isAddProduct = (node: { readonly op: Op }): boolean => node.op === addProductOp;

/**
 * Sums of consecutive blocks of the last axis: [..., K] → [..., K/block]. A product with a matrix of zeros and ones, which is
 * folded into the weights: one node, the same bits for one row and for many, and quick to open (a Reshape is not).
 */
export const blockSums = (x: Value, block: number): Value => {
  const size = x.shape.at(-1) as number;
  const blocks = size / block;
  const same = equal(reshape(arange(blocks), [blocks, 1, 1]), reshape(arange(blocks), [1, 1, blocks]));
  return matmul(x, reshape(expandTo(cast(same, "float32"), [blocks, block, blocks]), [size, blocks]));
};

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

// ---- losses

const crossEntropyOp = defineFunction("crossEntropy", ([logits, targets]) => [
  mean(sub(logSumExp(logits as Value), pick(logits as Value, targets as Value)), [0]),
]);
/** Mean cross entropy of logits [N, V] at `targets` int64 [N], in nats. */
export const crossEntropy = (logits: Value, targets: Value): Value => apply(crossEntropyOp, [logits, targets]);

/** Before a loss is differentiated: logits that a linear layer makes for it alone need no gradient of their own. */
export const lossOfLinear: Rule = ({ node, inputs: [logits, targets] }) => {
  const [h, w] = node.op === crossEntropyOp && logits?.node.op === linearOp ? logits.node.inputs : [];
  return h && w && targets && h.rank === 2 ? [linearCrossEntropy(h, w, targets)] : undefined;
};

/**
 * Cross entropy of each row: log Σ exp(x) − x[target], where log Σ exp(x) = max x − log max softmax(x): all that is read of the
 * logits is what the gradient needs too, and three numbers a row.
 */
function rowLosses(logits: Value, targets: Value): Value {
  const spread = sub(maxOver(logits, [-1]), log(maxOver(softmax(logits), [-1])));
  return sub(spread, pick(logits, targets));
}

const linearCrossEntropyOp = defineFunction(
  "linearCrossEntropy",
  ([h, w, targets]) => [mean(rowLosses(linear(h as Value, w as Value), targets as Value), [0])],
  {
    // with p = softmax(h Wᵀ): dh = (p W − W[target]) / N, dW = (pᵀ h − scatter(h at target)) / N; no one-hot of [N, V].
    // Nothing times the losses is added: the gradient waits for them, so that the logits die before those of another chunk are made.
    vjp: ([ct], { inputs: [h, w, targets] }) => {
      if (ct === undefined || h === undefined || w === undefined || targets === undefined) return [];
      const logits = linear(h, w);
      const p = softmax(logits);
      const g = div(ct, sizeScalar([h.shape[0] as Dim]));
      const nothing = mul(reshape(rowLosses(logits, targets), [h.shape[0] as Dim, 1]), scalar(0));
      const dh = mul(g, sub(matmul(p, w), add(gather(w, targets), nothing)));
      return [dh, mul(g, scatterAdd(matmul(p, h, { transA: true }), targets, neg(h)))];
    },
  },
);
/** Mean cross entropy of the logits h [N, D] · Wᵀ (W [V, D]) at `targets` int64 [N]. */
export const linearCrossEntropy = (h: Value, w: Value, targets: Value): Value =>
  apply(linearCrossEntropyOp, [h, w, targets]);

/** Of each result of a linear layer (one or several over the same input), the weight it multiplies with, by checkpoint name. */
export function weightsMultiplied(node: Node): readonly (string | undefined)[] {
  if (![linearOp, linearsOp, mixHeadsOp].includes(node.op) && !isMatmul(node)) return [];
  return node.inputs.slice(1).map(({ node: { op, attrs, inputs } }) => {
    // blocks of a quantised weight are named NAME#codes, NAME#scales …
    const leaf = op === dequantizeOp ? inputs[0]?.node : { op, attrs };
    return leaf?.op === weightOp ? (leaf.attrs.name as string).replace(/#codes$/, "") : undefined;
  });
}
