// Reverse-mode gradients as graph construction: cotangents flow from a scalar loss back to the values asked for.
// It does not know any op: each op's literal has its own vjp, a function without one is differentiated through its body.
import { expand, type Graph, graph, nodesOf } from "./graph.ts";
import { add } from "./ops.ts";
import { inputOp, type Node, scalar, type Value, weightOp } from "./value.ts";

/**
 * A Graph with `grad.NAME` for each of `wrt` (inputs or weights of `g`), and g's own outputs.
 * @param loss name of a scalar float32 output of g
 */
export function withGradients(g: Graph, loss: string, wrt: Readonly<Record<string, Value>>): Graph {
  const open = expand(g, (node) => node.op.vjp === undefined);
  const root = open.outputs[loss];
  if (root === undefined)
    throw new Error(`the graph has no output "${loss}" to differentiate; it has ${Object.keys(g.outputs).join(", ")}`);
  if (root.rank !== 0) throw new Error(`"${loss}" has shape [${root.shape}]: gradients want a scalar`);
  const targets = Object.entries(wrt);
  const cotangents = backward(
    root,
    targets.map(([, value]) => value),
  );
  const gradients = targets.map(([name], i) => {
    const ct = cotangents[i];
    if (ct === undefined) throw new Error(`"${loss}" does not depend on "${name}": its gradient is zero everywhere`);
    return [`grad.${name}`, ct] as const;
  });
  return graph({ ...open.outputs, ...Object.fromEntries(gradients) }, open.inputs);
}

function backward(root: Value, targets: readonly Value[]): readonly (Value | undefined)[] {
  const order = nodesOf([root]);
  // two inputs or weights of one name are the same, whoever made their nodes
  const leaves = new Map<string, Node>();
  const same = (node: Node): Node => {
    if (node.op !== inputOp && node.op !== weightOp) return node;
    const key = `${node.op.name} ${node.attrs.name}`;
    const first = leaves.get(key) ?? node;
    leaves.set(key, first);
    return first;
  };
  const wanted = new Set(targets.map((value) => same(value.node)));
  // only what lies between the targets and the loss is differentiated
  const carries = new Set<Node>();
  for (const node of order)
    if (wanted.has(same(node)) || node.inputs.some((value) => carries.has(value.node))) carries.add(node);
  const cotangents = new Map<Node, (Value | undefined)[]>();
  const put = (value: Value, ct: Value): void => {
    const node = same(value.node);
    const list = cotangents.get(node) ?? node.types.map(() => undefined);
    const before = list[value.index];
    list[value.index] = before === undefined ? ct : add(before, ct);
    cotangents.set(node, list);
  };
  put(root, scalar(1));
  for (const node of order.toReversed()) {
    const cts = cotangents.get(node);
    if (cts === undefined || !carries.has(node) || node.inputs.length === 0) continue;
    if (node.op.vjp === undefined)
      throw new Error(`op ${node.op.name} is not differentiable, and the loss depends on its inputs through it`);
    const back = node.op.vjp(cts, node);
    node.inputs.forEach((value, i) => {
      const ct = back[i];
      if (ct !== undefined && carries.has(value.node)) put(value, ct);
    });
  }
  return targets.map((value) => cotangents.get(same(value.node))?.[value.index]);
}
