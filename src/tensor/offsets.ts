// Offsets inside the kernel: a quantised product whose packed weights carry what its blocks are offset by.
// It does not know how packed weights look (runtime/); it only says which products could, and rewrites those that do.

import { type Graph, nodesOf, rewrite, sortedOutputs } from "./graph.ts";
import { addProduct, blockProduct, blockSums, isAddProduct, isBlockProduct, offsetProduct } from "./linear.ts";
import { type Node, type Value, weightOp } from "./value.ts";

/** A product x · (scale · (code − centre) + offset)ᵀ over weights; names are those of the weights. */
export interface OffsetProduct {
  readonly codes: string;
  /** float32 [rows, blocks] */
  readonly scales: string;
  /** float32 [rows, blocks] */
  readonly offsets: string;
  readonly rows: number;
  readonly blocks: number;
  readonly bits: 4 | 8;
  readonly block: number;
  /** The same product of other rows: [T, blocks · block] → [T, rows]. */
  of(x: Value): Value;
}

const weightName = (value: Value | undefined): string | undefined =>
  value?.node.op === weightOp ? (value.node.attrs.name as string) : undefined;

function read(node: Node): OffsetProduct | undefined {
  const [product, , offsets] = node.inputs;
  if (!isAddProduct(node) || product === undefined || offsets === undefined || !isBlockProduct(product.node))
    return undefined;
  const [, codes, scales] = product.node.inputs as [Value, Value, Value];
  const names = [codes, scales, offsets].map(weightName);
  if (names.includes(undefined)) return undefined;
  const [rows, blocks] = scales.shape as [number, number];
  const format = product.node.attrs as unknown as { readonly bits: 4 | 8; readonly block: number };
  return {
    ...{ codes: names[0] as string, scales: names[1] as string, offsets: names[2] as string, rows, blocks },
    ...{ bits: format.bits, block: format.block },
    of: (x) => addProduct(blockProduct(x, codes, scales, format), blockSums(x, format.block), offsets),
  };
}

/** The products of a fused and folded Graph that add offsets, once for each weight. */
export function offsetProducts(g: Graph): OffsetProduct[] {
  const found = new Map<string, OffsetProduct>();
  for (const node of nodesOf(sortedOutputs(g).map(([, value]) => value))) {
    const product = read(node);
    if (product !== undefined) found.set(product.codes, product);
  }
  return [...found.values()];
}

/** The Graph for weights whose packed form carries the offsets: the products over `codes` are one node each. */
export const withOffsetsInside = (g: Graph, codes: ReadonlySet<string>): Graph =>
  rewrite(g, ({ node, inputs: [product, , offsets] }) => {
    const known = read(node);
    if (known === undefined || !codes.has(known.codes)) return undefined;
    return [offsetProduct((product as Value).node.inputs, offsets as Value, known)];
  });
