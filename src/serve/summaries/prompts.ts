// What the model is asked at each stage of a summary, and the shape that its answer has. Of another version, nothing that was kept is
// used. It does not know stages' order.
import type { ChatMessage } from "../../text/mod.ts";
import type { Language } from "./gates.ts";
import type { Passage } from "./split.ts";

/** Part of the key of what is kept. */
export const PROMPT_VERSION = "1";

/** A fact that was found: its text, and the passages that it is from. */
export interface Point {
  readonly text: string;
  readonly passages: readonly number[];
}

interface Words {
  readonly list: (most: number) => string;
  readonly shorten: (most: number) => string;
  readonly final: (most: number) => string;
  readonly direct: (most: number) => string;
  readonly again: (reason: string) => string;
}

const WORDS: Readonly<Record<Language, Words>> = {
  en: {
    list: (most) =>
      `Read the numbered passages. List the most important facts that they state, at most ${most}, each as one short sentence of its own with the number of its passage. Keep names, numbers and dates. Add nothing. If they state no fact, give an empty list.`,
    shorten: (most) =>
      `Merge the numbered points into at most ${most} points. Keep names, numbers and dates. Say for each from which points it is. Add nothing.`,
    final: (most) =>
      `Write a summary of the numbered points: a title, and at most ${most} bullets, each one sentence. Say for each bullet from which points it is. Add nothing.`,
    direct: (most) =>
      `Write a summary of the numbered passages: a title, and at most ${most} bullets, each one sentence. Say for each bullet from which passages it is. Add nothing.`,
    again: (reason) => `Your last answer was refused: ${reason}. Answer again, better.`,
  },
  ja: {
    list: (most) =>
      `番号付きの文章を読み、述べられている重要な事実を最大${most}件、それぞれ短い一文と出典の番号で挙げてください。固有名詞・数値・日付は残し、書かれていないことは加えないでください。事実がなければ空のリストにしてください。日本語で書いてください。`,
    shorten: (most) =>
      `番号付きの要点を最大${most}件にまとめてください。固有名詞・数値・日付は残し、それぞれの元になった要点の番号を示してください。書かれていないことは加えないでください。日本語で書いてください。`,
    final: (most) =>
      `番号付きの要点から、題名と最大${most}件の箇条書き（各一文）の要約を書き、それぞれの元になった要点の番号を示してください。書かれていないことは加えないでください。日本語で書いてください。`,
    direct: (most) =>
      `番号付きの文章から、題名と最大${most}件の箇条書き（各一文）の要約を書き、それぞれの元になった文章の番号を示してください。書かれていないことは加えないでください。日本語で書いてください。`,
    again: (reason) => `前の回答は使えませんでした（${reason}）。もう一度書き直してください。`,
  },
};

export type Stage = "map" | "reduce" | "final" | "direct";

export interface Asked {
  readonly stage: Stage;
  /** BCP 47's first part; the words are English's or Japanese's. */
  readonly language: string;
  /** Points or bullets at most. */
  readonly most: number;
  readonly numbered: readonly { readonly number: number; readonly text: string }[];
  /** Why the answer before was not taken. */
  readonly refused?: string | undefined;
}

const wordsOf = (language: string): Words => WORDS[language === "ja" ? "ja" : "en"];

/** What is to be done, without what it is to be done with. */
export function taskOf({ stage, language, most }: Asked): string {
  const words = wordsOf(language);
  return { map: words.list, reduce: words.shorten, final: words.final, direct: words.direct }[stage](most);
}

export function messagesFor(asked: Asked): ChatMessage[] {
  const { language, numbered, refused } = asked;
  const task = taskOf(asked);
  const tongue = language === "ja" || language === "en" ? "" : ` Write in the language ${language}.`;
  const body = numbered.map(({ number, text }) => `[${number}] ${text}`).join("\n\n");
  const again = refused === undefined ? "" : `\n\n${wordsOf(language).again(refused)}`;
  return [{ role: "user", content: `${task}${tongue}\n\n${body}\n\n${task}${tongue}${again}` }];
}

export const numberedPassages = (passages: readonly Passage[]): Asked["numbered"] =>
  passages.map(({ number, text }) => ({ number, text }));
export const numberedPoints = (points: readonly Point[]): Asked["numbered"] =>
  points.map(({ text }, i) => ({ number: i + 1, text }));

/** Characters of a point at most. */
export const pointCharacters = (language: string): number => (language === "ja" ? 160 : 280);

/** The schema of an answer, without the length of its strings (`pointCharacters`); numbers that it may refer to are those that it was shown. */
export function schemaFor({ stage, most, numbered }: Asked): Record<string, unknown> {
  const numbers = numbered.map(({ number }) => number);
  const number = { type: "integer", minimum: Math.min(...numbers), maximum: Math.max(...numbers) };
  const text = { type: "string", minLength: 1 };
  const object = (properties: Record<string, unknown>) => ({
    ...{ type: "object", properties, required: Object.keys(properties), additionalProperties: false },
  });
  const from = { type: "array", items: number, minItems: 1, maxItems: 8 };
  if (stage === "map")
    return object({ points: { type: "array", items: object({ text, passage: number }), minItems: 0, maxItems: most } });
  const items = { type: "array", items: object({ text, from }), minItems: 1, maxItems: most };
  return stage === "reduce" ? object({ points: items }) : object({ title: text, bullets: items });
}
