// One answer of a shape: kept from before, or asked for, watched while it is written, repaired, refused and asked for again, a bounded
// number of times. It does not know what the answers are for.
import { createHash } from "node:crypto";
import { jsonrepair } from "jsonrepair";
import { IroriError } from "../../base/mod.ts";
import type { Sampling } from "../../engine/mod.ts";
import type { ChatMessage } from "../../text/mod.ts";
import { EngineLostError } from "../engine-lost.ts";
import { RefusedError } from "../lanes.ts";
import { countingIn, echoOf, loopAtEnd, repetitionIn, wrongLanguage } from "./gates.ts";
import { type Asked, messagesFor, PROMPT_VERSION, pointCharacters, schemaFor, taskOf } from "./prompts.ts";

export interface Written {
  /** What has been written since the last. */
  readonly text: string;
  /** With the last: it ended by itself, or at its limit. */
  readonly isCut?: boolean;
  readonly promptTokens?: number;
  readonly tokens?: number;
}

/** Whoever writes: a model behind lanes, a server, a script. */
export interface SummaryWriter {
  readonly model: string;
  /** Changes when the weights do. */
  readonly identity: string;
  /** Tokens of prompt and answer together. */
  readonly context: number;
  /** Tokens of a text, by the model's tokenizer. */
  count(text: string): Promise<number>;
  /** Tokens of a chat as the model gets it. */
  countPrompt(messages: readonly ChatMessage[]): Promise<number>;
  /** Streams an answer; a reader that stops ends it. */
  write(ask: WriterAsk, signal: AbortSignal | undefined): AsyncGenerator<Written, void>;
}

export interface WriterAsk {
  readonly messages: readonly ChatMessage[];
  readonly maxTokens: number;
  readonly schema: Readonly<Record<string, unknown>>;
  /** Characters of any of its strings, more or less. */
  readonly longestString: number;
  readonly sampling: Partial<Sampling>;
  readonly seed: number;
}

/** Where finished answers stay. */
export interface Kept {
  get(key: string): Promise<string | undefined>;
  put(key: string, value: string): Promise<void>;
}

export interface Answered<T> {
  readonly value: T;
  /** 1: the first answer was taken. */
  readonly attempts: number;
  readonly wasKept: boolean;
  /** It was not JSON as it came. */
  readonly wasRepaired: boolean;
  /** It stops at its limit of tokens. */
  readonly isCut: boolean;
  readonly promptTokens: number;
  readonly tokens: number;
  /** Why those before it were not taken. */
  readonly refused: readonly string[];
}

/** No answer was one that can be used. */
export class NoAnswerError extends IroriError {
  readonly refused: readonly string[];
  constructor(refused: readonly string[]) {
    const what = `no usable answer came in ${refused.length} attempts`;
    super("io", { what, got: refused.join("; then "), next: "try a stronger model, or a shorter text" });
    this.name = "NoAnswerError";
    this.refused = refused;
  }
}

export interface AskingOptions {
  readonly writer: SummaryWriter;
  readonly kept: Kept | undefined;
  readonly signal: AbortSignal | undefined;
  /** Waits; rejects when the signal aborts. */
  readonly wait: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
  readonly onToken?: (() => void) | undefined;
}

const ATTEMPTS = 3;
/** Engines that die under one answer before it is given up. */
const MOST_LOST = 20;
/** The first attempt is the likeliest answer; later ones may differ. */
const SAMPLINGS: readonly Partial<Sampling>[] = [
  { temperature: 0 },
  { temperature: 0.4, topP: 0.9, repetitionPenalty: 1.1 },
  { temperature: 0.7, topP: 0.9, repetitionPenalty: 1.15 },
];
/** Characters between two looks for a loop. */
const STRIDE = 48;

export class Asking {
  readonly #options: AskingOptions;
  constructor(options: AskingOptions) {
    this.#options = options;
  }

