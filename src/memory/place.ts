// Where an Episode stands in the Knowledge: what it is linked with, whether it is told or only considered, so that both are
// judged alike. Nothing is stored here.
import type { Found } from "./data-store.ts";
import type { Scope } from "./episode.ts";
import { type LinkedText, type Mentions, mentionsOf, similarityLinks } from "./knowledge.ts";
import type { Parts } from "./parts.ts";

/** Episodes that a new one is compared with. */
export const NEAR = 16;

export const relatedOf = ({ settings, embedder }: Parts): number => settings.related ?? embedder.related;

/** Links and new Concepts of an Episode that is stored. @param near the episodes most like it */
export async function placeOf(
  parts: Parts,
  told: LinkedText,
  near: readonly Found[],
  newId: () => string,
  isStored = true,
): Promise<Mentions> {
  const related = relatedOf(parts);
  const { links, concepts } = await mentionsOf(parts, told, isStored, newId);
  return { links: [...similarityLinks(told, near, related), ...links], concepts };
}

/** A text as if it were told now. */
export interface ConsideredText extends Mentions {
  readonly told: LinkedText;
}

export async function consideredText(parts: Parts, text: string, scope: Scope, id: string): Promise<ConsideredText> {
  const { store, namespace, embedder, now } = parts;
  const { user, agent, thread } = scope;
  const told: LinkedText = { id, text, recordedAt: now(), user, agent, thread };
  const [vector] = (await embedder.embed([text])) as [Float32Array];
  const at = { knownAt: now(), validAt: now() };
  const [near = []] = await store.searchByVector(namespace, [vector], { count: NEAR, filter: { at } });
  let concepts = 0;
  return { told, ...(await placeOf(parts, told, near, () => `${id}-${++concepts}`, false)) };
}
