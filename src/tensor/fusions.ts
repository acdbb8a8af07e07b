// Fusions: rewrites of a Graph into forms that the runtime has kernels for, each equal to what it replaces.
// They stand in one list and run in its order; the tests prove each entry of the list by the same comparison.
import { type AttentionOptions, groupQueryForm, isAttention, isCachedAttention, multiHeadForm } from "./attention.ts";
import { isLayerNorm, isRmsNorm, isTap, skipRmsNorm } from "./functions.ts";
import { expand, type Graph, type Rule, rewrite, type Site } from "./graph.ts";
import { int8Linear } from "./int8.ts";
import {
  addProduct,
  type BlockFormat,
  blockProduct,
  blockSums,
  centreOf,
  dequantize,
  isDequantize,
  isLinear,
  isLinears,
  isMixHeads,
  linear,
  rotateBlocks,
  untransposed,
  weightsMultiplied,
} from "./linear.ts";
import { add, concat, isAdd, isConcat, isReshape, mul, split, transpose } from "./ops.ts";
import { gather, isGather, isMatmul } from "./products.ts";
import { type Node, scalar, type Value, weightOp } from "./value.ts";

export interface Fusion {
  readonly name: string;
  readonly rule: Rule;
}

/** A HookPoint that nobody asked for is nothing. */
const vanishTaps: Rule = ({ node, inputs }) => (isTap(node) ? inputs : undefined);

/** Rows of a quantised table: gather the codes, then dequantise only those. */
const gatherQuantized: Rule = ({ node, inputs: [table, indices] }) => {
  if (!isGather(node) || table === undefined || indices === undefined || !isDequantize(table.node)) return undefined;
  const [codes, scales, mins] = table.node.inputs.map((part) => gather(part, indices));
  return [dequantize(codes as Value, scales as Value, mins, formatOf(table.node))];
};

/** Heads whose shares nobody asked for are one layer. */
const headsTogether: Rule = ({ node, inputs }) => (isMixHeads(node) ? node.op.body?.(inputs, node.attrs) : undefined);

const formatOf = (node: Node): BlockFormat => node.attrs as unknown as BlockFormat;

/**
 * x · dequantize(W)ᵀ → a product of integer blocks, plus block sums of x times what the blocks are offset by. Where the blocks are
 * of the rotated weight, x is rotated instead.
 */
function blockLinear(plain: Value, parts: readonly Value[], format: BlockFormat): Value {
  const x = format.isRotated ? rotateBlocks(plain, format.block) : plain;
  const [codes, scales, mins] = parts as [Value, Value, Value | undefined];
  const product = blockProduct(x, codes, scales, format);
  const shift = centreOf(format.bits) - format.zero;
  // scale·(code − zero) + min = scale·(code − centre) + (min + (centre − zero)·scale)
  const shifted = shift === 0 ? undefined : mul(scales, scalar(shift));
  const offsets = mins === undefined ? shifted : shifted === undefined ? mins : add(mins, shifted);
  return offsets === undefined ? product : addProduct(product, blockSums(x, format.block), offsets);
}

/** Rows picked at run time (a weight of rank 3) have no kernel: they are dequantised. */
const quantizedLinear: Rule = ({ node, inputs: [x, w] }) =>
  isLinear(node) && x && w?.rank === 2 && isDequantize(w.node)
    ? [blockLinear(x, w.node.inputs, formatOf(w.node))]
    : undefined;

/** Blocks lie along the rows of W: a product with its transpose is a linear layer (GPT-2's weights). */
const productWithTransposed: Rule = ({ node, inputs: [x, w] }) => {
  const { transA, transB, alpha } = node.attrs;
  const table = isMatmul(node) && x && w && !transA && !transB && alpha === 1 ? untransposed(w) : undefined;
  return x && table && isDequantize(table.node) ? [linear(x, table)] : undefined;
};

const sameFormat = (nodes: readonly Node[]): boolean =>
  nodes.every((node) => isDequantize(node) && node.inputs.length === (nodes[0] as Node).inputs.length) &&
  new Set(nodes.map((node) => JSON.stringify(formatOf(node)))).size === 1;

/** Layers that read the same input, quantised alike: one product over their rows put together. */
const quantizedLinears: Rule = ({ node, inputs: [x, ...ws] }) => {
  if (!isLinears(node) || x === undefined) return undefined;
  const nodes = ws.map((w) => w.node);
  if (!sameFormat(nodes)) return undefined;
  const first = nodes[0] as Node;
  const parts = first.inputs.map((_, i) =>
    concat(
      nodes.map((each) => each.inputs[i] as Value),
      0,
    ),
  );
  return split(
    blockLinear(x, parts, formatOf(first)),
    -1,
    ws.map((w) => w.shape[0] as number),
  );
};
/** What could not be put together stays apart. */
const separateLinears: Rule = ({ node, inputs: [x, ...ws] }) =>
  isLinears(node) ? node.op.body?.([x as Value, ...ws], node.attrs) : undefined;

