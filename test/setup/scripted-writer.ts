// Who writes summaries for tests: no model, but a real one's tokenizer where one is given, and a script that makes answers of what it is asked.
// It keeps books of every call: what was asked, whether it would have fitted. It does not know what is tested with it.
import { setTimeout as wait } from "node:timers/promises";
import type { SummarizeOptions, SummaryWriter } from "../../src/serve/mod.ts";
import type { ChatMessage } from "../../src/text/mod.ts";

export interface Numbered {
  readonly number: number;
  readonly text: string;
}
export interface Seen {
  readonly stage: "map" | "reduce" | "final" | "direct";
  readonly items: readonly Numbered[];
  readonly most: number;
  readonly attempt: number;
  readonly promptTokens: number;
  readonly maxTokens: number;
}
export type Script = (seen: Seen) => object | string;

export interface Tokens {
  count(text: string): number;
  countPrompt(messages: readonly ChatMessage[]): Promise<number>;
}
/** A token a word, and one for a character of a script without spaces. */
export const words: Tokens = {
  count: (text) => text.match(/[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]|[^\s]+/gu)?.length ?? 0,
  countPrompt: async (messages) => words.count(messages.map(({ content }) => content).join("\n")) + 12,
};

/** What a prompt lists: "[3] text", behind a blank line each. */
const itemsOf = (content: string): Numbered[] =>
  content.split(/\n\n(?=\[\d+\] )/).flatMap((part, i) => {
    const [, number, text] = /^\[(\d+)\] ([\s\S]*)$/.exec(part) ?? [];
    const end = text?.search(/\n\n(?:Read the|Merge the|Write a|番号)/) ?? -1;
    return i > 0 && number ? [{ number: Number(number), text: (end < 0 ? text : text?.slice(0, end)) ?? "" }] : [];
  });

/** What a prompt and its schema ask for. */
export function seenOf(content: string, schema: object): Seen {
  const { properties } = schema as { properties: Record<string, { maxItems: number; items: { properties: object } }> };
  const list = (properties.points ?? properties.bullets) as { maxItems: number; items: { properties: object } };
  const isDirect = content.includes("passages") || content.includes("番号付きの文章");
  const stage = properties.bullets
    ? isDirect
      ? "direct"
      : "final"
    : "passage" in list.items.properties
      ? "map"
      : "reduce";
  return { stage, items: itemsOf(content), most: list.maxItems, attempt: 1, promptTokens: 0, maxTokens: 0 };
}

export class ScriptedWriter implements SummaryWriter {
  readonly model = "scripted";
  readonly identity = "1";
  readonly context: number;
  readonly seen: Seen[] = [];
  running = 0;
  mostRunning = 0;
  /** Pieces that were read before the reader left. */
  piecesRead = 0;
  readonly #script: Script;
  readonly #tokens: Tokens;
  readonly #pieceMs: number;
  constructor(script: Script, { context = 8192, tokens = words, pieceMs = 0 } = {}) {
    this.#script = script;
    this.context = context;
    this.#tokens = tokens;
    this.#pieceMs = pieceMs;
  }
  async count(text: string): Promise<number> {
    return this.#tokens.count(text);
  }
  countPrompt(messages: readonly ChatMessage[]): Promise<number> {
    return this.#tokens.countPrompt(messages);
  }
  async *write(
    { messages, maxTokens, schema, seed }: Parameters<SummaryWriter["write"]>[0],
    signal: AbortSignal | undefined,
  ) {
    const promptTokens = await this.countPrompt(messages);
    const content = messages.map((message) => message.content).join("\n");
    const asked: Seen = { ...seenOf(content, schema), attempt: seed + 1, promptTokens, maxTokens };
    this.seen.push(asked);
    this.mostRunning = Math.max(this.mostRunning, ++this.running);
    try {
      const made = this.#script(asked);
      const text = typeof made === "string" ? made : JSON.stringify(made);
      for (let at = 0; at < text.length; at += 16) {
        if (this.#pieceMs > 0) await wait(this.#pieceMs);
        signal?.throwIfAborted();
        this.piecesRead++;
        yield { text: text.slice(at, at + 16) };
      }
      yield { text: "", isCut: false, promptTokens, tokens: Math.ceil(text.length / 4) };
    } finally {
      this.running--;
    }
  }
}

export const optionsFor = (writer: SummaryWriter, more: Partial<SummarizeOptions> = {}): SummarizeOptions => ({
  ...{ writer, now: () => performance.now(), wait: async () => undefined, ...more },
});

/** Keeps what a text says of things that are numbered "N-07"; other points go first when room is short. */
export const honest: Script = ({ stage, items, most }) => {
  const isNeedle = (text: string) => /N-\d+/.test(text);
  if (stage === "map") {
    const sentences = items.flatMap(({ number, text }) =>
      text.split(/(?<=[.。])\s*/u).map((each) => ({ text: each, passage: number })),
    );
    const needles = sentences.filter(({ text }) => isNeedle(text));
    const others = sentences.filter(({ text }) => text !== "" && !isNeedle(text));
    return { points: [...needles, ...others].slice(0, most) };
  }
  const points = [...items].sort((a, b) => Number(isNeedle(b.text)) - Number(isNeedle(a.text)));
  const kept = points.slice(0, most).map(({ number, text }) => ({ text, from: [number] }));
  return stage === "reduce" ? { points: kept } : { title: "What is stored", bullets: kept };
};
