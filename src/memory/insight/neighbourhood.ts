// What lies around an Episode as a small network of weights: links that are more than chance, mentions by how rare they are
// now. Plain data, so that it can be kept as evidence and looked at again. It does not know what is judged by it.
import { termsOf } from "../../text/mod.ts";
import type { Concept, Link, Network, NodeRef } from "../data-store.ts";
import { type Episode, holdsAt, type Scope } from "../episode.ts";
import { mayMeet, mentionWeight, mostMentions } from "../knowledge.ts";
import type { Parts } from "../parts.ts";
import type { ConsideredText } from "../place.ts";
import { Walk } from "../walk.ts";
import { beyondUsual, leastSimilarity, type Usual, usualOf } from "./usual.ts";

/** The first node is the Episode it is about. */
export interface Neighbourhood {
  readonly nodes: readonly NodeRef[];
  /** Links from the Episode to each. */
  readonly hops: readonly number[];
  readonly edges: readonly NeighbourhoodEdge[];
}

/** Between nodes by their places, a < b. */
export type NeighbourhoodEdge = readonly [a: number, b: number, weight: number];

/** Two hundred nodes beside the Episode itself. */
const LIMITS = { hops: 3, mostNodes: 201, mostLinks: 24 };

/** Undefined while there is too little to compare with. */
export async function readNeighbourhood(parts: Parts, episode: Episode): Promise<Neighbourhood | undefined> {
  const usual = await usualOf(parts);
  if (usual === undefined) return undefined;
  const seed: NodeRef = `episode:${episode.id}`;
  const network = await parts.store.network(parts.namespace, [seed], { ...LIMITS, leastWeight: leastWeight(usual) });
  return await assemble(parts, episode, seed, network, usual);
}

/** As if a text were told now, without storing it: of the same nodes and links as if it had been. */
export async function neighbourhoodOf(parts: Parts, considered: ConsideredText): Promise<Neighbourhood | undefined> {
  const usual = await usualOf(parts);
  if (usual === undefined) return undefined;
  const { told } = considered;
  const seed: NodeRef = `episode:${told.id}`;
  const least = leastWeight(usual);
  const strong = considered.links.filter(({ kind, weight }) => kind !== "similar" || weight >= least.similar);
  const made = new Set(considered.concepts.map(({ id }): NodeRef => `concept:${id}`));
  const ends = new Set(strong.flatMap(({ source, target }) => [source, target]));
  const known = [...ends].filter((ref) => ref !== seed && !made.has(ref));
  const options = { ...LIMITS, hops: LIMITS.hops - 1, leastWeight: least };
  const { links, isWhole } = await parts.store.network(parts.namespace, known, options);
  const all = [...strong, ...links];
  const nodes = within(seed, all, LIMITS.hops).slice(0, LIMITS.mostNodes);
  return await assemble(parts, told, seed, { nodes, links: all, isWhole }, usual, considered);
}

/** Nodes up to so many links from one, nearest first. */
function within(seed: NodeRef, links: readonly Link[], hops: number): Network["nodes"] {
  const beside = new Map<NodeRef, NodeRef[]>();
  for (const { source, target } of links)
    for (const [a, b] of [
      [source, target],
      [target, source],
    ] as const) {
      const others = beside.get(a) ?? [];
      others.push(b);
      beside.set(a, others);
    }
  const walk = new Walk([seed], Infinity);
  for (let hop = 0; hop < hops; hop++) walk.go(walk.level.flatMap((ref) => beside.get(ref) ?? []));
  return [...walk.hopOf].map(([ref, hop]) => ({ ref, hop }));
}

const leastWeight = (usual: Usual) => ({ similar: leastSimilarity(usual) });

async function assemble(
  parts: Parts,
  scope: Scope,
  seed: NodeRef,
  { nodes, links }: Network,
  usual: Usual,
  considered?: ConsideredText,
): Promise<Neighbourhood> {
  const { store, namespace, now } = parts;
  const [episodes, concepts] = await Promise.all([
    store.getEpisodes(namespace, idsOf(nodes, "episode:")),
    store.getConcepts(namespace, idsOf(nodes, "concept:")),
  ]);
  const at = { knownAt: now(), validAt: now() };
  const known = concepts.filter((concept) => concept !== undefined);
  const rarity = await rarityOf(parts, [...known, ...(considered?.concepts ?? [])], considered?.told.text);
  const held = new Set<string>([seed, ...rarity.keys()]);
  for (const one of episodes)
    if (one !== undefined && mayMeet(one, scope) && holdsAt(one, at)) held.add(`episode:${one.id}`);
  const kept = nodes.filter(({ ref }) => held.has(ref));
  const place = new Map(kept.map(({ ref }, i) => [ref, i]));
  const weights = new Map<string, number>();
  for (const { source, target, kind, weight } of links) {
    const [a, b] = [place.get(source), place.get(target)].sort((x, y) => (x ?? -1) - (y ?? -1));
    if (a === undefined || b === undefined || a < 0) continue;
    const own = kind === "similar" ? beyondUsual(weight, usual) : (rarity.get(source) ?? rarity.get(target) ?? weight);
    weights.set(`${a} ${b}`, (weights.get(`${a} ${b}`) ?? 0) + own);
  }
  const edges = [...weights].map(([key, weight]): NeighbourhoodEdge => {
    const [a, b] = key.split(" ").map(Number) as [number, number];
    return [a, b, weight];
  });
  edges.sort((x, y) => x[0] - y[0] || x[1] - y[1]);
  return { nodes: kept.map(({ ref }) => ref), hops: kept.map(({ hop }) => hop), edges };
}

const idsOf = (nodes: readonly { readonly ref: NodeRef }[], start: string): string[] =>
  nodes.filter(({ ref }) => ref.startsWith(start)).map(({ ref }) => ref.slice(start.length));

/** Weight of a mention of each Concept that is rare: words that have become common since link nothing any more. */
async function rarityOf(
  { store, namespace }: Parts,
  concepts: readonly Concept[],
  considered: string | undefined,
): Promise<Map<NodeRef, number>> {
  // a text that is only considered counts as if it were there
  const border = mostMentions((await store.countEpisodes(namespace)) + (considered === undefined ? 0 : 1));
  const own = new Set(considered === undefined ? [] : termsOf(considered));
  const conceptTerms = ({ attributes }: Concept): readonly string[] =>
    (attributes.terms as readonly string[] | undefined) ?? [];
  const terms = [...new Set(concepts.flatMap(conceptTerms))];
  const counts = await store.termCounts(namespace, terms);
  const countOf = new Map(terms.map((term, i) => [term, counts[i] as number]));
  const rare = new Map<NodeRef, number>();
  for (const concept of concepts) {
    // a Concept that no words stand for (a person named by a Writer) is as rare as one of two mentions
    const mentioned = conceptTerms(concept).map((term) => (countOf.get(term) ?? 0) + (own.has(term) ? 1 : 0));
    const mentions = mentioned.length === 0 ? 2 : Math.min(...mentioned);
    if (mentions <= border) rare.set(`concept:${concept.id}`, mentionWeight(mentions));
  }
  return rare;
}
