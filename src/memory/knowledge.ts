// How an Episode finds its place in the Knowledge: linked with the episodes it is like, and with Concepts for the rare words
// and names it shares with others. No language model is needed. It does not know what becomes of the links.
import { isFunctionWord, stemmed, wordRunsOf } from "../text/mod.ts";
import type { Concept, Found, Link } from "./data-store.ts";
import type { Episode, Scope } from "./episode.ts";
import type { Parts } from "./parts.ts";

/** Links by similarity from one episode, the strongest. */
const MOST_SIMILAR = 12;
/** Rare words and names of one episode that become Concepts. */
const MOST_CONCEPTS = 10;
/** A word that stands in more episodes, or in a larger share of them, tells nothing. */
const MOST_MENTIONS = 40;
const LARGEST_SHARE = 0.03;
/** In a small memory a word of two or three episodes is rare enough. */
const LEAST_BORDER = 10;

/** A word or name that may become a Concept. */
export interface Candidate {
  readonly kind: "term" | "name";
  /** In lower case, as it is compared. */
  readonly name: string;
  /** As the text has it. */
  readonly surface: string;
  /** Its search terms. */
  readonly terms: readonly string[];
}

/** Of an Episode, or of a text that might become one, what its links depend on. */
export type LinkedText = Scope & Pick<Episode, "id" | "text" | "recordedAt">;

/** Two episodes may be linked where nobody learns of the other's user by it. */
export const mayMeet = (a: Scope, b: Scope): boolean =>
  a.user === undefined || b.user === undefined || a.user === b.user;

/** Words, names of several capitalised words, and stretches of kanji or katakana; each once. */
export function candidatesOf(text: string): Candidate[] {
  const found = new Map<string, Candidate>();
  const note = (candidate: Candidate) => {
    if (!found.has(candidate.name)) found.set(candidate.name, candidate);
  };
  for (const [name] of text.matchAll(/\p{Lu}[\p{L}\p{N}'’-]+(?: \p{Lu}[\p{L}\p{N}'’-]+)+/gu)) {
    const words = name.split(" ").filter((word) => !isFunctionWord(word.toLowerCase()));
    if (words.length > 1)
      note({
        kind: "name",
        name: words.join(" ").toLowerCase(),
        surface: words.join(" "),
        terms: words.map((word) => stemmed(word.toLowerCase())),
      });
  }
  for (const [run] of text.normalize("NFKC").matchAll(/[\p{sc=Han}々]{2,}|[\p{sc=Katakana}ー]{2,}/gu)) {
    const characters = [...run];
    note({
      kind: "term",
      name: run,
      surface: run,
      terms: characters.slice(1).map((one, i) => (characters[i] as string) + one),
    });
  }
  for (const word of wordRunsOf(text))
    if (word.length > 2 && !isFunctionWord(word) && !/^\p{N}+$/u.test(word))
      note({ kind: "term", name: stemmed(word), surface: word, terms: [stemmed(word)] });
  return [...found.values()];
}

/** Links by similarity: the strongest of what is related at all. What the store usually has in common is reckoned off when links are read. */
export function similarityLinks(episode: LinkedText, near: readonly Found[], related: number): Link[] {
  return near
    .filter((found) => found.episode.id !== episode.id && found.score >= related && mayMeet(episode, found.episode))
    .slice(0, MOST_SIMILAR)
    .map((found) => ({
      source: `episode:${episode.id}`,
      target: `episode:${found.episode.id}`,
      kind: "similar",
      weight: Math.min(1, found.score),
      recordedAt: episode.recordedAt,
    }));
}

/** In how many episodes a word may stand and still be rare, of so many. */
export const mostMentions = (episodes: number): number =>
  Math.max(LEAST_BORDER, Math.min(MOST_MENTIONS, LARGEST_SHARE * episodes));

/** How strongly a mention links: 1 where two episodes share it, less the more do. */
export const mentionWeight = (mentions: number): number => 1 / (1 + Math.log2(Math.max(2, mentions) / 2));

/** Words and names that stand in a few episodes, the rarest first. @param isStored whether the text itself is among the episodes */
async function rareCandidates(
  { store, namespace }: Pick<Parts, "store" | "namespace">,
  text: string,
  isStored: boolean,
): Promise<{ readonly candidate: Candidate; readonly count: number }[]> {
  const candidates = candidatesOf(text);
  const terms = [...new Set(candidates.flatMap((candidate) => candidate.terms))];
  const counts = await store.termCounts(namespace, terms);
  const countOf = new Map(terms.map((term, i) => [term, (counts[i] as number) + (isStored ? 0 : 1)]));
  const border = mostMentions((await store.countEpisodes(namespace)) + (isStored ? 0 : 1));
  return candidates
    .map((candidate) => ({ candidate, count: Math.min(...candidate.terms.map((term) => countOf.get(term) ?? 0)) }))
    .filter(({ count }) => count >= 2 && count <= border)
    .sort((a, b) => a.count - b.count || Number(b.candidate.kind === "name") - Number(a.candidate.kind === "name"))
    .slice(0, MOST_CONCEPTS);
}

/** Links to Concepts for what an Episode shares with a few others, and Concepts that are new, with the links of those others too. */
export interface Mentions {
  readonly links: readonly Link[];
  readonly concepts: readonly Concept[];
}

/** @param isStored whether it is among the episodes already and counts among the mentions */
export async function mentionsOf(
  parts: Pick<Parts, "store" | "namespace">,
  told: LinkedText,
  isStored: boolean,
  newId: () => string,
): Promise<Mentions> {
  const { store, namespace } = parts;
  const links: Link[] = [];
  const concepts: Concept[] = [];
  for (const { candidate, count } of await rareCandidates(parts, told.text, isStored)) {
    const { kind, name, surface, terms } = candidate;
    const known = await store.findConcept(namespace, kind, name);
    const others = known === undefined ? await otherMentions(parts, told, candidate) : [];
    if (known === undefined && others.length === 0) continue;
    const id = known?.id ?? newId();
    if (known === undefined) concepts.push({ id, kind, name, attributes: { surface, terms }, isPinned: false });
    const weight = mentionWeight(count);
    for (const source of [...others, told])
      links.push({
        ...{ source: `episode:${source.id}`, target: `concept:${id}`, kind: "mentions" },
        ...{ weight, recordedAt: told.recordedAt },
      });
  }
  return { links, concepts };
}

async function otherMentions(
  { store, namespace }: Pick<Parts, "store" | "namespace">,
  episode: LinkedText,
  { name, terms }: Candidate,
): Promise<Episode[]> {
  const found = await store.searchByTerms(namespace, terms, { count: MOST_MENTIONS });
  return found
    .map((one) => one.episode)
    .filter(
      (other) =>
        other.id !== episode.id && mayMeet(episode, other) && candidatesOf(other.text).some((one) => one.name === name),
    );
}
