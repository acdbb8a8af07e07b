// The Gauge: F of a change with all its parts kept. Two named schemes: "gauge", the one that is used, and the original's
// numbers (compat*.ts). Small F means insight: little is added, and much that was apart comes together.
// It does not know Episodes, stores or what is made of F.
//
// scheme "gauge" (docs/memory.md has the table):
//   F = editCost − λ · (informationGain + γ · pathGain)
//   editCost         (nodes and links added or removed) / (nodes and links before and after), each known by its identity
//   entropyBefore,   −Σ pᵢ ln (Z p)ᵢ over the added links: p their shares of weight, Z the closeness of the places they lead
//   entropyAfter     to (Leinster and Cobbold's entropy of alike kinds): 0 where all lead to one place
//   entropyChange    after − before: not above 0 where the new links bring their places together
//   informationGain  −entropyChange
//   pathGain         share of all harmonic distances of the neighbourhood that falls away (harmonic.ts)
import { type HarmonicChange, HarmonicNetwork } from "./harmonic.ts";
import type { Neighbourhood } from "./neighbourhood.ts";

const LAMBDA = 1;
const GAMMA = 2;
/** Links of the new node that are reckoned with. */
const MOST_ATTACHED = 10;

export interface Gauge {
  readonly f: number;
  readonly editCost: number;
  readonly entropyBefore: number;
  readonly entropyAfter: number;
  readonly entropyChange: number;
  readonly informationGain: number;
  readonly pathGain: number;
}

/** A link of the new node: its place among the others (the new node left out), and its weight. */
export interface NewLink {
  readonly place: number;
  readonly weight: number;
}

/** What was there before the new node came, ready to be asked what a change would change. */
export class Before {
  readonly network: HarmonicNetwork;
  readonly #size: number;

  constructor(neighbourhood: Neighbourhood) {
    const edges = neighbourhood.edges.filter(([a]) => a !== 0);
    const isEpisode = neighbourhood.nodes.slice(1).map((ref) => ref.startsWith("episode:"));
    this.network = new HarmonicNetwork(
      isEpisode.length,
      edges.map(([a, b, weight]) => ({ a: a - 1, b: b - 1, weight })),
      isEpisode,
    );
    this.#size = isEpisode.length + edges.length;
  }

  /** The gauge of a node that comes with these links. */
  gaugeOf(links: readonly NewLink[]): Gauge {
    const added = links.length === 0 ? 0 : links.length + 1;
    const editCost = added === 0 ? 0 : added / (2 * this.#size + added);
    if (links.length === 0) return gaugeFrom({ editCost, entropyBefore: 0, entropyAfter: 0, pathGain: 0 });
    const weights = links.map(({ weight }) => weight);
    const change = this.network.changeBy({ places: links.map(({ place }) => place), weights });
    const { before, after } = entropies(change, weights);
    return gaugeFrom({ editCost, entropyBefore: before, entropyAfter: after, pathGain: change.path });
  }

  /**
   * The gauge with the one link left out whose absence leaves least of an insight: what rests on a single link, a word two
   * texts happen to share, may be chance.
   */
  weakestOf(links: readonly NewLink[]): Gauge {
    let weakest = this.gaugeOf(links);
    links.forEach((_, without) => {
      const gauge = this.gaugeOf(links.filter((_, i) => i !== without));
      if (gauge.f > weakest.f) weakest = gauge;
    });
    return weakest;
  }
}

function gaugeFrom(parts: Pick<Gauge, "editCost" | "entropyBefore" | "entropyAfter" | "pathGain">): Gauge {
  const entropyChange = parts.entropyAfter - parts.entropyBefore;
  const informationGain = entropyChange === 0 ? 0 : -entropyChange;
  const f = parts.editCost - LAMBDA * (informationGain + GAMMA * parts.pathGain);
  return { f, ...parts, entropyChange, informationGain };
}

function entropies({ before, after }: HarmonicChange, weights: readonly number[]): { before: number; after: number } {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const shares = weights.map((weight) => weight / total);
  const entropy = (closeness: Float64Array) =>
    shares.reduce((sum, share, i) => {
      const alike = shares.reduce((all, other, j) => all + (closeness[i * shares.length + j] as number) * other, 0);
      return sum - share * Math.log(alike);
    }, 0);
  return { before: entropy(before), after: entropy(after) };
}

/**
 * The links of the neighbourhood's own Episode, the strongest first. Mentions go before likenesses where there are too many:
 * the texts most alike are alike in the same way, each mention is evidence of its own.
 */
export function newLinksOf({ nodes, edges }: Neighbourhood): NewLink[] {
  const links = edges.filter(([a]) => a === 0).map(([, b, weight]) => ({ place: b - 1, weight }));
  const isLikeness = ({ place }: NewLink) => Number(nodes[place + 1]?.startsWith("episode:"));
  const strongestFirst = (x: NewLink, y: NewLink) => y.weight - x.weight || x.place - y.place;
  return links
    .sort((x, y) => isLikeness(x) - isLikeness(y) || strongestFirst(x, y))
    .slice(0, MOST_ATTACHED)
    .sort(strongestFirst);
}
