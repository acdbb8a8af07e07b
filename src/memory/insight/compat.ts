// The scheme "compat": F as InsightSpike's own code reckons it, number for number, with its quirks, so that its results can
// be compared. Not used to decide anything: docs/memory.md says what is wrong with it, gauge.ts is the corrected scheme.
// It does not know Episodes.
import {
  circleOf,
  connectedGain,
  efficiencyOf,
  fixedPairsGain,
  hasEdge,
  neighboursOf,
  type PlainGraph,
  subgraphOf,
} from "./compat-graph.ts";

export type Features = readonly (readonly number[])[];

export interface EditCost {
  readonly raw: number;
  readonly normalized: number;
  readonly denominator: number;
  /** Signed: above 0 is a simplification. */
  readonly improvement: number;
  /** Not below 0. */
  readonly cost: number;
  readonly efficiencyChange: number;
}

/** Identity-blind: nodes count by how many there are. @param denominator absent: nodes and edges of both ("sum"), or half of it ("mean") */
export function editCost(before: PlainGraph, after: PlainGraph, denominator?: number | "mean"): EditCost {
  const nodes = new Set(before.nodes.filter((node) => after.nodes.includes(node)));
  const later = neighboursOf(after);
  const common = before.edges.filter(([a, b]) => nodes.has(a) && nodes.has(b) && hasEdge(later, a, b)).length;
  const raw =
    Math.abs(after.nodes.length - before.nodes.length) + (before.edges.length - common) + (after.edges.length - common);
  const sum = before.nodes.length + after.nodes.length + before.edges.length + after.edges.length;
  const by = typeof denominator === "number" ? denominator : denominator === "mean" ? sum / 2 : sum;
  const normalized = by > 0 ? raw / by : 0;
  const efficiencyChange = efficiencyOf(after) - efficiencyOf(before);
  let improvement = -normalized * 0.7 + efficiencyChange * 0.3;
  if (improvement <= 0 && efficiencyChange > 0) improvement = efficiencyChange; // any gain, however small, takes its place
  improvement = Math.max(-1, Math.min(1, improvement));
  return { raw, normalized, denominator: by, improvement, cost: Math.max(0, -improvement), efficiencyChange };
}

export interface EntropyGain {
  /** After − before, over the denominator: disorder counts as gain. */
  readonly gain: number;
  readonly change: number;
  readonly before: number;
  readonly after: number;
  readonly denominator: number;
}

export interface EntropyOptions {
  readonly denominator?: number | undefined;
  /** Candidates there were: of fewer than two nothing is gained. */
  readonly candidates?: number | undefined;
  readonly query?: readonly number[] | undefined;
}

const LEAST_DENOMINATOR = 1e-3;

/** Mean entropy of the likeness of each node to its neighbours. A node's number is its row of the features. */
export function entropyGain(
  graph: PlainGraph,
  before: Features,
  after: Features,
  options: EntropyOptions = {},
): EntropyGain {
  if (graph.nodes.length < 2) return { gain: 0, change: 0, before: 0, after: 0, denominator: options.denominator ?? 1 };
  const earlier = meanEntropy(graph, before);
  const later = meanEntropy(graph, after, options.query);
  const change = later - earlier;
  const denominator = Math.max(options.denominator ?? earlier, LEAST_DENOMINATOR);
  const isAny = (options.candidates ?? 2) >= 2 && denominator > LEAST_DENOMINATOR;
  return { gain: isAny ? change / denominator : 0, change, before: earlier, after: later, denominator };
}

function meanEntropy(graph: PlainGraph, features: Features, query?: readonly number[]): number {
  const neighbours = neighboursOf(graph);
  const entropies: number[] = [];
  for (const node of graph.nodes) {
    const rows = [node, ...(neighbours.get(node) as ReadonlySet<number>)].flatMap((n) => {
      const row = features[n];
      return row === undefined ? [] : [row];
    });
    if (rows.length === 0) continue;
    entropies.push(likenessEntropy(query === undefined ? rows : [...rows, query]));
  }
  return entropies.length === 0 ? 0 : entropies.reduce((sum, x) => sum + x, 0) / entropies.length;
}

