// Primitives, each with all that is true of it in one literal: elementwise with numpy broadcasting, then those that move or reduce elements.
// They stand in one file because their gradients are written in each other.
import { addDims, type Dim, sameShape, sizeOf, subDims } from "./dim.ts";
import {
  type Attrs,
  apply,
  applyAll,
  type DType,
  defineOp,
  type Emitter,
  type Node,
  type Op,
  scalar,
  type TensorType,
  type Value,
} from "./value.ts";

/** The shape of a numpy broadcast; throws where two dimensions can never agree. */
export function broadcastShapes(a: readonly Dim[], b: readonly Dim[]): readonly Dim[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x === y || y === 1) return x;
    if (x === 1) return y;
    throw new Error(`shapes [${a}] and [${b}] do not broadcast: ${x} against ${y}`);
  });
}

/** Sums a cotangent back to the shape that was broadcast. */
export function unbroadcast(ct: Value, shape: readonly Dim[]): Value {
  if (sameShape(ct.shape, shape)) return ct;
  const extra = ct.rank - shape.length;
  const axes = ct.shape.map((_, i) => i).filter((i) => i < extra || (shape[i - extra] === 1 && ct.shape[i] !== 1));
  return reshape(axes.length > 0 ? sum(ct, axes, true) : ct, shape);
}

type UnaryVjp = (ct: Value, x: Value, y: Value) => Value;
const unary = (name: string, onnx: string, vjp?: UnaryVjp): ((x: Value) => Value) => {
  const op = defineOp({
    name,
    infer: ([x]) => [floating(x)],
    emit: (e, inputs) => [e.one(onnx, inputs)],
    rowwise: () => "all",
    ...(vjp && { vjp: ([ct], node) => [ct && vjp(ct, node.inputs[0] as Value, apply(op, node.inputs))] }),
  });
  return (x) => apply(op, [x]);
};
const floating = (type: TensorType | undefined): TensorType => {
  if (type?.dtype !== "float32") throw new Error("wanted float32");
  return type;
};

type BinaryVjp = (ct: Value, a: Value, b: Value) => readonly [Value | undefined, Value | undefined];
interface BinaryOptions {
  readonly result?: DType;
  readonly vjp?: BinaryVjp;
}
const binaryOp = (name: string, onnx: string, { result, vjp }: BinaryOptions): Op => {
  const op = defineOp({
    name,
    infer: ([a, b]) => {
      if (a === undefined || b === undefined || a.dtype !== b.dtype) throw new Error("wanted two tensors of one dtype");
      return [{ dtype: result ?? a.dtype, shape: broadcastShapes(a.shape, b.shape) }];
    },
    emit: (e, inputs) => [e.one(onnx, inputs)],
    rowwise: () => "all",
    ...(vjp && {
      vjp: ([ct], { inputs: [a, b] }) => {
        if (ct === undefined || a === undefined || b === undefined) return [];
        const [da, db] = vjp(ct, a, b);
        return [da && unbroadcast(da, a.shape), db && unbroadcast(db, b.shape)];
      },
    }),
  });
  return op;
};
const binary = (name: string, onnx: string, options: BinaryOptions): ((a: Value, b: Value) => Value) => {
  const op = binaryOp(name, onnx, options);
  return (a, b) => apply(op, [a, b]);
};

export const neg = unary("neg", "Neg", (ct) => neg(ct));
export const exp = unary("exp", "Exp", (ct, _x, y) => mul(ct, y));
export const log = unary("log", "Log", (ct, x) => div(ct, x));
export const sqrt = unary("sqrt", "Sqrt", (ct, _x, y) => div(mul(ct, scalar(0.5)), y));
export const reciprocal = unary("reciprocal", "Reciprocal", (ct, _x, y) => neg(mul(ct, mul(y, y))));
export const tanh = unary("tanh", "Tanh", (ct, _x, y) => mul(ct, sub(scalar(1), mul(y, y))));
export const sigmoid = unary("sigmoid", "Sigmoid", (ct, _x, y) => mul(ct, mul(y, sub(scalar(1), y))));
export const erf = unary("erf", "Erf", (ct, x) => mul(ct, mul(scalar(2 / Math.sqrt(Math.PI)), exp(neg(mul(x, x))))));
export const sin = unary("sin", "Sin", (ct, x) => mul(ct, cos(x)));
export const cos = unary("cos", "Cos", (ct, x) => neg(mul(ct, sin(x))));

