// The first null: could links that lead anywhere around here have done the same? The same number of links with the same
// weights, at places of like degree near the strongest of them, drawn by a seed. It does not know what becomes of the answer.
import { type Random, seededRandom } from "../../base/mod.ts";
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
/** Places per link that there should be; fewer than two say nothing. */
const [WANTED_PLACES, LEAST_PLACES] = [3, 2];
/** A place is drawn among the quarter of the free ones whose degree is nearest, three at least. */
const [LIKE_SHARE, LEAST_LIKE] = [4, 3];

/** Undefined where the links have hardly any other place to go. */
export function placementNull(
  neighbourhood: Neighbourhood,
  before: Before,
  links: readonly NewLink[],
  seed: number,
): PlacementNull | undefined {
  const home = homeOf(neighbourhood, links);
  if (links.length < 2 || home.length < LEAST_PLACES * links.length) return undefined;
  const random = seededRandom(seed);
  const free = placesOf(neighbourhood, before, home);
  const own = placesOf(
    neighbourhood,
    before,
    links.map(({ place }) => place),
  );
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
  return { seed, draws: DRAWS, p: (asSmall + 1) / (DRAWS + 1), mean, deviation, places: home.length };
}

/** The places around the strongest link's, in circles until there are enough. */
function homeOf({ nodes, edges }: Neighbourhood, links: readonly NewLink[]): number[] {
  const anchor = links[0]?.place;
  if (anchor === undefined) return [];
  const around = Array.from({ length: nodes.length - 1 }, () => [] as number[]);
  for (const [a, b] of edges) {
    if (a === 0) continue;
    around[a - 1]?.push(b - 1);
    around[b - 1]?.push(a - 1);
  }
  const home = new Set([anchor]);
  for (let circle = [anchor]; circle.length > 0 && home.size < WANTED_PLACES * links.length; ) {
    circle = [...new Set(circle.flatMap((place) => around[place] as number[]))].filter((place) => !home.has(place));
    for (const place of circle) home.add(place);
  }
  return [...home].sort((a, b) => a - b);
}

/** A place that may be drawn. */
interface Place {
  readonly place: number;
  readonly degree: number;
  readonly isEpisode: boolean;
}

const placesOf = ({ nodes }: Neighbourhood, { network }: Before, home: readonly number[]): Place[] =>
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