/** rmsNorm(a + b), where a + b is also wanted: both from one kernel. */
const skipNorm: Rule = ({ node, inputs, users }: Site) => {
  const fused = (sumInputs: readonly Value[], norm: Node): readonly [Value, Value] => {
    const [a, b] = sumInputs as [Value, Value];
    return skipRmsNorm(a, b, norm.inputs[1] as Value, norm.attrs.epsilon as number);
  };
  const plain = (add: Node): boolean =>
    isAdd(add) && (add.inputs[0] as Value).shape.join() === (add.inputs[1] as Value).shape.join();
  const normOf = (add: Node): Node | undefined =>
    users(add).find((user) => isRmsNorm(user) && user.inputs[0]?.node === add);
  if (plain(node)) {
    const norm = normOf(node);
    return norm && [fused(inputs, norm)[1]];
  }
  const summed = node.inputs[0]?.node;
  if (!isRmsNorm(node) || summed === undefined || !plain(summed) || normOf(summed) !== node) return undefined;
  // the sum was rewritten just before into the kernel's second result
  const kernel = (inputs[0] as Value).node;
  return [fused(kernel.inputs.slice(0, 2), node)[0]];
};

/** Rotary embedding, cache update and attention in one kernel. */
const cachedAttentionKernel: Rule = ({ node, inputs }) =>
  isCachedAttention(node) ? groupQueryForm(inputs, node.attrs as unknown as AttentionOptions) : undefined;

/** Attention of texts that are padded and see all of themselves. */
const attentionKernel: Rule = ({ node, inputs }) =>
  isAttention(node) ? multiHeadForm(inputs, node.attrs as unknown as AttentionOptions) : undefined;

/** A weight of a linear layer as the checkpoint has it. */
const isStored = (w: Value): boolean => w.rank === 2 && (w.node.op === weightOp || isDequantize(w.node));

/** The largest magnitudes of each channel of a layer's input, by the checkpoint name of its (first) weight. */
export type Largest = ReadonlyMap<string, Float32Array>;

/** Whether a value is what attention gave, put together from its rows and heads. */
const isAttended = ({ node }: Value): boolean =>
  isAttention(node) ||
  isCachedAttention(node) ||
  ((isReshape(node) || isConcat(node)) && isAttended(node.inputs[0] as Value));

/**
 * A layer in 8-bit integers. Where its input was measured it is smoothed (what attention gave is even enough), and 8 bits a row are
 * enough for what attention gave and for the widest layers, those into an MLP; elsewhere an input takes 16 bits.
 */
function int8Of(node: Node, x: Value, ws: readonly Value[], largest: Largest): Value {
  const measured = largest.get(weightsMultiplied(node)[0] ?? "");
  if (measured === undefined) return int8Linear(x, ws);
  if (isAttended(x)) return int8Linear(x, ws, { isCoarse: true });
  const width = ws.reduce((sum, { shape }) => sum + (shape[0] as number), 0);
  const isWide = width > 3 * (x.shape.at(-1) as number);
  return int8Linear(x, ws, { largest: measured, isCoarse: isWide && (isRmsNorm(x.node) || isLayerNorm(x.node)) });
}

/** Layers that read the same input in one product of 8-bit integers, whatever their weights' forms. */
const int8Linears =
  (largest: Largest): Rule =>
  ({ node, inputs: [x, ...ws] }) => {
    if (!(isLinears(node) || isLinear(node)) || x === undefined || !ws.every(isStored)) return undefined;
    return split(
      int8Of(node, x, ws, largest),
      -1,
      ws.map((w) => w.shape[0] as number),
    );
  };
/** A layer whose weight is [in, out]. */
const int8Matmul =
  (largest: Largest): Rule =>
  ({ node, inputs: [x, w] }) => {
    const { transA, transB, alpha } = node.attrs;
    if (!isMatmul(node) || transA || transB || alpha !== 1 || x === undefined || w === undefined) return undefined;
    const table = untransposed(w) ?? (isStored(w) ? transpose(w, [1, 0]) : undefined);
    return table && [int8Of(node, x, [table], largest)];
  };

const opening: readonly Fusion[] = [
  { name: "tap vanishes", rule: vanishTaps },
  { name: "heads together", rule: headsTogether },
  { name: "gather of quantised rows", rule: gatherQuantized },
];
const blocks: readonly Fusion[] = [
  { name: "quantised linears of one input", rule: quantizedLinears },
  { name: "linears apart", rule: separateLinears },
  { name: "product with a transposed table", rule: productWithTransposed },
  { name: "quantised linear", rule: quantizedLinear },
];
const closing: readonly Fusion[] = [
  { name: "skip + norm", rule: skipNorm },
  { name: "attention over whole texts", rule: attentionKernel },
  { name: "attention over a KV cache", rule: cachedAttentionKernel },
];

/** Weights as the checkpoint has them: quantised blocks, or float32. */
export const fusions: readonly Fusion[] = [...opening, ...blocks, ...closing];
/** Linear layers in 8-bit integers, of whatever weights. @param largest where their inputs were measured */
export const int8Fusions = (largest: Largest = new Map()): readonly Fusion[] => [
  ...opening,
  { name: "8-bit linears of one input", rule: int8Linears(largest) },
  { name: "8-bit product", rule: int8Matmul(largest) },
  { name: "linears apart", rule: separateLinears },
  ...closing,
];

/** The Graph in the runtime's terms: every fusion applied, what has no kernel expanded into primitives. */
export function fuse(g: Graph, list: readonly Fusion[] = fusions): Graph {
  const fused = list.reduce((current, { rule }) => rewrite(current, rule), g);
  return rewrite(
    expand(fused, (node) => node.op.emit === undefined),
    vanishTaps,
  );
}