/** To whole numbers, halves to the even one; not differentiable. */
export const round = unary("round", "Round");

const addOp = binaryOp("add", "Add", { vjp: (ct) => [ct, ct] });
export const add = (a: Value, b: Value): Value => apply(addOp, [a, b]);
export const isAdd = (node: { readonly op: Op }): boolean => node.op === addOp;
export const sub = binary("sub", "Sub", { vjp: (ct) => [ct, neg(ct)] });
export const mul = binary("mul", "Mul", { vjp: (ct, a, b) => [mul(ct, b), mul(ct, a)] });
export const div = binary("div", "Div", {
  vjp: (ct, a, b) => [div(ct, b), neg(div(mul(ct, a), mul(b, b)))],
});
/** Ties give the whole cotangent to the first argument. */
export const max = binary("max", "Max", {
  vjp: (ct, a, b) => [where(less(a, b), scalar(0), ct), where(less(a, b), ct, scalar(0))],
});
export const less = binary("less", "Less", { result: "bool" });
export const lessEqual = binary("lessEqual", "LessOrEqual", { result: "bool" });
export const equal = binary("equal", "Equal", { result: "bool" });
export const and = binary("and", "And", {});
/** Bitwise and of uint8. */
export const bitAnd = binary("bitAnd", "BitwiseAnd", {});

const shiftRightOp = defineOp({
  name: "shiftRight",
  infer: ([a, b]) => [{ dtype: "uint8", shape: broadcastShapes(a?.shape ?? [], b?.shape ?? []) }],
  emit: (e, inputs) => [e.one("BitShift", inputs, { direction: "RIGHT" })],
});
/** Logical shift of uint8 to the right. */
export const shiftRight = (a: Value, b: Value): Value => apply(shiftRightOp, [a, b]);

const whereOp = defineOp({
  name: "where",
  infer: ([c, a, b]) => {
    if (c?.dtype !== "bool" || a === undefined || b === undefined || a.dtype !== b.dtype)
      throw new Error("wanted a bool condition and two tensors of one dtype");
    return [{ dtype: a.dtype, shape: broadcastShapes(c.shape, broadcastShapes(a.shape, b.shape)) }];
  },
  emit: (e, inputs) => [e.one("Where", inputs)],
  rowwise: () => "all",
  vjp: ([ct], { inputs: [c, a, b] }) =>
    ct && c && a && b
      ? [undefined, unbroadcast(where(c, ct, scalar(0)), a.shape), unbroadcast(where(c, scalar(0), ct), b.shape)]
      : [],
});
/** `a` where the condition holds, else `b`. */
export const where = (condition: Value, a: Value, b: Value): Value => apply(whereOp, [condition, a, b]);

const CAST_TO: Readonly<Record<DType, number>> = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, bool: 9 };
const castOp = defineOp({
  name: "cast",
  infer: ([x], attrs) => [{ dtype: attrs.to as DType, shape: x?.shape ?? [] }],
  emit: (e: Emitter, inputs, node) => [e.one("Cast", inputs, { to: CAST_TO[node.attrs.to as DType] })],
});
/** Converts the elements; not differentiable. */
export const cast = (x: Value, to: DType): Value => (x.dtype === to ? x : apply(castOp, [x], { to }));

