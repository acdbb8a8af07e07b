// What the original's formulas ask of a small graph without weights: paths, efficiency, clustering, circles around nodes.
// It does not know the formulas (compat.ts).

export interface PlainGraph {
  /** Numbers of the nodes, in order. */
  readonly nodes: readonly number[];
  readonly edges: readonly (readonly [number, number])[];
}

type Neighbours = ReadonlyMap<number, ReadonlySet<number>>;

export function neighboursOf({ nodes, edges }: PlainGraph): Neighbours {
  const all = new Map(nodes.map((node) => [node, new Set<number>()]));
  for (const [a, b] of edges) {
    all.get(a)?.add(b);
    all.get(b)?.add(a);
  }
  return all;
}

export const hasEdge = (neighbours: Neighbours, a: number, b: number): boolean => neighbours.get(a)?.has(b) ?? false;

/** Links between any two nodes that are connected, by source and target. */
function distancesOf(graph: PlainGraph): Map<number, Map<number, number>> {
  const neighbours = neighboursOf(graph);
  return new Map(
    graph.nodes.map((source) => {
      const found = new Map([[source, 0]]);
      for (const [node, distance] of found)
        for (const next of neighbours.get(node) ?? []) if (!found.has(next)) found.set(next, distance + 1);
      return [source, found];
    }),
  );
}

/** 0.7 · mean of 1/distance + 0.3 · mean clustering; 0 for an empty graph. */
export function efficiencyOf(graph: PlainGraph): number {
  const count = graph.nodes.length;
  if (count === 0) return 0;
  let closeness = 0;
  for (const [source, found] of distancesOf(graph))
    for (const [target, distance] of found) if (target !== source) closeness += 1 / distance;
  const neighbours = neighboursOf(graph);
  let clustering = 0;
  for (const node of graph.nodes) {
    const own = [...(neighbours.get(node) as ReadonlySet<number>)];
    if (own.length < 2) continue;
    const closed = own.flatMap((a, i) => own.slice(0, i).filter((b) => hasEdge(neighbours, a, b))).length;
    clustering += (2 * closed) / (own.length * (own.length - 1));
  }
  const pairs = count * (count - 1);
  return 0.7 * (pairs === 0 ? 0 : closeness / pairs) + (0.3 * clustering) / count;
}

export function subgraphOf(graph: PlainGraph, kept: ReadonlySet<number>): PlainGraph {
  return {
    nodes: graph.nodes.filter((node) => kept.has(node)),
    edges: graph.edges.filter(([a, b]) => kept.has(a) && kept.has(b)),
  };
}

/** What lies within `hops` links of the focal nodes. */
export function circleOf(graph: PlainGraph, focal: readonly number[], hops: number): PlainGraph {
  const neighbours = neighboursOf(graph);
  const kept = new Set(focal.filter((node) => neighbours.has(node)));
  let circle = [...kept];
  for (let hop = 0; hop < hops; hop++) {
    circle = circle.flatMap((node) => [...(neighbours.get(node) ?? [])]);
    for (const node of circle) kept.add(node);
  }
  return subgraphOf(graph, kept);
}

/** Mean distance of connected pairs; 0 where there are none. */
function meanDistance(graph: PlainGraph): number {
  let [sum, count] = [0, 0];
  for (const [source, found] of distancesOf(graph))
    for (const [target, distance] of found)
      if (target > source) {
        sum += distance;
        count++;
      }
  return count === 0 ? 0 : sum / count;
}

const clamp = (value: number): number => Math.max(-1, Math.min(1, value));

/** (Lb − La) / Lb over the pairs that were connected before and still are, within −1 and 1. Islands that are joined gain nothing. */
export function fixedPairsGain(
  before: PlainGraph,
  after: PlainGraph,
): { readonly gain: number; readonly meanBefore: number; readonly pairs: number } {
  const later = distancesOf(after);
  let [sumBefore, pairs, sumAfter, still] = [0, 0, 0, 0];
  for (const [source, found] of distancesOf(before))
    for (const [target, distance] of found) {
      if (target <= source) continue;
      sumBefore += distance;
      pairs++;
      const now = later.get(source)?.get(target);
      if (now === undefined) continue;
      sumAfter += now;
      still++;
    }
  const meanBefore = pairs === 0 ? 0 : sumBefore / pairs;
  if (still === 0 || meanBefore <= 0) return { gain: 0, meanBefore, pairs };
  return { gain: clamp((meanBefore - sumAfter / still) / meanBefore), meanBefore, pairs };
}

/** (Lb − La) / Lb of mean distances over connected pairs, within −1 and 1. Islands that are joined lose by it. */
export function connectedGain(before: PlainGraph, after: PlainGraph): number {
  const mean = meanDistance(before);
  return mean <= 0 ? 0 : clamp((mean - meanDistance(after)) / mean);
}
