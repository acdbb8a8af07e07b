// Matrix products and lookups: matmul (with transposes and a factor), gather, scatter, top-k.
// Frozen tables may be weights of any dtype.
import { type Dim, sameShape, sizeOf } from "./dim.ts";
import { broadcastShapes, expandTo, reshape, unbroadcast } from "./ops.ts";
import { apply, applyAll, defineOp, type Op, scalar, type TensorType, type Value } from "./value.ts";

interface MatmulOptions {
  readonly transA?: boolean;
  readonly transB?: boolean;
  /** Factor of the product. */
  readonly alpha?: number;
}

const matmulOp = defineOp({
  name: "matmul",
  infer: ([a, b], { transA, transB }) => {
    if (a?.dtype !== "float32" || b?.dtype !== "float32" || a.shape.length < 2 || b.shape.length < 2)
      throw new Error("wanted two float32 tensors of rank 2 or more");
    const last = (shape: readonly Dim[], flip: unknown): [Dim, Dim] => {
      const [rows, columns] = shape.slice(-2) as [Dim, Dim];
      return flip ? [columns, rows] : [rows, columns];
    };
    const [m, k] = last(a.shape, transA);
    const [k2, n] = last(b.shape, transB);
    if (k !== k2) throw new Error(`the inner dimensions are ${k} and ${k2}`);
    return [{ dtype: "float32", shape: [...broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2)), m, n] }];
  },
  emit: (e, inputs, { attrs: { transA, transB, alpha } }) => [
    !transA && !transB && alpha === 1
      ? e.one("MatMul", inputs)
      : e.one(
          "FusedMatMul",
          inputs,
          { transA: transA ? 1 : 0, transB: transB ? 1 : 0, alpha: { float: alpha as number } },
          "com.microsoft",
        ),
  ],
  rowwise: ({ transA }) => (transA ? undefined : "first"),
  vjp: ([ct], { inputs: [a, b], attrs }) => {
    if (ct === undefined || a === undefined || b === undefined) return [];
    const { transA, transB, alpha } = attrs as { transA: boolean; transB: boolean; alpha: number };
    const da = transA
      ? matmul(b, ct, { transA: transB, transB: true, alpha })
      : matmul(ct, b, { transB: !transB, alpha });
    const db = transB
      ? matmul(ct, a, { transA: true, transB: transA, alpha })
      : matmul(a, ct, { transA: !transA, alpha });
    return [unbroadcast(da, a.shape), unbroadcast(db, b.shape)];
  },
});
/** alpha · A B over the last two axes, with numpy broadcasting of the leading ones. */
export const matmul = (a: Value, b: Value, { transA = false, transB = false, alpha = 1 }: MatmulOptions = {}): Value =>
  apply(matmulOp, [a, b], { transA, transB, alpha });

export const isMatmul = (node: { readonly op: Op }): boolean => node.op === matmulOp;

const gatherOp = defineOp({
  name: "gather",
  infer: ([table, indices]) => {
    if (indices?.dtype !== "int64") throw new Error("wanted int64 indices");
    return [{ dtype: (table as TensorType).dtype, shape: [...indices.shape, ...(table as TensorType).shape.slice(1)] }];
  },
  emit: (e, inputs) => [e.one("Gather", inputs, { axis: 0 })],
  vjp: ([ct], { inputs: [table, indices] }) => {
    if (ct === undefined || table === undefined || indices === undefined) return [];
    return [scatterAdd(expandTo(scalar(0), table.shape), indices, ct)];
  },
});
/** Rows of a table: result [...indices, ...table.shape[1:]]. */
export const gather = (table: Value, indices: Value): Value => apply(gatherOp, [table, indices]);
export const isGather = (node: { readonly op: Op }): boolean => node.op === gatherOp;

