// Decides whether a new Episode restructures what was known, and keeps all it was decided by: a Spike that can be looked at
// again, bit for bit, from its evidence alone. It does not know texts.
import { IroriError } from "../../base/mod.ts";
import type { NodeRef } from "../data-store.ts";
import type { Episode, Json, Scope } from "../episode.ts";
import type { Parts } from "../parts.ts";
import { consideredText } from "../place.ts";
import { type ExchangeDraw, exchangeDraws, exchangeP } from "./exchange.ts";
import { Before, type Gauge, type NewLink, newLinksOf } from "./gauge.ts";
import { type Neighbourhood, neighbourhoodOf, readNeighbourhood } from "./neighbourhood.ts";
import { type PlacementNull, placementNull, seedOf } from "./placement.ts";

/** How often a text that restructures nothing may fire all the same. */
const FALSE_ALARM_RATE = 0.05;
/**
 * A text of another kind than those that are stored comes to the border 1.1 times as often as they do: measured on planted
 * worlds of the seeds 101 to 316 (eval/honesty.ts), none of which a report is made on.
 */
const OTHER_KINDS = 0.9;

/** Two places that the new Episode brings together, by how much. */
export interface Join {
  readonly a: NodeRef;
  readonly b: NodeRef;
  /** Closeness before and after: 0 is on another island, 1 is the same place. */
  readonly before: number;
  readonly after: number;
}

/** All that a decision rests on; ids and numbers, no text. */
export interface Judgement {
  readonly hasFired: boolean;
  readonly falseAlarmRate: number;
  readonly gauge: Gauge;
  /** Without the one link on which most rests: this F is compared. */
  readonly weakest: Gauge;
  /** The first null; absent where its links had no other place to go. */
  readonly placement?: PlacementNull | undefined;
  /** The second null: its draws, and the share of them that are as extreme and pass the first null too. */
  readonly exchange: { readonly draws: readonly ExchangeDraw[]; readonly p: number };
  readonly joins: readonly Join[];
  readonly neighbourhood: Neighbourhood;
}

/** Why there is no judgement. */
export type NotJudged = "too little is known to compare with" | "it is linked with nothing, or by one link alone";

const MOST_JOINS = 5;

/** @param falseAlarmRate above 0, at most 0.5 */
export async function judge(
  parts: Parts,
  episode: Episode,
  falseAlarmRate = FALSE_ALARM_RATE,
): Promise<Judgement | NotJudged> {
  if (!(falseAlarmRate > 0 && falseAlarmRate <= 0.5))
    throw new IroriError("bad-input", {
      what: "a false-alarm rate",
      got: falseAlarmRate,
      wanted: "above 0, at most 0.5",
    });
  const neighbourhood = await readNeighbourhood(parts, episode);
  return judged(neighbourhood, await exchangeDraws(parts), episode.id, falseAlarmRate);
}

/** The same for a text that is not stored: a question, or something to be weighed first. */
export async function judgeText(
  parts: Parts,
  text: string,
  scope: Scope = {},
  falseAlarmRate = FALSE_ALARM_RATE,
): Promise<Judgement | NotJudged> {
  const id = `text-${seedOf(text)}`;
  const neighbourhood = await neighbourhoodOf(parts, await consideredText(parts, text, scope, id));
  return judged(neighbourhood, await exchangeDraws(parts, "none"), id, falseAlarmRate);
}

function judged(
  neighbourhood: Neighbourhood | undefined,
  draws: readonly ExchangeDraw[] | undefined,
  id: string,
  falseAlarmRate: number,
): Judgement | NotJudged {
  if (neighbourhood === undefined || draws === undefined) return "too little is known to compare with";
  if (newLinksOf(neighbourhood).length < 2) return "it is linked with nothing, or by one link alone";
  return judgeFrom(
    neighbourhood,
    draws.filter((draw) => draw.id !== id),
    falseAlarmRate,
    seedOf(id),
  );
}

/** The judgement that the evidence gives: the same bits whenever it is asked. */
export function judgeFrom(
  neighbourhood: Neighbourhood,
  draws: readonly ExchangeDraw[],
  falseAlarmRate: number,
  seed: number,
): Judgement {
  const before = new Before(neighbourhood);
  const links = newLinksOf(neighbourhood);
  const weakest = before.weakestOf(links);
  const border = falseAlarmRate * OTHER_KINDS;
  const exchange = { draws, p: exchangeP({ f: weakest.f, links: links.length }, draws, border) };
  const placement = placementNull(neighbourhood, before, links, seed);
  const hasFired = weakest.f < 0 && exchange.p <= border && (placement?.p ?? 0) <= border;
  const joins = joinsOf(neighbourhood, before, links);
  return { hasFired, falseAlarmRate, gauge: before.gaugeOf(links), weakest, placement, exchange, joins, neighbourhood };
}

/** The pairs of places that come together most, each place once. */
function joinsOf({ nodes }: Neighbourhood, before: Before, links: readonly NewLink[]): Join[] {
  const places = links.map(({ place }) => place);
  const change = before.network.changeBy({ places, weights: links.map(({ weight }) => weight) });
  const pairs = places.flatMap((_, i) =>
    places.slice(0, i).map((__, j) => {
      const [from, to] = [change.before, change.after].map((closeness) => closeness[i * places.length + j] as number);
      return { i, j, before: from as number, after: to as number };
    }),
  );
  pairs.sort((x, y) => y.after - y.before - (x.after - x.before) || x.i - y.i || x.j - y.j);
  const used = new Set<number>();
  const joins: Join[] = [];
  for (const { i, j, before: from, after } of pairs) {
    if (used.has(i) || used.has(j) || joins.length === MOST_JOINS) continue;
    used.add(i).add(j);
    const ref = (k: number) => nodes[(places[k] as number) + 1] as NodeRef;
    joins.push({ a: ref(j), b: ref(i), before: from, after });
  }
  return joins;
}

export const isJudged = (judgement: Judgement | NotJudged): judgement is Judgement => typeof judgement !== "string";
export const asJson = (judgement: Judgement): Json => JSON.parse(JSON.stringify(judgement)) as Json;