const dimsAttr = (attrs: Attrs, name: string): readonly Dim[] => attrs[name] as readonly Dim[];
const intsAttr = (attrs: Attrs, name: string): readonly number[] => attrs[name] as readonly number[];
const only = (types: readonly TensorType[]): TensorType => types[0] as TensorType;
const shapeOfInput = (node: Node): readonly Dim[] => (node.inputs[0] as Value).shape;

const axisOf = (axis: number, rank: number): number => {
  const at = axis < 0 ? axis + rank : axis;
  if (at < 0 || at >= rank) throw new Error(`axis ${axis} is not one of a tensor of rank ${rank}`);
  return at;
};

// ---- reshape

const reshapeOp = defineOp({
  name: "reshape",
  infer: ([x], attrs) => {
    const shape = dimsAttr(attrs, "shape");
    if (sizeOf(x?.shape ?? []) !== sizeOf(shape))
      throw new Error(`[${x?.shape}] holds ${sizeOf(x?.shape ?? [])} elements, [${shape}] wants ${sizeOf(shape)}`);
    return [{ dtype: (x as TensorType).dtype, shape }];
  },
  emit: (e, [x], node) => [e.one("Reshape", [x as string, reshapeTarget(e, node)])],
  vjp: ([ct], node) => [ct && reshape(ct, shapeOfInput(node))],
  simplify: ([x], attrs) => {
    const shape = dimsAttr(attrs, "shape");
    const inner = x?.node.op === reshapeOp ? (x.node.inputs[0] as Value) : (x as Value);
    if (sameShape(inner.shape, shape)) return [inner];
    return inner === x ? undefined : [apply(reshapeOp, [inner], attrs)];
  },
});
/** ONNX's own 0 ("copy") and -1 ("infer") wherever they say it; computed dimensions only where two unknowns remain. */
function reshapeTarget(e: Emitter, node: Node): string {
  const from = shapeOfInput(node);
  const to = dimsAttr(node.attrs, "shape");
  if (to.filter((dim) => typeof dim === "string").length <= 1)
    return e.ints(...to.map((dim) => (typeof dim === "string" ? -1 : dim)));
  const copied = to.map((dim, i) => (typeof dim === "string" ? (dim === from[i] ? 0 : -1) : dim));
  return copied.filter((dim) => dim === -1).length <= 1 ? e.ints(...copied) : e.shape(to);
}
export const reshape = (x: Value, shape: readonly Dim[]): Value => apply(reshapeOp, [x], { shape });
export const isReshape = (node: { readonly op: Op }): boolean => node.op === reshapeOp;

// ---- transpose, expand

const transposeOp = defineOp({
  name: "transpose",
  infer: ([x], attrs) => [
    {
      dtype: (x as TensorType).dtype,
      shape: intsAttr(attrs, "perm").map((axis) => (x as TensorType).shape[axis] as Dim),
    },
  ],
  emit: (e, inputs, node) => [e.one("Transpose", inputs, { perm: intsAttr(node.attrs, "perm") })],
  vjp: ([ct], node) => {
    const perm = intsAttr(node.attrs, "perm");
    return [
      ct &&
        transpose(
          ct,
          perm.map((_, i) => perm.indexOf(i)),
        ),
    ];
  },
});
export const transpose = (x: Value, perm: readonly number[]): Value => apply(transposeOp, [x], { perm });
export const isTranspose = (node: { readonly op: Op }): boolean => node.op === transposeOp;

const expandOp = defineOp({
  name: "expand",
  infer: ([x], attrs) => [{ dtype: (x as TensorType).dtype, shape: dimsAttr(attrs, "shape") }],
  emit: (e, [x], node) => [e.one("Expand", [x as string, e.shape(dimsAttr(node.attrs, "shape"))])],
  vjp: ([ct], node) => {
    if (ct === undefined) return [];
    const from = shapeOfInput(node);
    const extra = ct.rank - from.length;
    const axes = ct.shape.map((_, i) => i).filter((i) => i < extra || (from[i - extra] === 1 && ct.shape[i] !== 1));
    return [reshape(axes.length > 0 ? sum(ct, axes, true) : ct, from)];
  },
});
/** Broadcasts to a shape. */
export const expandTo = (x: Value, shape: readonly Dim[]): Value =>
  sameShape(x.shape, shape) ? x : apply(expandOp, [x], { shape });

