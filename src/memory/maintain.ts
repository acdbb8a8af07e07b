// Sleep: what a memory does when nobody needs it. One step after another, each in small pieces, so that whoever asks
// meanwhile is served; where it stopped it goes on the next time. It does not know who starts it.
import { cancelled, type OnProgress } from "../base/mod.ts";
import { AGEING, type Ageing, isTooOld } from "./confidence.ts";
import { everyEpisode, type FadeReport, type IndexCheck } from "./data-store.ts";
import { exchangeDraws } from "./insight/exchange.ts";
import { usualOf } from "./insight/usual.ts";
import type { Parts } from "./parts.ts";
import { linkEpisode } from "./remember.ts";

export interface MaintainOptions {
  /** Links of a node that are kept, the weight below which they go, and what is left of a weight. Absent: links stay as they are. */
  readonly fade?: { readonly mostLinks: number; readonly leastWeight: number; readonly decay: number } | undefined;
  /** Episodes older than this ageing allows are removed, pinned ones apart. Absent: age removes nothing. */
  readonly prune?: Ageing | true | undefined;
  /** Stored vectors by which the index is compared with an exact search. Default 20. */
  readonly samples?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

export interface Maintained {
  readonly expired: number;
  readonly pruned: number;
  /** Episodes of bulk imports that found their place in the Knowledge. */
  readonly linked: number;
  readonly faded?: FadeReport | undefined;
  /** Pieces of upkeep of the index. */
  readonly tidied: number;
  readonly index: IndexCheck;
  /** Draws of the second null that are ready. */
  readonly draws: number;
}

/** The reference's sleep: twelve links a node, .2 the weakest, .98 left of each. */
export const SLEEP_FADE = { mostLinks: 12, leastWeight: 0.2, decay: 0.98 };

const BATCH = 200;
const JOB = "job";
const LINKING = "linking";
const SEED = 5;

export async function maintain(parts: Parts, options: MaintainOptions = {}): Promise<Maintained> {
  const { store, namespace } = parts;
  const { fade, samples = 20, signal } = options;
  const expired = await removeWhere(
    parts,
    options,
    "expire",
    ({ expiresAt }) => (expiresAt ?? Infinity) <= parts.now(),
  );
  const pruned =
    options.prune === undefined ? 0 : await prune(parts, options, options.prune === true ? AGEING : options.prune);
  const linked = await linkImported(parts, options);
  const faded = fade && (await store.fadeLinks(namespace, fade));
  let tidied = 0;
  for (let isDone = false; !isDone; tidied++) {
    stopIf(signal);
    ({ isDone } = await store.tidy());
  }
  const index = await store.checkIndex(namespace, samples, SEED);
  await usualOf(parts);
  const draws = (await exchangeDraws(parts, "all"))?.length ?? 0;
  return { expired, pruned, linked, faded, tidied, index, draws };
}

function stopIf(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled("maintenance", signal);
}

const prune = (parts: Parts, options: MaintainOptions, ageing: Ageing): Promise<number> =>
  removeWhere(
    parts,
    options,
    "prune",
    ({ recordedAt, isPinned }) => !isPinned && isTooOld(parts.now() - recordedAt, ageing),
  );

async function removeWhere(
  { store, namespace }: Parts,
  { signal, onProgress }: MaintainOptions,
  step: string,
  goes: (episode: {
    readonly recordedAt: number;
    readonly isPinned: boolean;
    readonly expiresAt?: number | undefined;
  }) => boolean,
): Promise<number> {
  let [seen, removed] = [0, 0];
  let ids: string[] = [];
  for await (const episode of everyEpisode(store, namespace)) {
    if (goes(episode)) ids.push(episode.id);
    if (++seen % BATCH !== 0) continue;
    stopIf(signal);
    onProgress?.({ step, done: seen, unit: "steps" });
    removed += ids.length === 0 ? 0 : await store.deleteEpisodes(namespace, ids);
    ids = [];
  }
  return removed + (ids.length === 0 ? 0 : await store.deleteEpisodes(namespace, ids));
}

/** Episodes that were stored in bulk have no links yet: from where the last time ended. */
async function linkImported(parts: Parts, { signal, onProgress }: MaintainOptions): Promise<number> {
  const { store, namespace, now } = parts;
  let after = (await store.getRecord(namespace, JOB, LINKING))?.body as string | undefined;
  let linked = 0;
  for (;;) {
    stopIf(signal);
    const page = await store.listEpisodes(namespace, { limit: BATCH, after });
    for (const episode of page.items) if (await linkEpisode(parts, episode)) linked++;
    onProgress?.({ step: "link", done: linked, unit: "steps" });
    if (page.next === undefined) return linked; // the last page is looked at again the next time: it may have grown
    after = page.next;
    await store.putRecord(namespace, JOB, { key: LINKING, body: after, recordedAt: now() });
  }
}
