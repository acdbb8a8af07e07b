// Ranked Episodes for a query: by vector, by terms and by what they are linked with, fused by reciprocal ranks, without
// near-duplicates. It does not know how answers are written.
import { IroriError } from "../base/mod.ts";
import { termsOf } from "../text/mod.ts";
import type { Found, NodeRef } from "./data-store.ts";
import { checkText, type Episode, type Scalar, type Scope } from "./episode.ts";
import { type Filter, matches } from "./filter.ts";
import { personalisedPageRank } from "./page-rank.ts";
import type { Parts } from "./parts.ts";
import { dot } from "./vectors/lists.ts";

export interface RecallOptions extends Scope {
  /** Default: the setting recallCount, 10. */
  readonly count?: number | undefined;
  readonly metadata?: Readonly<Record<string, Scalar>> | undefined;
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly uri?: string | undefined;
  /** What was known then. Default: now. */
  readonly asOf?: number | undefined;
  /** What held then. Default: `asOf`. */
  readonly validAt?: number | undefined;
  /** Which ways of finding are used. Default all. */
  readonly by?: readonly Way[] | undefined;
  /** Cosine that an episode must reach. Default: none. */
  readonly least?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export type Way = "vector" | "text" | "knowledge";

/** Where a way of finding has an episode, from 1, and its own score: cosine, BM25, share of the walk. */
export interface Place {
  readonly rank: number;
  readonly score: number;
}

export interface Recalled {
  readonly episode: Episode;
  /** 0 to 1: 1 is the first in every way that was asked; by rank, so it compares within one Recall only. */
  readonly score: number;
  /** Cosine with the query. */
  readonly similarity: number;
  readonly ways: Readonly<Partial<Record<Way, Place>>>;
}

export interface Recall {
  readonly query: string;
  readonly recalled: readonly Recalled[];
  /** Episodes that were left out because they say nearly the same as one that is in, with that one's id. */
  readonly alike: readonly { readonly id: string; readonly as: string }[];
}

const MOST_COUNT = 1_000;
/** Of reciprocal rank fusion: 60, as in the paper that proposed it. */
const RANK_SHIFT = 60;
const WEIGHTS: Readonly<Record<Way, number>> = { vector: 1, text: 1, knowledge: 0.5 };
const WAYS: readonly Way[] = ["vector", "text", "knowledge"];
/** Links followed from the best finds, and how many nodes are looked at. */
const NEIGHBOURHOOD = { hops: 2, mostNodes: 256, mostLinks: 16 };
const SEEDS = 8;
/** From this cosine on two episodes say the same. */
const ALIKE = 0.96;

export async function recall(parts: Parts, query: string, options: RecallOptions = {}): Promise<Recall> {
  checkText(query);
  const { count = parts.settings.recallCount, by = WAYS, least = -1, signal } = options;
  if (!(Number.isInteger(count) && count >= 1 && count <= MOST_COUNT))
    throw new IroriError("bad-input", { what: "how many to recall", got: count, wanted: `1 to ${MOST_COUNT}` });
  const { store, namespace, embedder } = parts;
  const filter = filterOf(options, parts.now());
  const [vector] = (await embedder.embed([query], { signal })) as [Float32Array];
  const pool = { count: Math.max(40, count * 4), filter };
  const [byVector = [], byText] = await Promise.all([
    by.includes("vector") || by.includes("knowledge")
      ? store.searchByVector(namespace, [vector], pool).then(([near]) => near)
      : [],
    by.includes("text") || by.includes("knowledge") ? store.searchByTerms(namespace, termsOf(query), pool) : [],
  ]);
  const byKnowledge = by.includes("knowledge") ? await around(parts, byVector, byText, filter) : [];
  const lists = { vector: byVector, text: byText, knowledge: byKnowledge };
  const fused = fuse(WAYS.filter((way) => by.includes(way)).map((way) => [way, lists[way]]));
  return await select(parts, query, vector, fused, { count, least });
}

/** What may be recalled: the scope's, known and valid at the moment. */
function filterOf(options: RecallOptions, now: number): Filter {
  const { user, agent, thread, metadata, from, to, uri, asOf, validAt } = options;
  const at = { knownAt: asOf ?? now, validAt: validAt ?? asOf ?? now };
  return { user, agent, thread, metadata, from, to, uri, at };
}

/** Episodes around the best finds, by their share of a walk over links that keeps returning to those. */
async function around(
  { store, namespace }: Parts,
  byVector: readonly Found[],
  byText: readonly Found[],
  filter: Filter,
): Promise<Found[]> {
  const seeds = new Map<NodeRef, number>();
  for (const list of [byVector, byText])
    for (const [i, { episode }] of list.slice(0, SEEDS).entries()) {
      const ref: NodeRef = `episode:${episode.id}`;
      seeds.set(ref, (seeds.get(ref) ?? 0) + 1 / (RANK_SHIFT + i + 1));
    }
  if (seeds.size === 0) return [];
  const { nodes, links } = await store.network(namespace, [...seeds.keys()], NEIGHBOURHOOD);
  const indexOf = new Map(nodes.map(({ ref }, i) => [ref, i]));
  const edges = links.map(({ source, target, weight }) => ({
    a: indexOf.get(source) as number,
    b: indexOf.get(target) as number,
    weight,
  }));
  const start = new Map(
    [...seeds].map(([ref, weight]) => [indexOf.get(ref), weight]).filter(([node]) => node !== undefined) as [
      number,
      number,
    ][],
  );
  if (start.size === 0) return [];
  const shares = personalisedPageRank(nodes.length, edges, start);
  const ranked = nodes
    .map(({ ref }, i) => ({ ref, share: shares[i] as number }))
    .filter(({ ref }) => ref.startsWith("episode:"))
    .sort((a, b) => b.share - a.share || (a.ref < b.ref ? -1 : 1))
    .slice(0, 80);
  const episodes = await store.getEpisodes(
    namespace,
    ranked.map(({ ref }) => ref.slice("episode:".length)),
  );
  return ranked.flatMap(({ share }, i) => {
    const episode = episodes[i];
    return episode !== undefined && matches(episode, filter) ? [{ episode, score: share }] : [];
  });
}

interface Fused {
  readonly episode: Episode;
  readonly score: number;
  readonly ways: Partial<Record<Way, Place>>;
}

/** Reciprocal rank fusion: Σ weight / (60 + rank), over what the first place everywhere would have. */
function fuse(lists: readonly (readonly [Way, readonly Found[]])[]): Fused[] {
  const found = new Map<string, { episode: Episode; sum: number; ways: Partial<Record<Way, Place>> }>();
  const most = lists.reduce((sum, [way]) => sum + WEIGHTS[way] / (RANK_SHIFT + 1), 0);
  for (const [way, list] of lists)
    for (const [i, { episode, score }] of list.entries()) {
      const entry = found.get(episode.id) ?? { episode, sum: 0, ways: {} };
      entry.sum += WEIGHTS[way] / (RANK_SHIFT + i + 1);
      entry.ways[way] = { rank: i + 1, score };
      found.set(episode.id, entry);
    }
  return [...found.values()]
    .map(({ episode, sum, ways }) => ({ episode, score: sum / most, ways }))
    .sort((a, b) => b.score - a.score || (a.episode.id < b.episode.id ? -1 : 1));
}

/** The best, each unlike those before it (maximal marginal relevance with a border instead of a slope). */
async function select(
  { store, namespace, working }: Parts,
  query: string,
  vector: Float32Array,
  fused: readonly Fused[],
  { count, least }: { readonly count: number; readonly least: number },
): Promise<Recall> {
  const pool = fused.slice(0, count * 3);
  const vectors = await working.vectorsOf(
    store,
    namespace,
    pool.map(({ episode }) => episode),
  );
  const recalled: Recalled[] = [];
  const kept: { readonly id: string; readonly vector: Float32Array }[] = [];
  const alike: { id: string; as: string }[] = [];
  for (const [i, { episode, score, ways }] of pool.entries()) {
    const own = vectors[i];
    if (own === undefined || recalled.length === count) continue;
    const similarity = dot(own, vector);
    if (similarity < least) continue;
    const twin = kept.find((other) => dot(other.vector, own) >= ALIKE);
    if (twin !== undefined) {
      alike.push({ id: episode.id, as: twin.id });
      continue;
    }
    kept.push({ id: episode.id, vector: own });
    recalled.push({ episode, score, similarity, ways });
  }
  return { query, recalled, alike };
}