// ---- slice, concat, split

const sliceOp = defineOp({
  name: "slice",
  infer: ([x], attrs) => {
    const { dtype, shape } = x as TensorType;
    const [start, end] = dimsAttr(attrs, "range") as [Dim, Dim];
    return [{ dtype, shape: shape.map((dim, i) => (i === attrs.axis ? subDims(end, start) : dim)) }];
  },
  emit: (e, [x], node) => {
    const [start, end] = dimsAttr(node.attrs, "range") as [Dim, Dim];
    const dim = shapeOfInput(node)[node.attrs.axis as number];
    const from = e.dim(start);
    // "up to the end" needs no run-time dimension, and a distance from the end is a number too
    const back = dim === undefined ? undefined : subDims(end, dim);
    const to =
      back === 0
        ? e.ints(Number.MAX_SAFE_INTEGER)
        : typeof back === "number" && typeof end !== "number"
          ? e.ints(back)
          : e.dim(end);
    return [e.one("Slice", [x as string, from, to, e.ints(node.attrs.axis as number)])];
  },
  vjp: ([ct], node) => {
    if (ct === undefined) return [];
    const [start, end] = dimsAttr(node.attrs, "range") as [Dim, Dim];
    const axis = node.attrs.axis as number;
    const whole = shapeOfInput(node);
    const zeros = (size: Dim): Value[] =>
      size === 0
        ? []
        : [
            expandTo(
              scalar(0),
              whole.map((dim, i) => (i === axis ? size : dim)),
            ),
          ];
    return [concat([...zeros(start), ct, ...zeros(subDims(whole[axis] as Dim, end))], axis)];
  },
});
/** Elements start … end-1 along an axis; `end` defaults to the axis' size. */
export const slice = (x: Value, axis: number, start: Dim, end?: Dim): Value => {
  const at = axisOf(axis, x.rank);
  return apply(sliceOp, [x], { axis: at, range: [start, end ?? (x.shape[at] as Dim)] });
};

const concatOp = defineOp({
  name: "concat",
  infer: (types, attrs) => {
    const axis = attrs.axis as number;
    const first = only(types);
    for (const type of types)
      if (type.dtype !== first.dtype || type.shape.some((dim, i) => i !== axis && dim !== first.shape[i]))
        throw new Error(`wanted equal dtypes and dimensions but for axis ${axis}`);
    const joined = types.map((type) => type.shape[axis] as Dim).reduce(addDims);
    return [{ dtype: first.dtype, shape: first.shape.map((dim, i) => (i === axis ? joined : dim)) }];
  },
  emit: (e, inputs, node) => [e.one("Concat", inputs, { axis: node.attrs.axis as number })],
  simplify: (values, { axis }) => (axis === 0 ? rowsTogether(values) : undefined),
  vjp: ([ct], node) => {
    if (ct === undefined) return [];
    const axis = node.attrs.axis as number;
    let at: Dim = 0;
    return node.inputs.map((input) => {
      const start = at;
      at = addDims(at, input.shape[axis] as Dim);
      return slice(ct, axis, start, at);
    });
  },
});
export const isConcat = (node: { readonly op: Op }): boolean => node.op === concatOp;
/** Rows that were reshaped or cut alike are put together first. */
function rowsTogether(values: readonly Value[]): readonly Value[] | undefined {
  const inner = values.map(({ node }) => node.inputs[0] as Value);
  const [first, tail] = [inner[0], inner[0]?.shape.slice(1).join()];
  const isAlike = (op: Op): boolean => values.every(({ node }) => node.op === op);
  if (!inner.every((value) => value?.shape.slice(1).join() === tail)) return undefined;
  const { attrs } = (values[0] as Value).node;
  if (isAlike(reshapeOp) && inner.every((value, i) => value.shape[0] === values[i]?.shape[0])) {
    const all = concat(inner, 0);
    return [reshape(all, [all.shape[0] as Dim, ...(values[0] as Value).shape.slice(1)])];
  }
  const isSame = ({ node }: Value): boolean =>
    node.attrs.axis === attrs.axis && String(node.attrs.range) === String(attrs.range);
  if (first === undefined || !isAlike(sliceOp) || attrs.axis === 0 || !values.every(isSame)) return undefined;
  return [apply(sliceOp, [concat(inner, 0)], attrs)];
}
export const concat = (values: readonly Value[], axis: number): Value =>
  values.length === 1
    ? (values[0] as Value)
    : apply(concatOp, values, { axis: axisOf(axis, (values[0] as Value).rank) });