const scatterAddOp = defineOp({
  name: "scatterAdd",
  infer: ([data, indices, updates]) => {
    if (data === undefined || indices?.dtype !== "int64" || updates === undefined)
      throw new Error("wanted int64 indices");
    const wanted = [...indices.shape, ...data.shape.slice(1)];
    if (!sameShape(updates.shape, wanted)) throw new Error(`wanted updates [${wanted}]`);
    return [data];
  },
  emit: (e, [data, indices, updates], node) => {
    const shape = (node.inputs[1] as Value).shape;
    const column = e.one("Unsqueeze", [indices as string, e.ints(shape.length)]);
    return [e.one("ScatterND", [data as string, column, updates as string], { reduction: "add" })];
  },
  vjp: ([ct], { inputs: [, indices] }) => (ct && indices ? [ct, undefined, gather(ct, indices)] : []),
});
/** data with `updates` added to the rows at `indices`; repeated indices add up. */
export const scatterAdd = (data: Value, indices: Value, updates: Value): Value =>
  apply(scatterAddOp, [data, indices, updates]);

const pickOp = defineOp({
  name: "pick",
  infer: ([x, indices]) => {
    if (x === undefined || indices?.dtype !== "int64") throw new Error("wanted int64 indices");
    if (!sameShape(x.shape.slice(0, -1), indices.shape)) throw new Error(`wanted indices [${x.shape.slice(0, -1)}]`);
    return [{ dtype: x.dtype, shape: indices.shape }];
  },
  emit: (e, [x, indices], node) => {
    const axis = (node.inputs[0] as Value).rank - 1;
    const column = e.one("Unsqueeze", [indices as string, e.ints(axis)]);
    return [e.one("Squeeze", [e.one("GatherElements", [x as string, column], { axis }), e.ints(axis)])];
  },
  vjp: ([ct], { inputs: [x, indices] }) => (ct && x && indices ? [place(ct, indices, x.shape)] : []),
});
/** x[..., indices[...]]: one element of the last axis each. */
export const pick = (x: Value, indices: Value): Value => apply(pickOp, [x, indices]);

const placeOp = defineOp({
  name: "place",
  infer: ([x], attrs) => [{ dtype: (x as TensorType).dtype, shape: attrs.shape as readonly Dim[] }],
  emit: (e, [x, indices], node) => {
    const shape = node.attrs.shape as readonly Dim[];
    const axis = shape.length - 1;
    const column = (name: string): string => e.one("Unsqueeze", [name, e.ints(axis)]);
    const zeros = e.one("Expand", [e.float(0), e.shape(shape)]);
    return [e.one("ScatterElements", [zeros, column(indices as string), column(x as string)], { axis })];
  },
  vjp: ([ct], { inputs: [, indices] }) => (ct && indices ? [pick(ct, indices)] : []),
});
/** Zeros of `shape` with x at the picked elements of the last axis: the transpose of `pick`. */
export const place = (x: Value, indices: Value, shape: readonly Dim[]): Value =>
  apply(placeOp, [x, indices], { shape });

const scatterRowsOp = defineOp({
  name: "scatterRows",
  infer: ([data]) => [data as TensorType],
  emit: (e, [data, indices, updates], node) => {
    const shape = (node.inputs[2] as Value).shape;
    const rows = e.one("Reshape", [indices as string, e.ints(1, 1, -1, 1)]);
    const full = e.one("Expand", [rows, e.shape(shape)]);
    return [e.one("ScatterElements", [data as string, full, updates as string], { axis: 2 })];
  },
});
/** data [B,G,C,K] with rows `indices` [T] of axis 2 replaced by updates [B,G,T,K]. */
export const scatterRows = (data: Value, indices: Value, updates: Value): Value =>
  apply(scatterRowsOp, [data, indices, updates]);

const topKOp = defineOp({
  name: "topK",
  infer: ([x], attrs) => {
    const { shape } = x as TensorType;
    const kept = [...shape.slice(0, -1), attrs.k as number];
    return [
      { dtype: "float32", shape: kept },
      { dtype: "int64", shape: kept },
    ];
  },
  emit: (e, [x], node) =>
    e.node("TopK", [x as string, e.ints(node.attrs.k as number)], { axis: -1, largest: 1, sorted: 1 }, 2),
});
/** The k largest of the last axis, descending, and their indices; equal values keep the lower index first. */
export const topK = (x: Value, k: number): readonly [Value, Value] =>
  applyAll(topKOp, [x], { k }) as unknown as readonly [Value, Value];

/** x [..., K] as [rows, K]. */
export const flattenRows = (x: Value): Value => reshape(x, [sizeOf(x.shape.slice(0, -1)), x.shape.at(-1) as Dim]);
