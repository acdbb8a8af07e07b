// A text as search terms: stems of words, and pairs of characters where a script does not mark its words.
// The one place that decides what two texts have in common as words; it does not know indexes or ranking.
import { stemmer } from "stemmer";
import { runsOf } from "./words.ts";

/** Of another version, terms of stored texts are made anew: an index holds terms of one version only. */
export const TERMS_VERSION = 1;

/** Longer runs are no words (base64, hashes): their start tells them apart well enough. */
const MOST_CHARACTERS = 40;

/** English words that nearly every text holds. A text of nothing else keeps them. */
const FUNCTION_WORDS = new Set(
  (
    "a about after all also an and any are as at be been but by can could did do does for from had has have he her his how i if in into is it its " +
    "just me my no not of on or our she so than that the their them then there these they this those to was we were what when " +
    "where which who why will with would you your"
  ).split(" "),
);

/**
 * The terms of a text, in order, repeats kept. English stems follow Porter; runs of unspaced scripts give every two
 * neighbouring characters ("東京都" → 東京, 京都), a single character itself. The same text gives the same terms everywhere.
 */
export function termsOf(text: string): string[] {
  const all: string[] = [];
  const telling: string[] = [];
  for (const { text: run, isUnspaced } of runsOf(text))
    if (isUnspaced) {
      const pairs = pairsOf(run);
      all.push(...pairs);
      telling.push(...pairs);
    } else {
      const stem = stemmed(run);
      all.push(stem);
      if (!FUNCTION_WORDS.has(run)) telling.push(stem);
    }
  return telling.length > 0 ? telling : all;
}

/** The words of a text in order, in lower case, unspaced scripts left out. */
export const wordRunsOf = (text: string): string[] =>
  runsOf(text).flatMap(({ text: run, isUnspaced }) => (isUnspaced ? [] : [run]));

/** Whether a word (lower case) says little by itself. */
export const isFunctionWord = (word: string): boolean => FUNCTION_WORDS.has(word);

function pairsOf(run: string): string[] {
  const characters = [...run];
  if (characters.length < 2) return characters;
  return characters.slice(1).map((character, i) => (characters[i] as string) + character);
}

/** Stems seen, so that a long import does not stem "hearth" ten thousand times. */
const stems = new Map<string, string>();
const MOST_STEMS = 50_000;

/** Porter's stem of a word in lower case; other alphabets and numbers as they are. */
export function stemmed(word: string): string {
  const known = stems.get(word);
  if (known !== undefined) return known;
  const cut = word.length > MOST_CHARACTERS ? word.slice(0, MOST_CHARACTERS).toWellFormed() : word;
  const stem = /^[a-z]+$/.test(cut) ? stemmer(cut) : cut;
  if (stems.size >= MOST_STEMS) stems.clear();
  stems.set(word, stem);
  return stem;
}