const splitOp = defineOp({
  name: "split",
  infer: ([x], attrs) => {
    const { dtype, shape } = x as TensorType;
    const sizes = dimsAttr(attrs, "sizes");
    const axis = attrs.axis as number;
    if (sizes.reduce(addDims) !== shape[axis])
      throw new Error(`sizes ${sizes.join(" + ")} do not make the ${shape[axis]} of axis ${axis}`);
    return sizes.map((size) => ({ dtype, shape: shape.map((dim, i) => (i === axis ? size : dim)) }));
  },
  emit: (e, [x], node) => {
    const sizes = dimsAttr(node.attrs, "sizes");
    return e.node("Split", [x as string, e.shape(sizes)], { axis: node.attrs.axis as number }, sizes.length);
  },
  vjp: (cts, node) => {
    if (cts.every((ct) => ct === undefined)) return [];
    return [
      concat(
        cts.map((ct, i) => ct ?? expandTo(scalar(0), (node.types[i] as TensorType).shape)),
        node.attrs.axis as number,
      ),
    ];
  },
  // the parts of what was just put together
  simplify: ([x], attrs) => {
    if (x?.node.op !== concatOp || x.node.attrs.axis !== attrs.axis) return undefined;
    const parts = x.node.inputs;
    return sameShape(
      parts.map((part) => part.shape[attrs.axis as number] as Dim),
      dimsAttr(attrs, "sizes"),
    )
      ? parts
      : undefined;
  },
});
/** Cuts an axis into parts of the given sizes, which may be symbolic. */
export const split = (x: Value, axis: number, sizes: readonly Dim[]): readonly Value[] =>
  sizes.length === 1 ? [x] : applyAll(splitOp, [x], { axis: axisOf(axis, x.rank), sizes });

// ---- reductions

const reducedShape = (shape: readonly Dim[], axes: readonly number[], keep: boolean): readonly Dim[] =>
  keep ? shape.map((dim, i) => (axes.includes(i) ? 1 : dim)) : shape.filter((_, i) => !axes.includes(i));

const sumOp = defineOp({
  name: "sum",
  infer: ([x], attrs) => {
    const { dtype, shape } = x as TensorType;
    return [{ dtype, shape: reducedShape(shape, intsAttr(attrs, "axes"), attrs.keep as boolean) }];
  },
  emit: (e, [x], { attrs }) => [
    e.one("ReduceSum", [x as string, e.ints(...intsAttr(attrs, "axes"))], { keepdims: attrs.keep ? 1 : 0 }),
  ],
  vjp: ([ct], node) => [
    ct &&
      expandTo(reshape(ct, reducedShape(shapeOfInput(node), intsAttr(node.attrs, "axes"), true)), shapeOfInput(node)),
  ],
});
/** Sum over axes. */
export const sum = (x: Value, axes: readonly number[], keep = false): Value =>
  apply(sumOp, [x], { axes: axes.map((axis) => axisOf(axis, x.rank)).sort((a, b) => a - b), keep });

