// Linear layers over weights [N, K], as checkpoints store them: dense, by heads, over block-quantised weights and in one product.
// A function with `emit` has a kernel that equals its body; the tests run both.
import type { Dim } from "./dim.ts";
import { tap } from "./functions.ts";
import {
  add,
  arange,
  bitAnd,
  cast,
  concat,
  equal,
  expandTo,
  isTranspose,
  mul,
  reshape,
  shiftRight,
  sub,
  sum,
  transpose,
} from "./ops.ts";
import { flattenRows, isMatmul, matmul } from "./products.ts";
import {
  apply,
  applyAll,
  constant,
  defineFunction,
  type Node,
  type Op,
  scalar,
  type Value,
  weightOp,
} from "./value.ts";

const float = (value: number) => ({ float: value });
const MS = "com.microsoft";

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
  /** The blocks are those of the rotated weight: `rotateBlocks` of what they decode to is the weight. */
  readonly isRotated?: boolean;
}

/** A format whose zero is the kernel's own. */
export type CentredFormat = Omit<BlockFormat, "zero" | "isRotated">;

/** The orthonormal Hadamard matrix of Sylvester's order [size, size], its own inverse: ±1/√size, size a power of two. */
function hadamard(size: number): Value {
  const sign = (i: number, j: number): number => {
    let odd = 0;
    for (let both = i & j; both > 0; both >>= 1) odd ^= both & 1;
    return odd === 1 ? -1 : 1;
  };
  const values = Float32Array.from({ length: size * size }, (_, at) => sign(Math.floor(at / size), at % size));
  return constant(
    values.map((value) => value / Math.sqrt(size)),
    [size, size],
  );
}

const rotateBlocksOp = defineFunction(
  "rotateBlocks",
  ([x], attrs) => {
    const { shape } = x as Value;
    const block = attrs.block as number;
    const blocks = reshape(x as Value, [...shape.slice(0, -1), (shape.at(-1) as number) / block, block]);
    return [reshape(matmul(blocks, hadamard(block)), shape)];
  },
  { rowwise: () => "first" },
);
/**
 * Each block of consecutive columns of x [..., K] times the Hadamard matrix, which undoes itself: products of two rotated rows are
 * those of the rows, and one large value is spread over its block, so that rounding a block to few steps costs less
 * (QuaRot, Ashkboos et al. 2024).
 */
export const rotateBlocks = (x: Value, block: number): Value => apply(rotateBlocksOp, [x], { block });

const dequantizeOp = defineFunction("dequantize", ([codes, scales, mins], attrs) => {
  const { bits, block, zero, isRotated } = attrs as unknown as BlockFormat;
  const lead = (scales as Value).shape;
  const packed = codes as Value;
  const low = bits === 8 ? packed : bitAnd(packed, constant(Uint8Array.of(15), []));
  const pair = (value: Value): Value => reshape(value, [...value.shape, 1]);
  const all = bits === 8 ? low : concat([pair(low), pair(shiftRight(packed, constant(Uint8Array.of(4), [])))], -1);
  const numbers = cast(reshape(all, [...lead, block]), "float32");
  const centred = zero === 0 ? numbers : sub(numbers, scalar(zero));
  const scaled = mul(centred, reshape(scales as Value, [...lead, 1]));
  const values = mins === undefined ? scaled : add(scaled, reshape(mins, [...lead, 1]));
  const coded = reshape(values, [...lead.slice(0, -1), mulBlock(lead.at(-1) as Dim, block)]);
  return [isRotated ? rotateBlocks(coded, block) : coded];
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

/** W of a value that is Wᵀ, rank 2. */
export const untransposed = ({ rank, node }: Value): Value | undefined =>
  rank === 2 && isTranspose(node) ? node.inputs[0] : undefined;

/** Of each result of a linear layer (one or several over the same input), the weight it multiplies with, by checkpoint name. */
export function weightsMultiplied(node: Node): readonly (string | undefined)[] {
  if (![linearOp, linearsOp, mixHeadsOp].includes(node.op) && !isMatmul(node)) return [];
  return node.inputs.slice(1).map((weight) => {
    const { op, attrs, inputs } = (untransposed(weight) ?? weight).node;
    // blocks of a quantised weight are named NAME#codes, NAME#scales …
    const leaf = op === dequantizeOp ? inputs[0]?.node : { op, attrs };
    return leaf?.op === weightOp ? (leaf.attrs.name as string).replace(/#codes$/, "") : undefined;
  });
}
