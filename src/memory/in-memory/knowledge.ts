// Links in memory: what lies around a node, and how links fade. The same rules as the SQL stores have.
// It does not know episodes.
import type { FadeOptions, FadeReport, Link, Network, NetworkOptions, NodeRef } from "../data-store.ts";
import { MOST_LINKS, Walk } from "../walk.ts";
import { linkKey, type NamespaceState } from "./state.ts";

const isWanted = ({ kind, weight }: Link, { kinds, leastWeight }: NetworkOptions): boolean =>
  (kinds === undefined ? kind !== "contradicts" : kinds.includes(kind)) && weight >= (leastWeight?.[kind] ?? 0);

export function hasNode({ rows, concepts }: NamespaceState, ref: NodeRef): boolean {
  const id = ref.slice(ref.indexOf(":") + 1);
  return ref.startsWith("episode:") ? rows.has(id) : concepts.has(id);
}

function around(state: NamespaceState, seeds: readonly NodeRef[], options: NetworkOptions) {
  const { hops, mostNodes, mostLinks = MOST_LINKS } = options;
  const ends = new Map<NodeRef, Map<NodeRef, number>>();
  const note = (from: NodeRef, to: NodeRef, weight: number) => {
    const of = ends.get(from) ?? new Map<NodeRef, number>();
    of.set(to, Math.max(weight, of.get(to) ?? 0));
    ends.set(from, of);
  };
  for (const link of state.links.values()) {
    if (!isWanted(link, options)) continue;
    const { source, target, weight } = link;
    note(source, target, weight);
    note(target, source, weight);
  }
  const known = [...new Set(seeds)].filter((seed) => hasNode(state, seed));
  const walk = new Walk(known, mostNodes);
  for (let hop = 1; hop <= hops && walk.level.length > 0; hop++)
    walk.go(
      walk.level.flatMap((node) =>
        [...(ends.get(node) ?? [])]
          .sort((a, b) => b[1] - a[1])
          .slice(0, mostLinks)
          .map(([other]) => other),
      ),
    );
  return walk;
}

export function neighboursOf(state: NamespaceState, node: NodeRef, options: NetworkOptions): NodeRef[][] {
  if (!hasNode(state, node)) return [];
  const levels: NodeRef[][] = Array.from({ length: options.hops }, () => []);
  for (const [ref, hop] of around(state, [node], options).hopOf) if (hop > 0) levels[hop - 1]?.push(ref);
  return levels;
}

export function networkOf(state: NamespaceState, seeds: readonly NodeRef[], options: NetworkOptions): Network {
  const { hopOf, isWhole } = around(state, seeds, options);
  const links = [...state.links.values()].filter(
    (link) => hopOf.has(link.source) && hopOf.has(link.target) && isWanted(link, options),
  );
  return { nodes: [...hopOf].map(([ref, hop]) => ({ ref, hop })), links, isWhole };
}

/** Concepts that nothing links to, pinned ones apart, are gone afterwards; how many. */
export function dropAlone({ links, concepts }: NamespaceState, ids: Iterable<string>): number {
  const linked = new Set<string>();
  for (const { source, target } of links.values()) linked.add(source).add(target);
  let dropped = 0;
  for (const id of [...ids])
    if (concepts.get(id)?.isPinned === false && !linked.has(`concept:${id}`)) {
      concepts.delete(id);
      dropped++;
    }
  return dropped;
}

export function fadeLinks(state: NamespaceState, { mostLinks, leastWeight, decay }: FadeOptions): FadeReport {
  const fading = [...state.links.values()].filter(({ kind }) => kind !== "contradicts");
  const pairKey = ({ source, target }: Link) => (source < target ? `${source}\n${target}` : `${target}\n${source}`);
  const weights = new Map<string, number>();
  for (const link of fading) weights.set(pairKey(link), Math.max(link.weight, weights.get(pairKey(link)) ?? 0));
  const byNode = new Map<string, [key: string, weight: number][]>();
  for (const [key, weight] of weights)
    if (weight >= leastWeight)
      for (const node of key.split("\n")) byNode.set(node, [...(byNode.get(node) ?? []), [key, weight]]);
  const kept = new Set<string>();
  for (const pairs of byNode.values())
    for (const [key] of pairs.sort((a, b) => b[1] - a[1]).slice(0, mostLinks)) kept.add(key);
  let removedLinks = 0;
  for (const link of fading)
    if (kept.has(pairKey(link))) state.links.set(linkKey(link), { ...link, weight: link.weight * decay });
    else {
      state.links.delete(linkKey(link));
      removedLinks++;
    }
  return {
    removedLinks,
    fadedLinks: fading.length - removedLinks,
    removedConcepts: dropAlone(state, state.concepts.keys()),
  };
}