  /** `read` makes a value of the JSON, or says why it cannot be. Throws NoAnswerError, "cancelled", or what the writer throws for good. */
  async ask<T>(
    asked: Asked,
    maxTokens: number,
    read: (json: unknown, isLast: boolean) => T | string,
  ): Promise<Answered<T>> {
    const refused: string[] = [];
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const ask: WriterAsk = {
        messages: messagesFor({ ...asked, refused: refused.at(-1) }),
        ...{
          maxTokens,
          schema: schemaFor(asked),
          longestString: pointCharacters(asked.language),
          sampling: SAMPLINGS[attempt] ?? {},
          seed: attempt,
        },
      };
      const key = this.#keyOf(ask);
      const isLast = attempt === ATTEMPTS - 1;
      const kept = await this.#kept(key);
      const made = kept ?? (await this.#write(ask));
      const reason = made.reason ?? this.#judge(asked, made, isLast);
      const value = reason === undefined ? read(made.json, isLast) : reason;
      if (typeof value === "string") {
        refused.push(value);
        if (kept === undefined) await this.#options.kept?.put(key, JSON.stringify({ ...made, reason: value }));
        continue;
      }
      if (kept === undefined) await this.#options.kept?.put(key, JSON.stringify(made));
      const { isCut, wasRepaired, promptTokens, tokens } = made;
      return {
        value,
        attempts: attempt + 1,
        wasKept: kept !== undefined,
        wasRepaired,
        isCut,
        promptTokens,
        tokens,
        refused,
      };
    }
    throw new NoAnswerError(refused);
  }

  #keyOf({ messages, maxTokens, schema, sampling, seed }: WriterAsk): string {
    const { model, identity } = this.#options.writer;
    const parts = [PROMPT_VERSION, model, identity, messages, maxTokens, schema, sampling, seed];
    return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
  }
  async #kept(key: string): Promise<Made | undefined> {
    const text = await this.#options.kept?.get(key);
    return text === undefined ? undefined : (JSON.parse(text) as Made);
  }

  #judge(asked: Asked, { json, isCut }: Made, isLast: boolean): string | undefined {
    if (isCut && !isLast) return "it is too long";
    const strings = stringsOf(json);
    const text = strings.join("\n");
    return (
      repetitionIn(text) ??
      reasonIn(strings, countingIn) ??
      reasonIn(strings, (each) => echoOf(taskOf(asked), each)) ??
      wrongLanguage(text, asked.language)
    );
  }

  #write(ask: WriterAsk): Promise<Made> {
    const { writer, signal } = this.#options;
    return this.patiently(() => this.#stream(writer.write(ask, signal)));
  }
  /** One answer of the writer. A full lane is waited for, a dead engine asked again: neither is an answer. */
  async patiently<T>(ask: () => Promise<T>): Promise<T> {
    const { signal, wait } = this.#options;
    for (let lost = 0; ; ) {
      try {
        return await ask();
      } catch (error) {
        if (error instanceof RefusedError) await wait(Math.min(1000 * error.retryAfterS, 1000), signal);
        else if (error instanceof EngineLostError && ++lost < MOST_LOST) await wait(250, signal);
        else throw error;
      }
    }
  }

  async #stream(stream: AsyncGenerator<Written, void>): Promise<Made> {
    let [text, looked, isCut, promptTokens, tokens] = ["", 0, false, 0, 0];
    for await (const written of stream) {
      text += written.text;
      this.#options.onToken?.();
      isCut = written.isCut ?? isCut;
      promptTokens = written.promptTokens ?? promptTokens;
      tokens = written.tokens ?? tokens + 1;
      if (text.length - looked < STRIDE) continue;
      looked = text.length;
      const loop = loopAtEnd(text.slice(-1_200));
      const made = { json: null, isCut, wasRepaired: false, promptTokens, tokens };
      if (loop !== undefined) return { ...made, reason: `it repeats ${JSON.stringify(loop.slice(0, 40))}` };
    }
    return { ...parsed(text, isCut), isCut, promptTokens, tokens };
  }
}

interface Made {
  readonly json: unknown;
  readonly isCut: boolean;
  readonly wasRepaired: boolean;
  readonly promptTokens: number;
  readonly tokens: number;
  /** Why it cannot be used. */
  readonly reason?: string;
}

/** JSON as it is, or repaired; of an answer that was cut the last, half item is left out. */
function parsed(text: string, isCut: boolean): Pick<Made, "json" | "wasRepaired"> & { readonly reason?: string } {
  try {
    return { json: JSON.parse(text) as unknown, wasRepaired: false };
  } catch {
    // repaired below
  }
  try {
    const json = JSON.parse(jsonrepair(text)) as unknown;
    if (typeof json !== "object" || json === null)
      return { json: null, wasRepaired: true, reason: "it is no JSON object" };
    if (isCut) for (const value of Object.values(json)) if (Array.isArray(value) && value.length > 1) value.pop();
    return { json, wasRepaired: true };
  } catch (error) {
    return { json: null, wasRepaired: true, reason: `it is no JSON (${(error as Error).message})` };
  }
}

/** The first reason against one of some strings. */
const reasonIn = (strings: readonly string[], against: (each: string) => string | undefined): string | undefined =>
  strings.map(against).find((reason) => reason !== undefined);

function stringsOf(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap(stringsOf);
}
