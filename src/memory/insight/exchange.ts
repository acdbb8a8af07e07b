// The second null: do other texts of this memory change as much? Episodes chosen by a seed, each looked at as if it came now
// to where it belongs and had never been there. Kept in the store and renewed piece by piece as the memory grows.
// It does not know what it is compared with.
import type { Parts } from "../parts.ts";
import { Before, newLinksOf } from "./gauge.ts";
import { readNeighbourhood } from "./neighbourhood.ts";

/** One Episode's weakest F at its place. */
export interface ExchangeDraw {
  readonly id: string;
  readonly f: number;
  /** Episodes there were when it was looked at. */
  readonly episodes: number;
}

const DRAWS = 200;
/** With fewer, not even the most extreme would be rare. */
const LEAST_DRAWS = 19;
/** Looked at in one evaluation where some are missing or old. */
const RENEWED = 16;
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
  const kept = (record?.body ?? []) as unknown as readonly ExchangeDraw[];
  const isFresh = (draw: ExchangeDraw) => episodes < draw.episodes * GROWTH && draw.episodes < episodes * GROWTH;
  const chosen = await store.sampleVectors(namespace, 2 * DRAWS, SEED);
  const known = new Map(kept.map((draw) => [draw.id, draw]));
  const wanted = chosen.slice(0, DRAWS);
  const stale = wanted.filter(({ id }) => !isFresh(known.get(id) ?? { id, f: 0, episodes: -1 }));
  const have = wanted.length - wanted.filter(({ id }) => !known.has(id)).length;
  const all = renew === "all" || have < LEAST_DRAWS;
  const renewed = renew === "none" ? [] : all ? stale : stale.slice(0, RENEWED);
  if (renewed.length > 0) {
    for (const { id } of renewed) {
      const f = await weakestAt(parts, id);
      if (f === undefined) known.delete(id);
      else known.set(id, { id, f, episodes });
    }
    const body = wanted
      .flatMap(({ id }) => known.get(id) ?? [])
      .map(({ id, f, episodes: at }) => ({ id, f, episodes: at }));
    await store.putRecord(namespace, "exchange", { key: "draws", body, recordedAt: now() });
  }
  const draws = wanted.flatMap(({ id }) => known.get(id) ?? []);
  return draws.length < LEAST_DRAWS ? undefined : draws;
}

async function weakestAt(parts: Parts, id: string): Promise<number | undefined> {
  const [episode] = await parts.store.getEpisodes(parts.namespace, [id]);
  const neighbourhood = episode && (await readNeighbourhood(parts, episode));
  return neighbourhood && new Before(neighbourhood).weakestOf(newLinksOf(neighbourhood)).f;
}

/** Share of draws, the real one included, whose weakest F is as small. */
export const exchangeP = (f: number, draws: readonly { readonly f: number }[]): number =>
  (draws.filter((draw) => draw.f <= f).length + 1) / (draws.length + 1);
