// Spikes: accepted restructurings of the Knowledge, with the evidence they rest on, kept so that they can be looked at again.
// It does not know how they are decided (trigger.ts).
import { IroriError } from "../../base/mod.ts";
import type { NodeRef, Page, StoredRecord } from "../data-store.ts";
import type { Episode } from "../episode.ts";
import type { Parts } from "../parts.ts";
import { seedOf } from "./placement.ts";
import { asJson, type Join, type Judgement, judgeFrom } from "./trigger.ts";

export interface Spike {
  readonly id: string;
  readonly at: number;
  /** The Episode that restructured. */
  readonly episodeId: string;
  readonly judgement: Judgement;
}

/** A Spike as it is shown: its numbers checked anew, its places by their texts, what is gone named as gone. */
export interface Why {
  readonly spike: Spike;
  /** The judgement reckoned again from the evidence has the same bits. */
  readonly isSame: boolean;
  readonly text: string | undefined;
  readonly joins: readonly (Join & { readonly textA: string; readonly textB: string })[];
  /** Episodes of the evidence that were forgotten since. */
  readonly removed: readonly string[];
}

const KIND = "spike";
const REMOVED = "(removed since)";

export async function keepSpike(
  { store, namespace, newId, now }: Parts,
  episode: Episode,
  judgement: Judgement,
): Promise<Spike> {
  const spike: Spike = { id: newId(now()), at: now(), episodeId: episode.id, judgement };
  const body = { episodeId: spike.episodeId, judgement: asJson(judgement) };
  await store.putRecord(namespace, KIND, { key: spike.id, tag: episode.id, body, recordedAt: spike.at });
  return spike;
}

/** The numbers of a judgement that did not have to fire, where all are wanted: for scores of every text. */
export async function keepJudgement(
  { store, namespace, now }: Parts,
  episode: Episode,
  judgement: Judgement,
): Promise<void> {
  const { hasFired, gauge, weakest, exchange, placement } = judgement;
  const body = { hasFired, f: gauge.f, weakest: weakest.f, exchangeP: exchange.p, placementP: placement?.p ?? null };
  await store.putRecord(namespace, "judgement", {
    key: episode.id,
    tag: hasFired ? "fired" : "other",
    body,
    recordedAt: now(),
  });
}

const spikeOf = ({ key, recordedAt, body }: StoredRecord): Spike => {
  const { episodeId, judgement } = body as unknown as Pick<Spike, "episodeId" | "judgement">;
  return { id: key, at: recordedAt, episodeId, judgement };
};

/** Newest first. */
export async function listSpikes(
  { store, namespace }: Parts,
  options: { readonly limit: number; readonly after?: string | undefined },
): Promise<Page<Spike>> {
  const { items, next } = await store.listRecords(namespace, KIND, { ...options, order: "newest" });
  return { items: items.map(spikeOf), next };
}

/** By the id of a Spike, or of the Episode that caused one. Throws "not-found". */
async function findSpike({ store, namespace }: Parts, id: string): Promise<Spike> {
  const own = await store.getRecord(namespace, KIND, id);
  const { items } = own
    ? { items: [own] }
    : await store.listRecords(namespace, KIND, { tag: id, limit: 1, order: "newest" });
  if (items[0] === undefined)
    throw new IroriError("not-found", {
      what: `no insight ${JSON.stringify(id)} in ${namespace}, and none that an episode of this id caused`,
      next: "`irori memory insights` lists them",
    });
  return spikeOf(items[0]);
}

export async function why(parts: Parts, id: string): Promise<Why> {
  const { store, namespace } = parts;
  const spike = await findSpike(parts, id);
  const { judgement, episodeId } = spike;
  const { neighbourhood, exchange, falseAlarmRate } = judgement;
  const again = judgeFrom(neighbourhood, exchange.draws, falseAlarmRate, seedOf(episodeId));
  const isSame = JSON.stringify(again) === JSON.stringify(judgement);
  const ids = neighbourhood.nodes
    .filter((ref) => ref.startsWith("episode:"))
    .map((ref) => ref.slice("episode:".length));
  const episodes = await store.getEpisodes(namespace, ids);
  const removed = ids.filter((_, i) => episodes[i] === undefined);
  const texts = await textsOf(
    parts,
    judgement.joins.flatMap(({ a, b }) => [a, b]),
  );
  const joins = judgement.joins.map((join) => ({
    ...join,
    textA: texts.get(join.a) ?? REMOVED,
    textB: texts.get(join.b) ?? REMOVED,
  }));
  const [own] = await store.getEpisodes(namespace, [episodeId]);
  return { spike, isSame, text: own?.text, joins, removed };
}

/** What stands behind references: an Episode's text, a Concept's word as it was first written. */
export async function textsOf({ store, namespace }: Parts, refs: readonly NodeRef[]): Promise<Map<NodeRef, string>> {
  const idsOf = (start: string) => refs.filter((ref) => ref.startsWith(start)).map((ref) => ref.slice(start.length));
  const texts = new Map<NodeRef, string>();
  for (const episode of await store.getEpisodes(namespace, idsOf("episode:")))
    if (episode !== undefined) texts.set(`episode:${episode.id}`, episode.text);
  for (const concept of await store.getConcepts(namespace, idsOf("concept:")))
    if (concept !== undefined) texts.set(`concept:${concept.id}`, String(concept.attributes.surface ?? concept.name));
  return texts;
}
