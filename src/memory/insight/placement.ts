// The first null: could links that lead anywhere around here have done the same? The same number of links with the same
// weights, at places of like kind and degree near the strongest of them, drawn by a seed. It does not know what becomes of the answer.
import { type Random, seededRandom } from "../../base/mod.ts";
import type { NodeRef } from "../data-store.ts";
import type { Before, NewLink } from "./gauge.ts";
import type { Neighbourhood } from "./neighbourhood.ts";

export interface PlacementNull {
  readonly seed: number;
  readonly draws: number;
  /** Share of draws, the real one included, whose weakest F is as small. */
  readonly p: number;
  readonly mean: number;
  readonly deviation: number;
  /** Places that could be drawn. */
  readonly places: number;
}

const DRAWS = 200;
/**
 * Places per link, of Episodes for links to Episodes and of Concepts for links to Concepts: more would reach the far ends of
 * what is known, and links strewn over both ends join them as an insight does.
 */
const PLACES = 2;
/** Places that must be free beside those of the links; fewer say nothing. */
const [FREE_WANTED, FREE_LEAST] = [3, 2];
/** A place is drawn among the quarter of the free ones whose degree is nearest, three at least. */
const [LIKE_SHARE, LEAST_LIKE] = [4, 3];

/** Undefined where the links have hardly any other place to go. */
export function placementNull(
  { nodes }: Neighbourhood,
  before: Before,
  links: readonly NewLink[],
  seed: number,
): PlacementNull | undefined {
  const own = placesOf(
    nodes,
    before,
    links.map(({ place }) => place),
  );
  const free = homeOf(nodes, before, links, own);
  if (links.length < 2 || free === undefined) return undefined;
  const random = seededRandom(seed);
  const real = before.weakestOf(links).f;
  let [asSmall, sum, squares] = [0, 0, 0];
  for (let draw = 0; draw < DRAWS; draw++) {
    const { f } = before.weakestOf(elsewhere(free, own, links, random));
    if (f <= real) asSmall++;
    sum += f;
    squares += f * f;
  }
  const mean = sum / DRAWS;
  const deviation = Math.sqrt(Math.max(0, squares / DRAWS - mean * mean));
  return { seed, draws: DRAWS, p: (asSmall + 1) / (DRAWS + 1), mean, deviation, places: free.length };
}

/** The places nearest to the strongest link's, as many of each kind as the links need; undefined where there are too few. */
function homeOf(
  nodes: readonly NodeRef[],
  before: Before,
  links: readonly NewLink[],
  own: readonly Place[],
): Place[] | undefined {
  const anchor = links[0]?.place;
  if (anchor === undefined) return undefined;
  const near = Array.from({ length: nodes.length - 1 }, (_, place) => ({
    place,
    closeness: before.network.closenessOf(anchor, place),
  }))
    .filter(({ closeness }) => closeness > 0)
    .sort((a, b) => b.closeness - a.closeness || a.place - b.place)
    .map(({ place }) => place);
  const home: Place[] = [];
  for (const kind of [true, false]) {
    const needed = own.filter(({ isEpisode }) => isEpisode === kind).length;
    if (needed === 0) continue;
    const alike = placesOf(nodes, before, near).filter(({ isEpisode }) => isEpisode === kind);
    if (alike.length < needed + FREE_LEAST) return undefined;
    home.push(...alike.slice(0, Math.max(needed + FREE_WANTED, PLACES * needed)));
  }
  return home;
}

/** A place that may be drawn. */
interface Place {
  readonly place: number;
  readonly degree: number;
  readonly isEpisode: boolean;
}

const placesOf = (nodes: readonly NodeRef[], { network }: Before, home: readonly number[]): Place[] =>
  home.map((place) => ({
    place,
    degree: network.degreeOf(place),
    isEpisode: (nodes[place + 1] as string).startsWith("episode:"),
  }));

function elsewhere(
  home: readonly Place[],
  own: readonly Place[],
  links: readonly NewLink[],
  random: Random,
): NewLink[] {
  const taken = new Set<number>();
  return links.map(({ place, weight }, i) => {
    const { degree, isEpisode } = own[i] as Place;
    const like: { readonly other: number; readonly apart: number }[] = [];
    for (const other of home)
      if (other.isEpisode === isEpisode && !taken.has(other.place))
        like.push({ other: other.place, apart: Math.abs(other.degree - degree) + random.next() / 2 });
    like.sort((a, b) => a.apart - b.apart);
    const among = Math.min(like.length, Math.max(LEAST_LIKE, Math.ceil(like.length / LIKE_SHARE)));
    const drawn = like[Math.floor(random.next() * among)]?.other ?? place; // none of its kind is left: it stays
    taken.add(drawn);
    return { place: drawn, weight };
  });
}

/** The same Episode has the same seed in every process. */
export function seedOf(id: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
