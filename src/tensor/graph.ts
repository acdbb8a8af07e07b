// A Graph is a set of named Values: what a Program computes. Walking, rewriting, printing, verifying and hashing it.
// It does not know what ops mean; identity is structure, so the order of construction never matters.
import { sameShape } from "./dim.ts";
import { sha256Hex } from "./sha256.ts";
import {
  type Attr,
  type Attrs,
  formatType,
  inputOp,
  type Node,
  type Value,
  Value as ValueClass,
  weightOp,
} from "./value.ts";

export interface Graph {
  readonly outputs: Readonly<Record<string, Value>>;
  /** Inputs that exist whether or not a node reads them: their shapes give symbols their values. */
  readonly inputs: readonly Value[];
}

export const graph = (outputs: Readonly<Record<string, Value>>, inputs: readonly Value[] = []): Graph => ({
  outputs,
  inputs,
});

/** All nodes that the outputs need, inputs before users; deterministic in the structure alone. */
export function nodesOf(outputs: readonly Value[]): Node[] {
  const order: Node[] = [];
  const seen = new Set<Node>();
  const stack: { node: Node; next: number }[] = [];
  for (const output of outputs) {
    if (!seen.has(output.node)) stack.push({ node: output.node, next: 0 });
    seen.add(output.node);
    while (stack.length > 0) {
      const top = stack.at(-1) as { node: Node; next: number };
      const child = top.node.inputs[top.next++]?.node;
      if (child === undefined) {
        order.push(top.node);
        stack.pop();
      } else if (!seen.has(child)) {
        seen.add(child);
        stack.push({ node: child, next: 0 });
      }
    }
  }
  return order;
}

/** Names of the outputs in canonical (sorted) order, with their Values. */
export const sortedOutputs = (g: Graph): [string, Value][] =>
  Object.entries(g.outputs).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));

const nodesOfGraph = (g: Graph): Node[] => nodesOf(sortedOutputs(g).map(([, value]) => value));

