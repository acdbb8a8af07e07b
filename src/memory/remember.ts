// Texts become Episodes: cut, embedded in batches, repeats recognised, stored and linked in one transaction.
// It does not know files, nor how anything is found again.
import { IroriError, type OnProgress } from "../base/mod.ts";
import { termsOf } from "../text/mod.ts";
import { contradictionLinks } from "./contradiction.ts";
import type { Found } from "./data-store.ts";
import {
  checkText,
  type Episode,
  type EpisodeKind,
  type Json,
  type NewEpisode,
  type Provenance,
  type Scope,
} from "./episode.ts";
import { keepJudgement, keepSpike, type Spike } from "./insight/spike.ts";
import { isJudged, judge } from "./insight/trigger.ts";
import type { Parts } from "./parts.ts";
import { NEAR, placeOf, relatedOf } from "./place.ts";
import { piecesOf } from "./sentences.ts";

export interface Told extends Scope {
  readonly text: string;
  readonly kind?: EpisodeKind | undefined;
  readonly source?: Provenance | undefined;
  readonly metadata?: Readonly<Record<string, Json>> | undefined;
  readonly confidence?: number | undefined;
  /** When it was said. Default: now. */
  readonly saidAt?: number | undefined;
  readonly validFrom?: number | undefined;
  readonly validTo?: number | undefined;
  /** It is forgotten so long after it was said. */
  readonly ttlMs?: number | undefined;
  readonly isPinned?: boolean | undefined;
  /** The same key again adds nothing; pieces of a long text get a number behind it. */
  readonly key?: string | undefined;
}

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface RememberOptions extends Omit<Told, "text"> {
  /** Whether each new Episode is judged for what it restructures. Default true. */
  readonly insight?: boolean | undefined;
  readonly falseAlarmRate?: number | undefined;
  /** Texts that are known already: counted (default), or kept beside them. */
  readonly repeats?: "count" | "keep" | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

export interface Remembered {
  readonly id: string;
  /** Where it restructured what was known. */
  readonly spike?: Spike | undefined;
  /** Episodes that it may contradict. */
  readonly contradicts?: readonly string[] | undefined;
  /** "new", "repeat" (the same text, or nearly), or "known" (its key was used before). */
  readonly as: "new" | "repeat" | "known";
  readonly text: string;
}

/** Texts of one call to the embedder. */
const BATCH = 64;
/** A text this similar with nearly the same terms says the same again. */
const REPEAT_COSINE = 0.97;
const REPEAT_TERMS = 0.9;

/** One after another; each is durable before the next begins, and before this returns. */
export async function remember(
  parts: Parts,
  told: readonly Told[],
  options: RememberOptions = {},
): Promise<Remembered[]> {
  const { signal, onProgress, insight = parts.settings.insight, falseAlarmRate, repeats, ...shared } = options;
  const drafts = told.flatMap((one) => draftsOf({ ...shared, ...one }, parts.now()));
  if (drafts.length === 0) throw new IroriError("bad-input", { what: "nothing to remember" });
  const remembered: Remembered[] = [];
  for (let i = 0; i < drafts.length; i += BATCH) {
    const batch = drafts.slice(i, i + BATCH);
    const vectors = await parts.embedder.embed(
      batch.map(({ text }) => text),
      { signal },
    );
    const episodes = batch.map((draft, at) => ({ ...draft, vector: vectors[at] as Float32Array }));
    for (const episode of episodes) {
      const one = await rememberOne(parts, episode, repeats);
      remembered.push(
        insight && one.as === "new" ? { ...one, spike: await notice(parts, one.id, falseAlarmRate) } : one,
      );
    }
    onProgress?.({ step: "remember", done: Math.min(drafts.length, i + BATCH), total: drafts.length, unit: "steps" });
  }
  return remembered;
}

/** Whether a new Episode restructures what was known; then the Spike is kept. */
async function notice(parts: Parts, id: string, falseAlarmRate: number | undefined): Promise<Spike | undefined> {
  const [episode] = await parts.store.getEpisodes(parts.namespace, [id]);
  if (episode === undefined) return undefined; // forgotten by somebody else already
  const judgement = await judge(parts, episode, falseAlarmRate ?? parts.settings.falseAlarmRate);
  if (!isJudged(judgement)) return undefined;
  if (parts.settings.keptJudgements === "all") await keepJudgement(parts, episode, judgement);
  return judgement.hasFired ? await keepSpike(parts, episode, judgement) : undefined;
}

export const toldByChat = (messages: readonly ChatMessage[]): Told[] =>
  messages
    .filter(({ content }) => content.trim() !== "")
    .map(({ role, content }) => ({ text: content, source: { uri: "chat", speaker: role } }));

function draftsOf(told: Told, now: number): Omit<NewEpisode, "vector">[] {
  const { text, saidAt = now, ttlMs, key, source, ...rest } = told;
  if (text.length < 1_000_000) checkText(text);
  const pieces = piecesOf(text);
  return pieces.map((piece, i) => ({
    ...rest,
    text: piece.text,
    recordedAt: saidAt,
    expiresAt: ttlMs === undefined ? undefined : saidAt + ttlMs,
    key: key === undefined || pieces.length === 1 ? key : `${key}#${i}`,
    source: source && { ...source, start: (source.start ?? 0) + piece.start, end: (source.start ?? 0) + piece.end },
  }));
}

async function rememberOne(parts: Parts, draft: NewEpisode, repeats: RememberOptions["repeats"]): Promise<Remembered> {
  const { store, namespace, now } = parts;
  const at = { knownAt: now(), validAt: now() };
  const [near = []] = await store.searchByVector(namespace, [draft.vector], { count: NEAR, filter: { at } });
  const twin = near.find(({ episode, score }) => score >= REPEAT_COSINE && isRepeat(draft, episode));
  return await store.transaction(async (inside) => {
    if (twin !== undefined && draft.key === undefined && repeats !== "keep") {
      const [known] = await inside.getEpisodes(namespace, [twin.episode.id]);
      if (known !== undefined) {
        await inside.updateEpisode(namespace, known.id, { repeats: known.repeats + 1, seenAt: draft.recordedAt });
        return { id: known.id, as: "repeat", text: draft.text };
      }
    }
    const [added] = await inside.addEpisodes(namespace, [draft], { repeats });
    if (added === undefined || !added.isNew)
      return { id: added?.id as string, as: draft.key === undefined ? "repeat" : "known", text: draft.text };
    const [episode] = (await inside.getEpisodes(namespace, [added.id])) as [Episode];
    const contradicts = await link({ ...parts, store: inside }, episode, near);
    return { id: episode.id, as: "new", text: draft.text, ...(contradicts.length > 0 && { contradicts }) };
  });
}

/** Gives an Episode its place in the Knowledge; the ids of those that it may contradict. */
async function link(parts: Parts, episode: Episode, found: readonly Found[]): Promise<string[]> {
  const { store, namespace, newId } = parts;
  // what was found before the transaction began may have been forgotten by others since
  const [own, ...others] = await store.getEpisodes(namespace, [episode.id, ...found.map((one) => one.episode.id)]);
  if (own === undefined) return [];
  const near = found.filter((_, i) => others[i] !== undefined);
  const against = contradictionLinks(episode, near, relatedOf(parts));
  const { links, concepts } = await placeOf(parts, episode, near, () => newId(episode.recordedAt));
  await store.putConcepts(namespace, concepts);
  await store.changeLinks(namespace, [...links, ...against]);
  return against.map(({ target }) => target.slice("episode:".length));
}

/** The same for one that was stored without: whether it had no links before. */
export async function linkEpisode(parts: Parts, episode: Episode): Promise<boolean> {
  const { store, namespace, now } = parts;
  const [known = []] = await store.neighbours(namespace, `episode:${episode.id}`, { hops: 1, mostNodes: 2 });
  const [vector] = await store.vectorsOf(namespace, [episode.id]);
  if (known.length > 0 || vector === undefined) return false;
  const at = { knownAt: now(), validAt: now() };
  const [near = []] = await store.searchByVector(namespace, [vector], { count: NEAR, filter: { at } });
  await store.transaction((inside) => link({ ...parts, store: inside }, episode, near));
  return true;
}

/** Nearly the same words by the same person: told again, not corrected (numbers and negations must agree). */
function isRepeat(draft: NewEpisode, known: Episode): boolean {
  if (draft.user !== known.user || draft.agent !== known.agent || draft.thread !== known.thread) return false;
  const [a, b] = [new Set(termsOf(draft.text)), new Set(termsOf(known.text))];
  const shared = [...a].filter((term) => b.has(term)).length;
  if (shared / (a.size + b.size - shared) < REPEAT_TERMS) return false;
  const telling = (terms: ReadonlySet<string>) =>
    [...terms]
      .filter((term) => /\p{N}/u.test(term))
      .sort()
      .join(" ");
  return telling(a) === telling(b) && isNegated(draft.text) === isNegated(known.text);
}

const isNegated = (text: string): boolean =>
  /\b(?:not|no|never|none|nobody|nothing|cannot|\w+n['’]t)\b|ない|ません|ず[。、]?$/iu.test(text);
