// Positions that nobody reads are not computed: a gather of rows moves before whatever works on each position by itself.
// It does not know ops: each op's literal says whether it is such a one.
import { type Dim, mulDims, sameShape } from "./dim.ts";
import { type Graph, graph, nodesOf, sortedOutputs, valueHash } from "./graph.ts";
import { isReshape, reshape } from "./ops.ts";
import { gather, isGather } from "./products.ts";
import { applyAll, type Node, Value } from "./value.ts";

/** Positions that are gathered: int64 indices into the first two axes [B, T] taken as one. */
interface Places {
  readonly indices: Value;
  readonly hash: string;
}

/** [B, T, …] → [B·T, …]. */
function flattens(node: Node): boolean {
  const [from, to] = [node.inputs[0]?.shape ?? [], node.types[0]?.shape ?? []];
  if (!isReshape(node) || from.length !== to.length + 1 || from.length < 2) return false;
  const [b, t, ...rest] = from as [Dim, Dim];
  return sameShape([mulDims(b, t), ...rest], to);
}

/** Whether a value has a row for each position of `like`. */
const hasRows = (value: Value, like: Value): boolean =>
  value.rank > 2 && value.shape[0] === like.shape[0] && value.shape[1] === like.shape[1];

/** Whether a node of narrow inputs is the narrow node: other inputs are the same for every position. */
function isRowwise(node: Node, { indices }: Places): boolean {
  const kind = node.op.rowwise?.(node.attrs);
  const own = new Value(node, 0);
  const length = own.shape[1];
  if (kind === undefined || own.rank < 3 || typeof length !== "string") return false;
  return node.inputs.every((value, i) => {
    if (hasRows(value, own)) return kind === "all" || i === 0;
    const most = kind === "all" ? 1 : indices.rank === 2 ? value.rank : 2;
    return i > 0 && value.rank <= most && !value.shape.includes(length);
  });
}

/** The Graph with every gather of positions as early as can be; equal results. */
export function narrowRows(g: Graph): Graph {
  const order = nodesOf(sortedOutputs(g).map(([, value]) => value));
  const users = new Map<Node, Node[]>();
  for (const node of order)
    for (const read of new Set(node.inputs.map((value) => value.node)))
      users.set(read, [...(users.get(read) ?? []), node]);
  const outputs = new Set(Object.values(g.outputs).map(({ node }) => node));
  const narrow = new Map<Node, Places>();
  const hashes = new Map<Node, Places | undefined>();

  /** The places at which a reader reads: undefined where it reads others too. */
  const readBy = (reader: Node): Places | undefined => {
    if (narrow.has(reader)) return narrow.get(reader);
    if (!flattens(reader) || outputs.has(reader)) return undefined;
    if (!hashes.has(reader))
      hashes.set(reader, samePlaces((users.get(reader) ?? []).map((user) => placesOf(user, reader))));
    return hashes.get(reader);
  };
  for (const node of order.toReversed()) {
    if (outputs.has(node) || node.op.rowwise === undefined) continue;
    const places = samePlaces((users.get(node) ?? []).map(readBy));
    if (places !== undefined && isRowwise(node, places)) narrow.set(node, places);
  }
  if (narrow.size === 0) return g;

  const results = new Map<Node, readonly Value[]>();
  const mapped = (value: Value): Value => (results.get(value.node) as readonly Value[])[value.index] as Value;
  const at = (value: Value, places: Places, own: Value): Value => {
    if (narrow.has(value.node) || !hasRows(value, own)) return mapped(value);
    const [b, t, ...rest] = value.shape as [number, number];
    return gather(reshape(mapped(value), [mulDims(b, t), ...rest]), mapped(places.indices));
  };
  const visit = (node: Node): readonly Value[] => {
    const places = narrow.get(node);
    if (places !== undefined) {
      const inputs = node.inputs.map((value) => at(value, places, new Value(node, 0)));
      return applyAll(node.op, inputs, node.attrs);
    }
    const [table] = node.inputs;
    const source = isGather(node) && table && flattens(table.node) ? table.node.inputs[0] : undefined;
    if (source !== undefined && narrow.has(source.node)) return [mapped(source)];
    if (flattens(node) && narrow.has((node.inputs[0] as Value).node)) return []; // only read by such gathers
    return applyAll(node.op, node.inputs.map(mapped), node.attrs);
  };
  // indices of places come before what is narrowed to them
  const indices = [...new Set([...narrow.values()].map((places) => places.indices))];
  for (const node of [...nodesOf(indices), ...order]) if (!results.has(node)) results.set(node, visit(node));
  return graph(Object.fromEntries(Object.entries(g.outputs).map(([name, value]) => [name, mapped(value)])), g.inputs);
}

function placesOf(user: Node, table: Node): Places | undefined {
  const [read, indices] = user.inputs;
  if (!isGather(user) || read?.node !== table || indices === undefined) return undefined;
  return { indices, hash: valueHash(indices) };
}

function samePlaces(all: readonly (Places | undefined)[]): Places | undefined {
  const [first] = all;
  return first !== undefined && all.every((places) => places?.hash === first.hash) ? first : undefined;
}