const maxOp = defineOp({
  name: "maxOver",
  infer: sumOp.infer,
  emit: (e, [x], { attrs }) => [
    e.one("ReduceMax", [x as string, e.ints(...intsAttr(attrs, "axes"))], { keepdims: attrs.keep ? 1 : 0 }),
  ],
  // equal maxima share the cotangent
  vjp: ([ct], node) => {
    if (ct === undefined) return [];
    const x = node.inputs[0] as Value;
    const kept = reducedShape(x.shape, intsAttr(node.attrs, "axes"), true);
    const y = apply(maxOp, [x], { ...node.attrs, keep: true });
    const hits = cast(equal(x, y), "float32");
    return [mul(div(hits, sum(hits, intsAttr(node.attrs, "axes"), true)), reshape(ct, kept))];
  },
});
/** Largest element over axes. */
export const maxOver = (x: Value, axes: readonly number[], keep = false): Value =>
  apply(maxOp, [x], { axes: axes.map((axis) => axisOf(axis, x.rank)).sort((a, b) => a - b), keep });

/** The number of elements of the given dimensions as a float32 scalar. */
export const sizeScalar = (dims: readonly Dim[]): Value => {
  const size = sizeOf(dims);
  return typeof size === "number" ? scalar(size) : cast(reshape(dimsOf([size]), []), "float32");
};
/** Mean over axes. */
export const mean = (x: Value, axes: readonly number[], keep = false): Value =>
  div(sum(x, axes, keep), sizeScalar(axes.map((axis) => x.shape[axisOf(axis, x.rank)] as Dim)));

// ---- dimensions as values

const dimsOp = defineOp({
  name: "dims",
  infer: (_, attrs) => [{ dtype: "int64", shape: [dimsAttr(attrs, "dims").length] }],
  emit: (e, _, node) => [e.shape(dimsAttr(node.attrs, "dims"))],
});
/** Run-time values of dimensions, int64[n]; the symbols must appear in an input of the Graph. */
const dimsOf = (dims: readonly Dim[]): Value => apply(dimsOp, [], { dims });

const arangeOp = defineOp({
  name: "arange",
  infer: (_, attrs) => [{ dtype: "int64", shape: dimsAttr(attrs, "size") }],
  emit: (e, _, node) => {
    const size = e.one("Reshape", [e.shape(dimsAttr(node.attrs, "size")), e.ints()]);
    return [e.one("Range", [int64Scalar(e, 0), size, int64Scalar(e, 1)])];
  },
});
const int64Scalar = (e: Emitter, value: number): string =>
  e.literal({ dtype: "int64", shape: [] }, new Uint8Array(BigInt64Array.of(BigInt(value)).buffer));
/** 0, 1, … size-1 as int64[size]. */
export const arange = (size: Dim): Value => apply(arangeOp, [], { size: [size] });

/** Where `parts` are all the results of one split, in order, of the last axis: what was split. */
export function splitOrigin(parts: readonly Value[]): Value | undefined {
  const node = parts[0]?.node;
  if (node?.op !== splitOp || node.types.length !== parts.length) return undefined;
  const origin = node.inputs[0] as Value;
  if (node.attrs.axis !== origin.rank - 1) return undefined;
  return parts.every((part, i) => part.node === node && part.index === i) ? origin : undefined;
}

/** Where `parts` [1, …] are the same row of tensors that were split into their rows: those tensors, and which row. */
export function rowShare(parts: readonly Value[]) {
  const index = parts[0]?.index as number;
  const isRow = ({ node }: Value): boolean =>
    node.op === splitOp && node.attrs.axis === 0 && dimsAttr(node.attrs, "sizes").every((size) => size === 1);
  if (!parts.every((part) => isRow(part) && part.index === index)) return undefined;
  return { origins: parts.map(({ node }) => node.inputs[0] as Value), index };
}
