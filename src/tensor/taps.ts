// Asking for HookPoints: their values as outputs, with the functions that hide them opened up.
// It does not know what is done with the values.
import { isTap } from "./functions.ts";
import { expand, type Graph, graph, nodesOf, sortedOutputs } from "./graph.ts";
import { type Node, Value } from "./value.ts";

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
  return graph(outputs);
}