const SMOOTHING = 1e-10;

function likenessEntropy(rows: Features): number {
  if (rows.length < 2) return 0;
  const units = rows.map((row) => {
    const length = Math.hypot(...row) + SMOOTHING;
    return row.map((x) => x / length);
  });
  const likeness = units.flatMap((a) => units.map((b) => (a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0) + 1) / 2));
  const total = likeness.reduce((sum, x) => sum + x, 0) + SMOOTHING;
  return -likeness.reduce((sum, x) => sum + (x / total) * Math.log(x / total + SMOOTHING), 0);
}

export interface LinksetItem {
  readonly index: string;
  readonly similarity: number;
}

export interface LinksetGauge {
  readonly f: number;
  readonly editCost: number;
  readonly entropyChange: number;
  readonly before: number;
  readonly after: number;
  readonly denominator: number;
}

/** The gauge of a set of links alone: what adding the query does to the entropy of their weights. */
export function linksetGauge(links: readonly LinksetItem[], querySimilarity: number): LinksetGauge {
  const items = new Map(links.map((item) => [item.index, item.similarity]));
  const entropy = (weights: readonly number[]) => {
    const positive = weights.filter((weight) => weight > 0);
    const total = positive.reduce((sum, weight) => sum + weight, 0);
    return -positive.reduce((sum, weight) => sum + (weight / total) * Math.log(weight / total + 1e-12), 0);
  };
  const before = entropy([...items.values()]);
  const after = entropy([...items.values(), querySimilarity]);
  const size = items.size + 1;
  const denominator = size >= 2 ? Math.log(size) : 1e-6;
  const entropyChange = (after - before) / denominator;
  const cost = 1 / (1 + size);
  return { f: cost - entropyChange, editCost: cost, entropyChange, before, after, denominator };
}

export interface CompatOptions {
  /** Circles around these are compared, up to three hops; absent: the whole graphs. */
  readonly focal?: readonly number[] | undefined;
  /** Candidates (k★). Absent: 1, and then entropy counts for nothing. */
  readonly candidates?: number | undefined;
  /** The paper's settings: entropy of this set of links at hop 0, paths between pairs that were connected, γ = 1. */
  readonly linkset?: LinksetGauge | undefined;
}

export interface CompatHop {
  readonly f: number;
  readonly edit: EditCost;
  readonly entropy: Pick<EntropyGain, "gain" | "change" | "before" | "after" | "denominator">;
  readonly path: number;
  /** Entropy's gain and γ times the path's. */
  readonly gain: number;
  readonly nodes: number;
  readonly edges: number;
}

export interface CompatGauge {
  /** The least over the hops. */
  readonly f: number;
  readonly hops: readonly CompatHop[];
  readonly best: number;
  /** −½ · edit cost, of hop 0 and in the mean over hops (weights .7^hop). */
  readonly reward: number;
  readonly meanReward: number;
}

const MOST_HOPS = 3;
const DECAY = 0.7;
const REWARD = 0.5;

export function compatGauge(
  before: PlainGraph,
  after: PlainGraph,
  features: readonly [Features, Features],
  options: CompatOptions = {},
): CompatGauge {
  const { focal, candidates = 1 } = options;
  const hops: CompatHop[] = [];
  for (let hop = 0; hop <= (focal === undefined ? 0 : MOST_HOPS); hop++) {
    hops.push(
      focal === undefined
        ? whole(before, after, features, candidates)
        : atHop(before, after, features, focal, hop, options),
    );
    // a hop that says nothing ends the search, but not in the paper's settings
    if (hop > 0 && options.linkset === undefined && Math.abs((hops[hop] as CompatHop).f) < 0.01) break;
  }
  const best = hops.reduce((least, { f }, hop) => (f < (hops[least] as CompatHop).f ? hop : least), 0);
  const weights = hops.map((_, hop) => DECAY ** hop);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const mean = hops.reduce((sum, { edit }, hop) => sum + (weights[hop] as number) * edit.normalized, 0) / total;
  return {
    f: (hops[best] as CompatHop).f,
    hops,
    best,
    reward: -REWARD * (hops[0] as CompatHop).edit.normalized,
    meanReward: -REWARD * mean,
  };
}

