// The work of bench/many.ts that sides share, word for word. It does not know who does it.
import { DECODE_PROMPT, promptIds } from "./work.ts";

/** Tokens of each answer that is made beside others. */
export const STEPS = 64;
/** Tokens that prompts begin alike with. */
export const PREFIX_TOKENS = 1000;
/** Candidates of one prompt, and the tokens of both. */
export const CANDIDATES = 20;
export const CANDIDATE_TOKENS = 8;
export const SCORED_PROMPT = 200;
/** Texts that are embedded, and the tokens of each with the two special ones. */
export const TEXTS = 200;
export const TEXT_TOKENS = 104;

/** Prompts of DECODE_PROMPT tokens that have nothing in common. */
export const manyPrompts = (rows: number, vocabSize: number): number[][] =>
  Array.from({ length: rows }, (_, row) => [50 + row, ...promptIds(DECODE_PROMPT - 1, vocabSize)]);

/** Tokens a second in all while every one of some answers is decoded: from when the last has its first token until the first has its last. */
export function rateOfAll(all: readonly (readonly number[])[]): number {
  const start = Math.max(...all.map((at) => at[0] as number));
  const end = Math.min(...all.map((at) => at.at(-1) as number));
  const made = all.flatMap((at) => at.filter((moment) => moment > start && moment <= end)).length;
  return (made * 1000) / (end - start);
}

/** Words that are one token each in BERT's vocabulary. */
const WORDS =
  "house fire water people winter children stone river bread morning light garden window music road field letter summer night green old small great quiet bright warm under over after before through between always never often first second third country city market school book table door tree bird horse ship island mountain valley rain snow wind cloud star moon sun earth sea".split(
    " ",
  );

/** Texts of TEXT_TOKENS tokens, all different. */
export const sentences = (): string[] =>
  Array.from({ length: TEXTS }, (_, text) =>
    Array.from({ length: TEXT_TOKENS - 2 }, (_, i) => WORDS[(text * 7 + i * (3 + (text % 11))) % WORDS.length]).join(
      " ",
    ),
  );
