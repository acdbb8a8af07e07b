// What no answer may be: a loop, no words, the task's own words, or in another language than was asked for. Pure; linear in the text's length.
// It does not know models or summaries.

export type Language = "en" | "ja";

const JAPANESE = /[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}ー]/gu;
const LATIN = /\p{Script=Latin}/gu;
const count = (text: string, what: RegExp): number => text.match(what)?.length ?? 0;

/** Japanese where a quarter of the letters are its; a Japanese character says as much as two or three Latin letters. */
export function languageOf(text: string): Language {
  const [japanese, latin] = [count(text, JAPANESE), count(text, LATIN)];
  return japanese > 0 && japanese >= (japanese + latin) * 0.25 ? "ja" : "en";
}

/** Why a text is not in a language; undefined where it is, or is too short to tell. Names and terms of other scripts are allowed. */
export function wrongLanguage(text: string, wanted: string): string | undefined {
  const [japanese, latin] = [count(text, JAPANESE), count(text, LATIN)];
  if (japanese + latin < 12) return undefined;
  const share = japanese / (japanese + latin);
  if (wanted === "ja" && share < 0.4) return `it is not in Japanese (${Math.round(share * 100)} % of its letters are)`;
  if (wanted === "en" && share > 0.2)
    return `it is not in English (${Math.round(share * 100)} % of its letters are Japanese)`;
  return undefined;
}

/** Longest stretch that is looked for as one that repeats. */
const MOST_PERIOD = 160;
const LETTER = /[\p{L}\p{N}]/u;

/**
 * The stretch that the end of a text repeats, if it does: at least 4 times (or `least`; one fewer of a sentence's length) and 32 characters (8 and 64 for up to two characters).
 * Rows of punctuation (rules, tables) are none.
 */
export function loopAtEnd(text: string, least = 4): string | undefined {
  const end = text.length;
  for (let period = 1; period <= MOST_PERIOD && period * 3 <= end; period++) {
    // stretches of a sentence's length are a loop when they come three times
    const times = period >= 24 ? least - 1 : least;
    const wanted = Math.max(period * times, period <= 2 ? 64 : 32);
    if (wanted > end) continue;
    let same = period;
    while (same < wanted && text[end - 1 - same] === text[end - 1 - same + period]) same++;
    const unit = text.slice(end - period);
    if (same >= wanted && LETTER.test(unit)) return unit;
  }
  return undefined;
}

/** Characters between two looks for a loop in a whole text. */
const STRIDE = 24;
/** Words, or characters of a script without spaces, that are one of the pieces counted below. */
const [PIECE_WORDS, PIECE_CHARACTERS] = [6, 14];

/** Why a whole text is one that repeats itself; undefined for one that does not. */
export function repetitionIn(text: string): string | undefined {
  const loop = loopIn(text);
  if (loop !== undefined) return `it repeats ${JSON.stringify(loop.slice(0, 40))}`;
  const lines = text
    .split("\n")
    .map((line) => line.replace(/^[\s\-*•\d.)#]+/, "").trim())
    .filter((line) => line.length > 8);
  if (lines.length >= 4 && new Set(lines).size <= lines.length / 2) return "its lines repeat";
  const words = text.split(/\s+/u).filter((word) => LETTER.test(word));
  const isSpaced = text.length / Math.max(1, words.length) < 14;
  const pieces = isSpaced
    ? windows(words, PIECE_WORDS, " ")
    : windows([...text.replace(/[^\p{L}]/gu, "")], PIECE_CHARACTERS, "");
  if (pieces.length < 40) return undefined;
  const share = new Set(pieces).size / pieces.length;
  return share < 0.5 ? `${Math.round((1 - share) * 100)} % of it was said before` : undefined;
}

function loopIn(text: string, least?: number): string | undefined {
  for (let end = STRIDE; end < text.length + STRIDE; end += STRIDE) {
    const loop = loopAtEnd(text.slice(Math.max(0, end - 1_200), end), least);
    if (loop !== undefined) return loop;
  }
  return undefined;
}

/** Why a text is the task's own wording handed back; undefined where it is not. */
export function echoOf(task: string, text: string): string | undefined {
  const asked = new Set(piecesOf(task));
  const piece = piecesOf(text).find((each) => asked.has(each));
  return piece && `it repeats what was asked for (${JSON.stringify(piece)})`;
}

const piecesOf = (text: string): string[] => [
  ...windows(
    text
      .toLowerCase()
      .split(/[^\p{L}\p{N}]+/u)
      .filter((word) => word !== ""),
    PIECE_WORDS,
    " ",
  ),
  ...windows([...text.replace(/[^\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]/gu, "")], PIECE_CHARACTERS, ""),
];

/** Why one sentence is a loop that counts: the same stretch again and again but for its digits. Of a list that would be no fault. */
export function countingIn(sentence: string): string | undefined {
  const loop = loopIn(sentence.replace(/\d/gu, "0"), 6);
  return loop && `it goes on counting ${JSON.stringify(loop.slice(0, 40))}`;
}

/** Whether a text says anything: a point or bullet without a letter or a number of two digits counts as an empty one. */
export const hasWords = (text: string): boolean => /\p{L}|\p{N}{2}/u.test(text);

const windows = (parts: readonly string[], size: number, by: string): string[] =>
  Array.from({ length: Math.max(0, parts.length - size + 1) }, (_, i) => parts.slice(i, i + size).join(by));
