// Whether two texts about the same thing say different things: found by their words, shown with a reason, never decided.
// It does not know stores.
import { termsOf } from "../text/mod.ts";
import type { Found, Link } from "./data-store.ts";
import { type LinkedText, mayMeet } from "./knowledge.ts";

/** Share of the shorter text's terms that both must have. */
const SHARED = 0.6;
/** Terms in which they may differ: more, and they are about different things. */
const MOST_DIFFERENT = 2;

const NEGATION = /\b(?:not|no|never|none|nobody|nothing|cannot|no longer|\w+n['’]t)\b|ない|ません|なかった/giu;

/** In words, why they may contradict each other; undefined where they do not seem to. */
export function contradictionBetween(a: string, b: string): string | undefined {
  const [inA, inB] = [new Set(termsOf(a)), new Set(termsOf(b))];
  const shared = [...inA].filter((term) => inB.has(term)).length;
  if (shared < 2 || shared / Math.min(inA.size, inB.size) < SHARED) return undefined;
  const [onlyA, onlyB] = [[...inA].filter((term) => !inB.has(term)), [...inB].filter((term) => !inA.has(term))];
  const numbers = (terms: readonly string[]) => terms.filter((term) => /^\p{N}/u.test(term));
  if (numbers(onlyA).length > 0 && numbers(onlyB).length > 0)
    return `one says ${numbers(onlyA).join(", ")}, the other ${numbers(onlyB).join(", ")}`;
  const negations = (text: string) => [...text.matchAll(NEGATION)].length % 2;
  const telling = (terms: readonly string[]) => terms.filter((term) => !NEGATING.has(term));
  if (
    negations(a) !== negations(b) &&
    telling(onlyA).length <= MOST_DIFFERENT &&
    telling(onlyB).length <= MOST_DIFFERENT
  )
    return "one denies what the other says";
  const isOneValue =
    onlyA.length > 0 && onlyB.length > 0 && onlyA.length <= MOST_DIFFERENT && onlyB.length <= MOST_DIFFERENT;
  if (isOneValue && shared >= 3) return `one says ${onlyA.join(" ")}, the other ${onlyB.join(" ")}`;
  return undefined;
}

const NEGATING = new Set(termsOf("not no never none nobody nothing cannot longer dont doesnt didnt isnt wasnt"));

/** Links "contradicts" from a new episode to those it may contradict. */
export function contradictionLinks(episode: LinkedText, near: readonly Found[], related: number): Link[] {
  return near.flatMap((found): Link[] => {
    if (found.score < related || found.episode.id === episode.id || !mayMeet(episode, found.episode)) return [];
    const reason = contradictionBetween(episode.text, found.episode.text);
    if (reason === undefined) return [];
    return [
      {
        source: `episode:${episode.id}`,
        target: `episode:${found.episode.id}`,
        kind: "contradicts",
        weight: Math.min(1, found.score),
        attributes: { reason },
        recordedAt: episode.recordedAt,
      },
    ];
  });
}
