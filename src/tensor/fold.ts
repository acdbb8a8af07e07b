// Folding: what depends on weights and constants alone is a weight too, computed once when a model is prepared.
// It does not know where weights live; it only names the derived ones by what they compute.
import { evaluateDim, sizeOf } from "./dim.ts";
import { type Graph, graph, nodeHash, nodesOf, rewrite, sortedOutputs } from "./graph.ts";
import { constantOp, inputOp, type Node, Value, weight, weightOp } from "./value.ts";

export interface Folded {
  /** The Graph with derived weights in place of their expressions. */
  readonly graph: Graph;
  /** What each derived weight is: a Graph of weights alone whose outputs carry the derived weights' names. */
  readonly derived: Graph;
}

/** Smaller results of constants alone stay in the Graph. What depends on weights always folds: kernels pack their weights only where all of them are fixed. */
const WORTH_ELEMENTS = 64;

/** Separates expressions of weights and constants alone. Names are `folded.<hash>`: equal expressions are one weight. */
export function fold(g: Graph): Folded {
  const outputs = sortedOutputs(g).map(([, value]) => value);
  const fixed = new Set<Node>();
  const weighted = new Set<Node>();
  for (const node of nodesOf(outputs)) {
    const leaf = node.op === weightOp || node.op === constantOp;
    const computed = node.inputs.length > 0 && node.inputs.every((value) => fixed.has(value.node)) && isStatic(node);
    const generated = node.op !== inputOp && node.inputs.length === 0 && isStatic(node);
    if (leaf || computed || generated) fixed.add(node);
    if (node.op === weightOp || node.inputs.some((value) => weighted.has(value.node))) weighted.add(node);
  }
  const derived: Record<string, Value> = {};
  const replaced = rewrite(g, ({ node }) => {
    if (!fixed.has(node) || node.op === weightOp || node.op === constantOp || !(weighted.has(node) || isWorth(node)))
      return undefined;
    return node.types.map((type, index) => {
      const value = new Value(node, index);
      const name = `folded.${nodeHash(node).slice(0, 24)}${node.types.length > 1 ? `.${index}` : ""}`;
      derived[name] = value;
      return weight(name, type.dtype, type.shape);
    });
  });
  const used = new Set(nodesOf(sortedOutputs(replaced).map(([, value]) => value)).map((node) => node.attrs.name));
  const kept = Object.entries(derived).filter(([name]) => used.has(name));
  return { graph: replaced, derived: graph(Object.fromEntries(kept)) };
}

const isStatic = (node: Node): boolean =>
  node.types.every((type) => type.shape.every((dim) => typeof dim === "number"));
const isWorth = (node: Node): boolean =>
  isStatic(node) && node.types.some((type) => evaluateDim(sizeOf(type.shape), {}) >= WORTH_ELEMENTS);
