// A text as runs of letters: words of scripts that are written with spaces, and stretches of those that are not.
// It does not know stems, bigrams or what the runs are wanted for.

export interface Run {
  /** Lower case, compatibility forms resolved (NFKC), Latin letters without their marks. */
  readonly text: string;
  /** Chinese, Japanese, Korean, Thai …: words inside are not marked. */
  readonly isUnspaced: boolean;
}

const UNSPACED = String.raw`\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}ー々`;
const WORD = String.raw`[[\p{L}\p{M}\p{N}]--[${UNSPACED}]]`;
/** Numbers with separators inside stay whole; an apostrophe belongs to its word. */
const RUNS = new RegExp(
  String.raw`(?<unspaced>[${UNSPACED}\p{M}]+)|\p{N}+(?:[.,]\p{N}+)+|${WORD}+(?:['’]${WORD}+)*`,
  "gv",
);
/** Letters that NFKD takes apart into an ASCII letter and marks: those of Latin alphabets alone. */
const ACCENTED = /[\u00c0-\u024f\u1e00-\u1eff]/;

/** The runs of a text in order. Total over any string: lone surrogates and controls are no letters. */
export function runsOf(text: string): Run[] {
  const runs: Run[] = [];
  for (const match of text.normalize("NFKC").toLowerCase().matchAll(RUNS)) {
    const isUnspaced = match.groups?.unspaced !== undefined;
    runs.push({ text: isUnspaced ? match[0] : plainWord(match[0]), isUnspaced });
  }
  return runs;
}

function plainWord(word: string): string {
  if (word.length > 1 && /^\p{N}/u.test(word)) return word.replace(/,(?=\p{N}{3}(?!\p{N}))/gu, "").replaceAll(",", ".");
  const whole = word.replace(/['’]s$/, "").replace(/['’]/g, "");
  return ACCENTED.test(whole) ? whole.normalize("NFKD").replace(/\p{M}/gu, "") : whole;
}
