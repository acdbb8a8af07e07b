// Asking for HookPoints: their values as outputs, with the functions that hide them opened up.
// It does not know what is done with the values.
import { isTap, tap } from "./functions.ts";
import { type Graph, graph, nodesOf, rewrite, sortedOutputs } from "./graph.ts";
import { input, type Node, type TensorType, Value } from "./value.ts";

const tapsOf = (g: Graph): Map<string, Node> => {
  const found = new Map<string, Node>();
  for (const node of nodesOf(sortedOutputs(g).map(([, value]) => value)))
    if (isTap(node)) found.set(node.attrs.name as string, node);
  return found;
};

/** Names of all HookPoints of a Graph, also of those inside functions. */
export const hookPoints = (g: Graph): string[] =>
  [...tapsOf(open(g, () => true))].flatMap(([name, { attrs }]) => (attrs.isCut ? [] : [name]));

/** Whether a tap of that name is in sight, outside of functions. */
export const hasTap = (g: Graph, name: string): boolean => tapsOf(g).has(name);

/** Names of the HookPoints inside a function, for as long as it is closed. */
const inside = (node: Node): readonly string[] =>
  node.attrs.hook === undefined ? [] : (node.op.hooks ?? []).map((name) => `${node.attrs.hook}.${name}`);

/** Opens the functions with HookPoints inside that are asked for. */
function open(g: Graph, isAsked: (name: string) => boolean): Graph {
  for (let current = g; ; ) {
    let isChanged = false;
    current = rewrite(current, ({ node, inputs }) => {
      if (!inside(node).some(isAsked)) return undefined;
      isChanged = true;
      return (node.op.opened ?? node.op.body)?.(inputs, node.attrs);
    });
    if (!isChanged) return current;
  }
}

/** The Graph with the named HookPoints in sight: functions around them opened, others closed. Throws for names there are none of. */
export function openTaps(g: Graph, names: Iterable<string>): Graph {
  const asked = new Set(names);
  const opened = open(g, (name) => asked.has(name));
  const taps = tapsOf(opened);
  for (const name of asked)
    if (!taps.has(name)) throw new Error(`there is no HookPoint "${name}"; there are ${hookPoints(g).join(", ")}`);
  return opened;
}

/** The Graph with the values at the named HookPoints as further outputs of those names. */
export function withTaps(g: Graph, names: readonly string[]): Graph {
  const opened = openTaps(g, names);
  const taps = tapsOf(opened);
  const outputs: Record<string, Value> = { ...opened.outputs };
  for (const name of names) outputs[name] = new Value(taps.get(name) as Node, 0);
  return graph(outputs, g.inputs);
}

/** The Graph with other values at HookPoints: `change` gets the value there, and what it gives is captured and read on. */
export function rewriteTaps(g: Graph, changes: ReadonlyMap<string, (value: Value) => Value>): Graph {
  return rewrite(openTaps(g, changes.keys()), ({ node, inputs: [value] }) => {
    const change = isTap(node) ? changes.get(node.attrs.name as string) : undefined;
    return change && [tap(change(value as Value), node.attrs.name as string)];
  });
}

/**
 * Cuts a Graph into stages that run one after another: what is computed up to the first named HookPoint, from there to the
 * second, and so on. A HookPoint's value is an output of one stage and an input of the next, under its name. Each output
 * belongs to the last stage it depends on; all stages have the Graph's declared inputs.
 */
export function cutAtTaps(g: Graph, names: readonly string[]): Graph[] {
  const taps = tapsOf(g);
  const cuts = names.map((name) => {
    const node = taps.get(name);
    if (node === undefined) throw new Error(`there is no HookPoint "${name}" to cut at`);
    return {
      name,
      node,
      replacement: input(name, (node.types[0] as TensorType).dtype, (node.types[0] as TensorType).shape),
    };
  });
  // a node's stage: the last cut that it depends on
  const stageOf = new Map<Node, number>();
  for (const node of nodesOf(sortedOutputs(g).map(([, value]) => value))) {
    const own = cuts.findIndex((cut) => cut.node === node) + 1;
    stageOf.set(node, Math.max(own, ...node.inputs.map((value) => stageOf.get(value.node) as number), 0));
  }
  return [...cuts, undefined].map((end, stage) => {
    const outputs = Object.entries(g.outputs).filter(([, { node }]) => stageOf.get(node) === stage);
    const all = Object.fromEntries(end ? [...outputs, [end.name, end.node.inputs[0] as Value]] : outputs);
    return rewrite(graph(all, g.inputs), ({ node }) => {
      const cut = cuts.find((each) => each.node === node);
      return cut && [cut.replacement];
    });
  });
}
