// A Graph's weights in parts: what reads a weight stands alone, so that a model's weights can be packed a few at a time.
// It does not know what packing is.
import { evaluateDim, sizeOf } from "./dim.ts";
import { type Graph, graph, nodesOf, sortedOutputs } from "./graph.ts";
import { constantOp, input, type Node, type TensorType, Value, weightOp } from "./value.ts";

const ELEMENT_BYTES = { float32: 4, int64: 8, int32: 4, uint8: 1, int8: 1, bool: 1 } as const;

/** Bytes of a Value whose shape is fixed. */
const bytesOf = ({ dtype, shape }: TensorType): number => evaluateDim(sizeOf(shape), {}) * ELEMENT_BYTES[dtype];

/** A Graph's outputs, fixed in shape, a few at a time: at most `mostBytes` of them in each Graph (a larger one alone). */
export function outputParts(g: Graph, mostBytes: number): Graph[] {
  const parts: [name: string, value: Value][][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const output of sortedOutputs(g)) {
    const own = bytesOf(output[1].type);
    if (bytes + own > mostBytes) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1)?.push(output);
    bytes += own;
  }
  return parts.map((outputs) => graph(Object.fromEntries(outputs), g.inputs));
}

/** Nodes that share weights, and the bytes of these. */
interface Group {
  readonly nodes: Node[];
  readonly weights: Map<string, number>;
}

/**
 * Graphs of every node that reads weights, over inputs in place of what else it reads: each weight in one of them, with all
 * its readers, and at most `mostBytes` of weights in each (but for larger ones, which stand alone).
 */
export function weightParts(g: Graph, mostBytes: number): Graph[] {
  const parts: Graph[] = [];
  let nodes: Node[] = [];
  let bytes = 0;
  const close = (): void => {
    if (nodes.length > 0) parts.push(partOf(nodes, g.inputs));
    [nodes, bytes] = [[], 0];
  };
  for (const group of groupsOf(g)) {
    const own = [...group.weights.values()].reduce((a, b) => a + b, 0);
    if (bytes + own > mostBytes) close();
    nodes.push(...group.nodes);
    bytes += own;
  }
  close();
  return parts;
}

/** In the order of their first nodes. */
function groupsOf(g: Graph): Iterable<Group> {
  const groups = new Set<Group>();
  const groupOf = new Map<string, Group>();
  for (const node of nodesOf(sortedOutputs(g).map(([, value]) => value))) {
    const weights = node.inputs.filter((value) => value.node.op === weightOp);
    if (weights.length === 0) continue;
    const named = weights.map((value) => [value.node.attrs.name as string, bytesOf(value.type)] as const);
    const known = new Set(named.map(([name]) => groupOf.get(name)).filter((group) => group !== undefined));
    const [group = { nodes: [], weights: new Map<string, number>() }, ...others] = known;
    for (const other of others) {
      group.nodes.push(...other.nodes);
      for (const [name, bytes] of other.weights) group.weights.set(name, bytes);
      groups.delete(other);
    }
    group.nodes.push(node);
    for (const [name, bytes] of named) group.weights.set(name, bytes);
    for (const name of group.weights.keys()) groupOf.set(name, group);
    groups.add(group);
  }
  return groups;
}

/** The nodes over inputs of their own; those of the whole Graph are kept, since they give symbols their values. */
function partOf(nodes: readonly Node[], inputs: readonly Value[]): Graph {
  const outputs: Record<string, Value> = {};
  let count = 0;
  for (const [i, node] of nodes.entries()) {
    const own = node.inputs.map(({ node: read, index }) => {
      if (read.op === weightOp || read.op === constantOp) return new Value(read, index);
      const { dtype, shape } = read.types[index] as TensorType;
      return input(`read.${count++}`, dtype, shape);
    });
    const alone: Node = { ...node, inputs: own };
    for (const index of node.types.keys()) outputs[`result.${i}.${index}`] = new Value(alone, index);
  }
  return graph(outputs, inputs);
}
