// Chats to prompts: runs the model's Jinja template, and makes token ids of the outcome such that control tokens come
// from the template alone. Does not know models; the only file that imports the template engine, and that lazily.
import type * as Jinja from "@huggingface/jinja";
import { IroriError } from "../base/mod.ts";
import { guardChat } from "./chat-guard.ts";
import { formatTime } from "./format-time.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface ChatMessage {
  readonly role: string;
  readonly content?: unknown;
  /** tool_calls, name and whatever else the template of the model reads; plain data. */
  readonly [field: string]: unknown;
}

export interface ChatOptions {
  /** End with the opening of the assistant's turn. Default false. */
  readonly addGenerationPrompt?: boolean;
  readonly tools?: readonly unknown[];
  /** Further variables of the template (`enable_thinking`, `documents`, …); plain data. */
  readonly values?: Readonly<Record<string, unknown>>;
  /** What `strftime_now` tells the template; without it the template does not see that function. */
  readonly now?: Date;
}

/** Texts of the tokens that templates name. */
export interface ChatTokens {
  readonly bos?: string | undefined;
  readonly eos?: string | undefined;
  readonly unknown?: string | undefined;
  readonly pad?: string | undefined;
}

type Engine = typeof Jinja;
type Program = ReturnType<Engine["parse"]>;

export class ChatTemplate {
  readonly source: string;
  readonly #engine: Engine;
  readonly #program: Program;
  readonly #tokens: ChatTokens;

  private constructor(source: string, tokens: ChatTokens, engine: Engine) {
    this.source = source;
    this.#tokens = tokens;
    this.#engine = engine;
    try {
      this.#program = engine.parse(engine.tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
    } catch (cause) {
      throw new IroriError("bad-file", {
        what: "the chat template is not a Jinja template that can be read",
        got: sentenceOf(cause),
        next: "use the raw prompt, or give another template",
        cause,
      });
    }
  }

  /** Throws "bad-file" for a template that cannot be read. */
  static async open(source: string, tokens: ChatTokens = {}): Promise<ChatTemplate> {
    return new ChatTemplate(source, tokens, await import("@huggingface/jinja"));
  }

  /** The text of a chat. Throws "bad-input" with the template's own complaint. */
  render(messages: readonly ChatMessage[], options: ChatOptions = {}): string {
    const { Environment, Interpreter } = this.#engine;
    const environment = new Environment();
    for (const [name, value] of Object.entries(this.#variables(messages, options))) {
      if (value !== undefined) environment.set(name, value);
    }
    try {
      const { value } = new Interpreter(environment).run(this.#program);
      if (typeof value === "string") return value;
      throw new Error(`it gave a value of type ${typeof value}`);
    } catch (cause) {
      const refuses = cause instanceof Complaint;
      throw new IroriError("bad-input", {
        what: `the model's chat template ${refuses ? "refuses" : "fails on"} these messages`,
        got: JSON.stringify(sentenceOf(cause)),
        next: "change the messages as the template asks, or use the raw prompt",
        cause,
      });
    }
  }

  #variables(messages: readonly ChatMessage[], options: ChatOptions): Record<string, unknown> {
    const { now, tools, values, addGenerationPrompt = false } = options;
    return {
      ...values,
      messages,
      tools: tools ?? null,
      add_generation_prompt: addGenerationPrompt,
      bos_token: this.#tokens.bos,
      eos_token: this.#tokens.eos,
      unk_token: this.#tokens.unknown,
      pad_token: this.#tokens.pad,
      ...constants,
      range,
      raise_exception: (complaint: unknown) => {
        throw new Complaint(String(complaint));
      },
      strftime_now: now === undefined ? undefined : (format: string) => formatTime(now, format),
    };
  }
}

/** What `raise_exception` of a template throws. */
class Complaint extends Error {}

const constants = { true: true, false: false, none: null, True: true, False: false, None: null };

const longestRange = 1_000_000;

/** Python's `range`. */
function range(...bounds: number[]): number[] {
  const [start = 0, stop = 0, step = 1] = bounds.length === 1 ? [0, bounds[0]] : bounds;
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= longestRange)) throw new Error(`range() of ${length} numbers; at most ${longestRange} are allowed`);
  return Array.from({ length }, (_, i) => start + i * step);
}

const sentenceOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

/**
 * Token ids of a chat. Control tokens of the template become control tokens; the same characters inside a message, a
 * tool or a value stay text. Nothing is added before or after what the template writes.
 */
export function encodeChat(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  options: ChatOptions = {},
): number[] {
  const { tools, values } = options;
  const guard = guardChat(tokenizer.controlTexts, { messages, tools, values }, template.source);
  const rendered = template.render(guard.data.messages, {
    ...options,
    ...(guard.data.tools === undefined ? {} : { tools: guard.data.tools }),
    ...(guard.data.values === undefined ? {} : { values: guard.data.values }),
  });
  const ids: number[] = [];
  for (const part of tokenizer.cutAtControl(rendered)) {
    if (typeof part === "number") ids.push(part);
    else
      for (const id of tokenizer.encode(part.replaceAll(guard.marker, ""), { continues: ids.length > 0 })) ids.push(id);
  }
  return ids;
}