export interface Port {
  readonly name: string;
  readonly node: Node;
}
const leaves = (g: Graph, op: object): Port[] => {
  const found = new Map<string, Node>();
  for (const node of nodesOfGraph(g)) if (node.op === op) found.set(node.attrs.name as string, node);
  return [...found].map(([name, node]) => ({ name, node })).sort((a, b) => (a.name < b.name ? -1 : 1));
};
export function inputsOf(g: Graph): Port[] {
  const all = new Map(
    g.inputs.map(({ node }) => [node.attrs.name as string, { name: node.attrs.name as string, node }]),
  );
  for (const port of leaves(g, inputOp)) all.set(port.name, port);
  return [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}
export const weightsOf = (g: Graph): Port[] => leaves(g, weightOp);

// ---- rewriting

export interface Site {
  /** The node as it stands in the Graph that is rewritten. */
  readonly node: Node;
  /** Its inputs, already rewritten. */
  readonly inputs: readonly Value[];
  /** Nodes of the old Graph that read any result of `node`. */
  users(node: Node): readonly Node[];
}
/** What stands in place of a node's results, or undefined to keep it. */
export type Rule = (site: Site) => readonly Value[] | undefined;

/** Rebuilds a Graph bottom-up with one rule; nodes that nothing changes stay the same objects. */
export function rewrite(g: Graph, rule: Rule): Graph {
  const order = nodesOfGraph(g);
  const users = new Map<Node, Node[]>();
  for (const node of order)
    for (const read of new Set(node.inputs.map((value) => value.node))) {
      const list = users.get(read);
      if (list === undefined) users.set(read, [node]);
      else list.push(node);
    }
  const results = new Map<Node, readonly Value[]>();
  const mapped = (value: Value): Value => (results.get(value.node) as readonly Value[])[value.index] as Value;
  for (const node of order) {
    const inputs = node.inputs.map(mapped);
    const replaced = rule({ node, inputs, users: (of) => users.get(of) ?? [] });
    results.set(node, replaced ?? rebuilt(node, inputs));
  }
  const outputs = Object.entries(g.outputs).map(([name, value]) => [name, mapped(value)] as const);
  return graph(Object.fromEntries(outputs), g.inputs);
}

function rebuilt(node: Node, inputs: readonly Value[]): readonly Value[] {
  const same = inputs.every((value, i) => value === node.inputs[i]);
  const simpler = same ? undefined : node.op.simplify?.(inputs, node.attrs);
  if (simpler !== undefined) return simpler;
  const kept: Node = same ? node : { ...node, inputs };
  return node.types.map((_, index) => new ValueClass(kept, index));
}

/** Replaces function nodes that `which` picks by their bodies, and what it picks in those in turn. */
export function expand(g: Graph, which: (node: Node) => boolean): Graph {
  for (let current = g; ; ) {
    let changed = false;
    current = rewrite(current, ({ node, inputs }) => {
      if (!node.op.body || !which(node)) return undefined;
      changed = true;
      return node.op.body(inputs, node.attrs);
    });
    if (!changed) return current;
  }
}

// ---- identity

const nodeHashes = new WeakMap<Node, string>();

function formatAttr(attr: Attr): string {
  if (attr instanceof Uint8Array) return `bytes:${attr.length}:${sha256Hex(attr)}`;
  if (Array.isArray(attr)) return `[${attr.map((x) => (typeof x === "string" ? JSON.stringify(x) : x)).join(",")}]`;
  return typeof attr === "string" ? JSON.stringify(attr) : String(attr);
}
const formatAttrs = (attrs: Attrs): string =>
  Object.keys(attrs)
    .filter((key) => attrs[key] !== undefined)
    .sort()
    .map((key) => `${key}=${formatAttr(attrs[key])}`)
    .join(";");

/** Hash of what a node computes: its op, attributes, result types and the hashes of its inputs. */
export function nodeHash(node: Node): string {
  const known = nodeHashes.get(node);
  if (known !== undefined) return known;
  for (const each of nodesOf(node.types.map((_, i) => new ValueClass(node, i)))) {
    if (nodeHashes.has(each)) continue;
    const inputs = each.inputs.map((value) => `${nodeHashes.get(value.node)}.${value.index}`).join(",");
    const text = `${each.op.name}(${inputs}){${formatAttrs(each.attrs)}}:${each.types.map(formatType).join(",")}`;
    nodeHashes.set(each, sha256Hex(new TextEncoder().encode(text)).slice(0, 32));
  }
  return nodeHashes.get(node) as string;
}

export const valueHash = (value: Value): string => `${nodeHash(value.node)}.${value.index}`;

/** Hash of a Graph: equal for equal programs, in whatever order they were built. */
export const graphHash = (g: Graph): string =>
  sha256Hex(
    new TextEncoder().encode(
      [
        ...sortedOutputs(g).map(([name, value]) => `${name}=${valueHash(value)}`),
        ...g.inputs.map(valueHash).sort(),
      ].join("\n"),
    ),
  );

// ---- reading and checking

/** One line a node: `%7 float32[T,576] = rmsNorm(%6, weight "model.norm.weight") {eps=0.00001}`. */
export function printGraph(g: Graph): string {
  const names = new Map<Node, string>();
  const lines: string[] = [];
  const nameOf = (value: Value) => `${names.get(value.node)}${value.node.types.length > 1 ? `.${value.index}` : ""}`;
  for (const node of nodesOfGraph(g)) {
    if (node.op === inputOp || node.op === weightOp) {
      names.set(node, `${node.op.name} ${JSON.stringify(node.attrs.name)}`);
      lines.push(`${names.get(node)}: ${node.types.map(formatType).join(", ")}`);
      continue;
    }
    names.set(node, `%${lines.length}`);
    const attrs = formatAttrs(node.attrs);
    const results = node.types.map(formatType).join(", ");
    lines.push(
      `%${lines.length} ${results} = ${node.op.name}(${node.inputs.map(nameOf).join(", ")})${attrs && ` {${attrs}}`}`,
    );
  }
  for (const [name, value] of sortedOutputs(g)) lines.push(`output ${JSON.stringify(name)} = ${nameOf(value)}`);
  return lines.join("\n");
}

/** Checks that every node still has the types its op infers and that one name means one type; throws a sentence otherwise. */
export function verify(g: Graph): void {
  if (Object.keys(g.outputs).length === 0) throw new Error("the graph has no outputs: wanted at least one");
  const named = new Map<string, string>();
  for (const node of nodesOfGraph(g)) {
    const inferred = node.op.infer(
      node.inputs.map((value) => value.type),
      node.attrs,
    );
    const agrees =
      inferred.length === node.types.length &&
      inferred.every((type, i) => type.dtype === node.types[i]?.dtype && sameShape(type.shape, node.types[i].shape));
    if (!agrees)
      throw new Error(
        `op ${node.op.name} has results ${node.types.map(formatType).join(", ")}, but infers ${inferred.map(formatType).join(", ")} from its inputs`,
      );
    if (node.op !== inputOp && node.op !== weightOp) continue;
    const key = `${node.op.name} ${JSON.stringify(node.attrs.name)}`;
    const type = node.types.map(formatType).join();
    const before = named.get(key);
    if (before !== undefined && before !== type) throw new Error(`${key} stands for two types: ${before} and ${type}`);
    named.set(key, type);
  }
}
