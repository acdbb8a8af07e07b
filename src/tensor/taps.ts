// Asking for HookPoints: their values as outputs, with the functions that hide them opened up.
// It does not know what is done with the values.
import { isTap } from "./functions.ts";
import { expand, type Graph, graph, nodesOf, rewrite, sortedOutputs } from "./graph.ts";
import { input, type Node, type TensorType, Value } from "./value.ts";

const tapsOf = (g: Graph): Map<string, Node> => {
  const found = new Map<string, Node>();
  for (const node of nodesOf(sortedOutputs(g).map(([, value]) => value)))
    if (isTap(node)) found.set(node.attrs.name as string, node);
  return found;
};

/** Names of all HookPoints of a Graph, also of those inside functions. */
export const hookPoints = (g: Graph): string[] => [...tapsOf(expand(g, hides)).keys()];

/** A function with a `hook` attribute has HookPoints inside. */
const hides = (node: Node): boolean => node.attrs.hook !== undefined;

/** The Graph with the values at the named HookPoints as further outputs of those names. */
export function withTaps(g: Graph, names: readonly string[]): Graph {
  const asked = new Set(names);
  const open = expand(g, (node) => hides(node) && names.some((name) => name.startsWith(`${node.attrs.hook}.`)));
  const taps = tapsOf(open);
  const outputs: Record<string, Value> = { ...open.outputs };
  for (const name of asked) {
    const node = taps.get(name);
    if (node === undefined) throw new Error(`there is no HookPoint "${name}"; there are ${hookPoints(g).join(", ")}`);
    outputs[name] = new Value(node, 0);
  }
  return graph(outputs, g.inputs);
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
