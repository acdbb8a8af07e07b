// Reverse-mode gradients as graph construction: cotangents flow from a scalar loss back to the values asked for.
// It does not know any op: each op's literal has its own vjp, a function without one is differentiated through its body.
import { IroriError } from "../base/mod.ts";
import { recomputing } from "./checkpoints.ts";
import { expand, type Graph, graph, nodesOf, rewrite } from "./graph.ts";
import { lossOfLinear } from "./losses.ts";
import { add } from "./ops.ts";
import { inputOp, type Node, scalar, type Value, weightOp } from "./value.ts";

export interface GradientOptions {
  /** Names of outputs of the Graph: the gradient by their values too. */
  readonly at?: readonly string[];
  /** HookPoints between which forward values are computed again rather than kept (less memory, about a third more time). */
  readonly checkpoints?: readonly string[];
}

/**
 * A Graph with `grad.NAME` for each of `wrt`, and g's own outputs.
 * @param loss name of a scalar float32 output of g
 * @param wrt inputs or weights of g, under names of the caller's
 */
export function withGradients(
  g: Graph,
  loss: string,
  wrt: Readonly<Record<string, Value>>,
  { at = [], checkpoints = [] }: GradientOptions = {},
): Graph {
  const open = expand(rewrite(g, lossOfLinear), (node) => node.op.vjp === undefined);
  const root = outputOf(open, loss);
  if (root.rank !== 0)
    throw new IroriError("bad-input", {
      what: `gradients of "${loss}"`,
      got: `shape [${root.shape}]`,
      wanted: "a scalar",
    });
  const targets = [...Object.entries(wrt), ...at.map((name) => [name, outputOf(open, name)] as const)];
  const cotangents = backward(
    root,
    targets.map(([, value]) => value),
    checkpoints,
  );
  const gradients = targets.map(([name], i) => {
    const ct = cotangents[i];
    if (ct !== undefined) return [`grad.${name}`, ct] as const;
    throw new IroriError("bad-input", {
      what: `"${loss}" does not depend on ${name}: its gradient is zero everywhere`,
    });
  });
  return graph({ ...open.outputs, ...Object.fromEntries(gradients) }, open.inputs);
}

function outputOf({ outputs }: Graph, name: string): Value {
  const value = outputs[name];
  if (value !== undefined) return value;
  throw new IroriError("bad-input", {
    what: "gradients of an output",
    got: name,
    wanted: Object.keys(outputs).join(", "),
  });
}

function backward(
  root: Value,
  targets: readonly Value[],
  checkpoints: readonly string[],
): readonly (Value | undefined)[] {
  const order = nodesOf([root]);
  const again = checkpoints.length === 0 ? (node: Node) => node : recomputing(order, checkpoints);
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
  const readers = new Map<Node, Node>();
  const put = (value: Value, ct: Value, reader?: Node): void => {
    const node = same(value.node);
    if (reader !== undefined && !readers.has(node)) readers.set(node, reader);
    const list = cotangents.get(node) ?? node.types.map(() => undefined);
    const before = list[value.index];
    list[value.index] = before === undefined ? ct : add(before, ct);
    cotangents.set(node, list);
  };
  put(root, scalar(1));
  for (const node of order.toReversed()) {
    const cts = cotangents.get(node);
    if (cts === undefined || !carries.has(node) || node.inputs.length === 0) continue;
    if (node.op.vjp === undefined) throw notDifferentiable(node, readers);
    const back = node.op.vjp(cts, again(node, cts.find((ct) => ct !== undefined) as Value));
    node.inputs.forEach((value, i) => {
      const ct = back[i];
      if (ct !== undefined && carries.has(value.node)) put(value, ct, node);
    });
  }
  return targets.map((value) => cotangents.get(same(value.node))?.[value.index]);
}

/** Names the op, and the ops on the way from the loss to it. */
function notDifferentiable(node: Node, readers: ReadonlyMap<Node, Node>): IroriError {
  const way = [node.op.name];
  for (let at = readers.get(node); at !== undefined; at = readers.get(at))
    way.push(at.attrs.name === undefined ? at.op.name : `${at.op.name} ${at.attrs.name}`);
  const shown = way.length > 8 ? [...way.slice(0, 4), `(${way.length - 7} more)`, ...way.slice(-3)] : way;
  return new IroriError("unsupported", {
    what: `op ${node.op.name} has no gradient, and the loss depends on its inputs through it`,
    got: `the way: ${shown.reverse().join(" ← ")}`,
    next: "give the op a vjp, or ask for gradients of what lies after it",
  });
}
