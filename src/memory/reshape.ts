// Episodes put together, taken apart, pinned: the reference's arithmetic of confidence, and an index that follows.
// It does not know why.
import { IroriError } from "../base/mod.ts";
import { mergedConfidence, splitConfidence } from "./confidence.ts";
import type { Episode } from "./episode.ts";
import { needEpisode } from "./needed.ts";
import type { Parts } from "./parts.ts";
import { remember } from "./remember.ts";
import { sentencesOf } from "./sentences.ts";

/** Between texts that were put together. */
const SEAM = " [MERGED] ";
/** Shorter sentences do not stand alone. */
const LEAST_CHARACTERS = 10;

/** One Episode in the place of several, its confidence by their lengths. All or nothing. */
export async function merge(parts: Parts, ids: readonly string[]): Promise<Episode> {
  if (new Set(ids).size < 2)
    throw new IroriError("bad-input", { what: "episodes to merge", got: ids.length, wanted: "2 or more" });
  const old = await Promise.all(ids.map((id) => needEpisode(parts, id)));
  const [{ user, agent, thread }] = old as [Episode];
  if (old.some((one) => one.user !== user))
    throw new IroriError("bad-input", { what: "episodes of several users cannot be merged" });
  const text = old.map((one) => one.text).join(SEAM);
  const confidence = mergedConfidence(old);
  const told = {
    text,
    user,
    agent,
    thread,
    confidence,
    metadata: { mergedFrom: [...ids] },
    isPinned: old.some(({ isPinned }) => isPinned),
  };
  return (await replace(parts, old, [told]))[0] as Episode;
}

/** Its sentences as Episodes of their own, each with nine tenths of the confidence. All or nothing. */
export async function split(parts: Parts, id: string): Promise<Episode[]> {
  const old = await needEpisode(parts, id);
  const sentences = sentencesOf(old.text).filter(({ text }) => text.length > LEAST_CHARACTERS);
  if (sentences.length < 2)
    throw new IroriError("bad-input", { what: `episode ${id} is one sentence`, next: "there is nothing to split" });
  const { user, agent, thread, source, metadata } = old;
  const told = sentences.map((sentence, i) => ({
    ...{ text: sentence.text, user, agent, thread, isPinned: old.isPinned },
    source: source && {
      ...source,
      start: (source.start ?? 0) + sentence.start,
      end: (source.start ?? 0) + sentence.end,
    },
    metadata: { ...metadata, splitPart: i + 1, splitTotal: sentences.length },
    confidence: splitConfidence(old.confidence),
  }));
  return await replace(parts, [old], told);
}

async function replace(
  parts: Parts,
  old: readonly Episode[],
  told: Parameters<typeof remember>[1],
): Promise<Episode[]> {
  await parts.embedder.embed(told.map(({ text }) => text)); // now, so that nobody waits for a model while the store is held
  return await parts.store.transaction(async (inside) => {
    const own = { ...parts, store: inside };
    await inside.deleteEpisodes(
      parts.namespace,
      old.map(({ id }) => id),
    );
    const made = await remember(own, told, { insight: false, repeats: "keep" });
    return await Promise.all(made.map(({ id }) => needEpisode(own, id)));
  });
}

export async function pin(parts: Parts, id: string, isPinned: boolean): Promise<Episode> {
  return await parts.store.updateEpisode(parts.namespace, (await needEpisode(parts, id)).id, { isPinned });
}
