// The second null: do other texts of this memory change as much? Episodes chosen by a seed, each looked at as if it came now
// to where it belongs and had never been there. Kept in the store and renewed piece by piece as the memory grows.
// It does not know what it is compared with.
import type { Json } from "../episode.ts";
import type { Parts } from "../parts.ts";
import { Before, newLinksOf } from "./gauge.ts";
import { readNeighbourhood } from "./neighbourhood.ts";
import { placementNull, seedOf } from "./placement.ts";

/** One Episode's weakest F at its place. */
export interface ExchangeDraw {
  readonly id: string;
  readonly f: number;
  /** Links it was reckoned by. */
  readonly links: number;
  /** Its p-value by the first null; absent where it is not among the most extreme, or was not looked at yet. */
  readonly placementP?: number | undefined;
  /** Episodes there were when it was looked at. */
  readonly episodes: number;
}

const DRAWS = 200;
/** With fewer, not even the most extreme would be rare. */
const LEAST_DRAWS = 19;
/** Looked at in one evaluation where some are missing or old. */
const RENEWED = 16;
/** The most extreme are looked at by the first null too, so many in one evaluation. */
const EXTREME_SHARE = 0.15;
const PLACED = 1;
const GROWTH = 1.25;
const SEED = 11;

/**
 * The draws as they are now, after some of those that are missing or old have been looked at, or all, or none of them.
 * Undefined while there are too few to compare with.
 */
export async function exchangeDraws(
  parts: Parts,
  renew: "some" | "all" | "none" = "some",
): Promise<readonly ExchangeDraw[] | undefined> {
  const { store, namespace, now } = parts;
  const episodes = await store.countEpisodes(namespace);
  const record = await store.getRecord(namespace, "exchange", "draws");
  const kept = ((record?.body ?? []) as unknown as readonly ExchangeDraw[]).filter(({ links }) => links !== undefined);
  const isFresh = (draw: ExchangeDraw | undefined) =>
    draw !== undefined && episodes < draw.episodes * GROWTH && draw.episodes < episodes * GROWTH;
  const chosen = await store.sampleVectors(namespace, 2 * DRAWS, SEED);
  const known = new Map(kept.map((draw) => [draw.id, draw]));
  const wanted = chosen.slice(0, DRAWS);
  const stale = wanted.filter(({ id }) => !isFresh(known.get(id)));
  const have = wanted.length - wanted.filter(({ id }) => !known.has(id)).length;
  const all = renew === "all" || have < LEAST_DRAWS;
  const present = () => wanted.flatMap(({ id }) => known.get(id) ?? []);
  let isChanged = false;
  for (const { id } of renew === "none" ? [] : all ? stale : stale.slice(0, RENEWED)) {
    const draw = await drawOf(parts, id, episodes);
    if (draw === undefined) known.delete(id);
    else known.set(id, draw);
    isChanged = true;
  }
  const unplaced = extremeOf(present()).filter(({ placementP }) => placementP === undefined);
  for (const draw of renew === "none" ? [] : all ? unplaced : unplaced.slice(0, PLACED)) {
    known.set(draw.id, { ...draw, placementP: await placementAt(parts, draw.id) });
    isChanged = true;
  }
  if (isChanged) {
    const body = JSON.parse(JSON.stringify(present())) as Json;
    await store.putRecord(namespace, "exchange", { key: "draws", body, recordedAt: now() });
  }
  return present().length < LEAST_DRAWS ? undefined : present();
}

async function drawOf(parts: Parts, id: string, episodes: number): Promise<ExchangeDraw | undefined> {
  const [episode] = await parts.store.getEpisodes(parts.namespace, [id]);
  const neighbourhood = episode && (await readNeighbourhood(parts, episode));
  if (neighbourhood === undefined) return undefined;
  const links = newLinksOf(neighbourhood);
  return { id, f: new Before(neighbourhood).weakestOf(links).f, links: links.length, episodes };
}

/** 0 where its links have no other place to go: nothing speaks against it. */
async function placementAt(parts: Parts, id: string): Promise<number> {
  const [episode] = await parts.store.getEpisodes(parts.namespace, [id]);
  const neighbourhood = episode && (await readNeighbourhood(parts, episode));
  if (neighbourhood === undefined) return 0;
  const before = new Before(neighbourhood);
  return placementNull(neighbourhood, before, newLinksOf(neighbourhood), seedOf(id))?.p ?? 0;
}

const extremeOf = (draws: readonly ExchangeDraw[]): ExchangeDraw[] =>
  draws.toSorted((a, b) => extremeness(a) - extremeness(b)).slice(0, Math.ceil(EXTREME_SHARE * draws.length));

/**
 * F by the number of links it was reckoned by: of few links a larger part rests on each, so that F is large by chance more
 * often. Small is extreme.
 */
const extremeness = ({ f, links }: Pick<ExchangeDraw, "f" | "links">): number => f * links;

/**
 * Share of draws, the real one included, that are as extreme and would pass the first null as well: both nulls together
 * have the rate, not each of them.
 */
export const exchangeP = (
  real: Pick<ExchangeDraw, "f" | "links">,
  draws: readonly ExchangeDraw[],
  rate: number,
): number => {
  const extreme = extremeness(real);
  const as = draws.filter((draw) => extremeness(draw) <= extreme && (draw.placementP ?? 0) <= rate);
  return (as.length + 1) / (draws.length + 1);
};