/** One hop: F with the structural cost, paths left out. */
function whole(
  before: PlainGraph,
  after: PlainGraph,
  [early, late]: readonly [Features, Features],
  candidates: number,
): CompatHop {
  const edit = editCost(before, after, 1 + after.edges.length);
  const entropy = entropyGain(after, early, late, { denominator: Math.log(candidates + 1), candidates });
  const { gain } = entropy;
  return { f: edit.cost - gain, edit, entropy, path: 0, gain, nodes: after.nodes.length, edges: after.edges.length };
}

function atHop(
  before: PlainGraph,
  after: PlainGraph,
  [early, late]: readonly [Features, Features],
  focal: readonly number[],
  hop: number,
  { candidates = 1, linkset }: CompatOptions,
): CompatHop {
  const [from, to] = [circleOf(before, focal, hop), circleOf(after, focal, hop)];
  const edit = editCost(from, to, linkset === undefined ? 1 + to.edges.length : 1 + candidates);
  // rows of the circle's own nodes, closed up: nodes with larger numbers than there are rows then count for nothing
  const rows = (graph: PlainGraph, features: Features) =>
    [...graph.nodes].sort((a, b) => a - b).flatMap((node) => (features[node] === undefined ? [] : [features[node]]));
  const entropy =
    linkset === undefined
      ? entropyGain(to, rows(from, early), rows(to, late), { denominator: Math.log(candidates + 1), candidates })
      : {
          gain: linkset.entropyChange,
          change: linkset.entropyChange,
          before: linkset.before,
          after: linkset.after,
          denominator: linkset.denominator,
        };
  let path = 0;
  if (hop > 0 && linkset !== undefined) {
    const union = new Set([...from.nodes, ...to.nodes]);
    path = fixedPairsGain(subgraphOf(before, union), subgraphOf(after, union)).gain;
  } else if (hop > 0) path = connectedGain(from, to);
  const gain = (linkset !== undefined && hop > 0 ? 0 : entropy.gain) + (linkset === undefined ? 0.2 : 1) * path;
  return { f: edit.normalized - gain, edit, entropy, path, gain, nodes: to.nodes.length, edges: to.edges.length };
}

/** The "pure" variant: counts of nodes and edges, entropy of degrees; F = cost − ½ · entropy's increase. */
export function pureGauge(
  before: PlainGraph,
  after: PlainGraph,
): {
  readonly f: number;
  readonly editCost: number;
  readonly gain: number;
  readonly before: number;
  readonly after: number;
} {
  const entropy = (graph: PlainGraph) => {
    const degrees = [...neighboursOf(graph).values()].map(({ size }) => size).filter((degree) => degree > 0);
    const total = degrees.reduce((sum, degree) => sum + degree, 0);
    return -degrees.reduce((sum, degree) => sum + (degree / total) * Math.log(degree / total + 1e-12), 0) || 0;
  };
  const changed =
    Math.abs(after.nodes.length - before.nodes.length) + Math.abs(after.edges.length - before.edges.length);
  const cost = changed / Math.max(1, before.nodes.length + before.edges.length);
  const [earlier, later] = [entropy(before), entropy(after)];
  return { f: cost - 0.5 * (later - earlier), editCost: cost, gain: later - earlier, before: earlier, after: later };
}
