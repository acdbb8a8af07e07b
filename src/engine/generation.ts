// One answer: prompt in chunks, then a token a step, as a stream of plain data.
// It does not know who asks, where the model came from or what else runs.
import { cancelled, IroriError, type PauseController } from "../base/mod.ts";
import type { Numbers } from "../hooks/mod.ts";
import type { Config } from "../models/mod.ts";
import type { Tokenizer } from "../text/mod.ts";
import type { Batcher } from "./batcher.ts";
import type { BoundStep } from "./bound-step.ts";
import { Draft } from "./draft.ts";
import { CHUNK } from "./kv-cache.ts";
import type { KvMemory } from "./kv-memory.ts";
import type { Candidates } from "./logits.ts";
import { Row } from "./row.ts";
import { type Choice, type Constraint, Sampler } from "./sampler.ts";
import type { Sampling } from "./sampling.ts";
import type { StepResults } from "./step-results.ts";
import { StopText } from "./stop-text.ts";

export interface GenerationRequest {
  readonly ids: readonly number[];
  readonly sampling: Sampling;
  readonly seed: number;
  readonly maxTokens: number;
  /** End-of-text tokens may not come before the answer has so many tokens. Default 0. */
  readonly minTokens?: number | undefined;
  /** Texts that end the answer; they are not part of it. */
  readonly stop: readonly string[];
  /** Go on after an end-of-text token. */
  readonly ignoreEos: boolean;
  /** Tokens that the answer begins with, whatever the model thinks of them. */
  readonly begin?: readonly number[] | undefined;
  /** Sequences of tokens that never become whole. */
  readonly banned?: readonly (readonly number[])[] | undefined;
  /** Each token's log-probability, and those of so many of the likeliest. */
  readonly logprobs?: number | undefined;
  /** What a grammar lets come; in process only. */
  readonly constraint?: Constraint | undefined;
  /** Try tokens that followed the same ones before, several a step: the same answer, sooner where it repeats what was said. */
  readonly speculate?: boolean | undefined;
  /** Of several prompts the most urgent is read first. Default 0. */
  readonly urgency?: number | undefined;
  /** Somebody who may pause the answer and let it go on. */
  readonly pause?: PauseController | undefined;
}

/** "no-room": the memory that a longer answer needs is not free. */
export type StopReason = "length" | "stop" | "cancelled" | "no-room";

export interface Timings {
  /** What this answer waited for the model to open (next to nothing where it was open). */
  readonly openMs: number;
  readonly prefillMs: number;
  readonly decodeMs: number;
  /** From the request to the first token, opening included. */
  readonly firstTokenMs: number;
  /** Tokens after the first by the time they took. */
  readonly tokensPerSecond: number;
}

export interface Answer {
  readonly text: string;
  readonly ids: readonly number[];
  readonly promptTokens: number;
  /** Tokens of the prompt that were not computed again. */
  readonly reusedTokens: number;
  /** The prompt began with the beginning-of-text token. */
  readonly hasBos: boolean;
  readonly stop: StopReason;
  readonly seed: number;
  readonly timings: Timings;
}

export type GenerationEvent =
  | { readonly type: "prefill"; readonly done: number; readonly total: number }
  /** Values at HookPoints of the tokens that were just fed, the first of them at place `from`: [1, tokens, …]. */
  | { readonly type: "captured"; readonly from: number; readonly tensors: Readonly<Record<string, Numbers>> }
  /** A token; its text may be empty while a character or a stop text is not complete. */
  | { readonly type: "token"; readonly id: number; readonly text: string; readonly logprobs?: Choice }
  | ({ readonly type: "end" } & Answer);

export interface GenerationSetting {
  readonly model: string;
  readonly config: Config;
  /** Absent: the answer is token ids alone. */
  readonly tokenizer: Tokenizer | undefined;
  readonly batcher: Batcher;
  readonly openMs: number;
  readonly memory: KvMemory;
  /** The step of an answer that is changed inside. */
  readonly own?: OwnStep | undefined;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
}

/** A step that one answer has for itself; disposing of it lets the step close. */
export interface OwnStep extends Disposable {
  /** Bound for an answer to a prompt of so many tokens. */
  bind(promptTokens: number): BoundStep;
}

/** Tokens that a cache has room for at first behind what is known: where more come, it grows. */
const FIRST_ROOM = 256;

/** Refuses a prompt that leaves no room for an answer; the context that the whole request may need. */
export function contextOf(
  { model, config }: Pick<GenerationSetting, "model" | "config">,
  ids: number,
  maxTokens: number,
): number {
  if (ids === 0) throw new IroriError("bad-input", { what: "the prompt is empty", wanted: "at least one token" });
  if (ids >= config.maxPositions)
    throw new IroriError("no-room", {
      what: `the prompt is longer than the context of ${model}`,
      got: `${ids.toLocaleString("en")} tokens`,
      wanted: `at most ${(config.maxPositions - 1).toLocaleString("en")}`,
      next: "shorten the prompt",
    });
  return Math.min(ids + maxTokens, config.maxPositions);
}

/** Streams an answer. An aborted signal ends it with stop "cancelled" and the tokens so far, within one step. */
export async function* generate(
  setting: GenerationSetting,
  request: GenerationRequest,
  signal?: AbortSignal,
): AsyncGenerator<GenerationEvent, void> {
  using _own = setting.own;
  const start = setting.now();
  using making = new Making(setting, request, signal);
  let stop: StopReason;
  try {
    yield* making.readPrompt();
    stop = yield* making.goOn();
  } catch (error) {
    if (!(error instanceof IroriError) || error.code !== "cancelled") throw error;
    stop = "cancelled";
  }
  yield { type: "end", ...making.end(stop, start) };
}

/** An answer while it is made. */
class Making implements Disposable {
  readonly #setting: GenerationSetting;
  readonly #request: GenerationRequest;
  readonly #signal: AbortSignal | undefined;
  readonly #sampler: Sampler;
  readonly #stopText: StopText;
  readonly #stream: ReturnType<Tokenizer["stream"]> | undefined;
  /** Tokens that prompt and answer have together at most. */
  readonly #whole: number;
  /** Undefined before the first step, and while its memory is given up. */
  #row: Row | undefined;
  #reused: number | undefined;
  /** Tokens of prompt and answer. */
  readonly #all: number[];
  readonly #made: number[] = [];
  readonly #draft: Draft | undefined;
  #text = "";
  #firstAt: number | undefined;
  #stop: StopReason | undefined;

  constructor(setting: GenerationSetting, request: GenerationRequest, signal: AbortSignal | undefined) {
    const { config, tokenizer } = setting;
    const { ids, begin = [] } = request;
    this.#setting = setting;
    this.#request = request;
    this.#signal = signal;
    this.#all = [...ids];
    this.#whole = contextOf(setting, ids.length, request.maxTokens);
    if (begin.length > this.#whole - ids.length)
      throw new IroriError("bad-input", {
        what: "tokens that the answer begins with",
        got: begin.length,
        wanted: `at most its ${this.#whole - ids.length}`,
      });
    const ends = request.ignoreEos ? [] : (tokenizer?.eosIds ?? []);
    this.#sampler = new Sampler({ ...request, vocabSize: config.vocabSize, prompt: ids, ends });
    this.#stopText = new StopText(request.stop);
    this.#draft = request.speculate && !setting.own ? new Draft() : undefined;
    this.#stream = tokenizer?.stream();
  }

  /** Feeds the prompt and what the answer begins with, and takes the first token. */
  async *readPrompt(): AsyncGenerator<GenerationEvent, void> {
    const { ids, begin = [] } = this.#request;
    this.#all.push(...begin);
    const [total, end] = [ids.length, this.#all.length];
    let candidates: Candidates | undefined;
    for (let done = 0; done < end; ) {
      const row = await this.#ready();
      const from = row.cache.length;
      candidates = await this.#feed(row, end);
      yield* captured(row, from);
      done = row.cache.length;
      yield { type: "prefill", done: Math.min(done, total), total };
    }
    for (const id of begin) yield this.#took(id);
    if (this.#stop === undefined) yield this.#choose(candidates as Candidates);
  }

  /** A token a step, or several where a draft holds, until the answer ends. */
  async *goOn(): AsyncGenerator<GenerationEvent, StopReason> {
    while (this.#stop === undefined) {
      const row = await this.#ready();
      const { length } = row.cache;
      if (length < this.#all.length - 1) {
        // the answer was paused, and what its cache held was given up
        await this.#feed(row, this.#all.length - 1);
        continue;
      }
      const drafted = this.#draft?.of(this.#all, this.#room) ?? [];
      if (!this.#hasRoom(row, 1 + drafted.length)) return "no-room";
      if (drafted.length > 0) yield* await this.#try(row, drafted);
      else {
        const candidates = await this.#feed(row, this.#all.length);
        yield* captured(row, length);
        yield this.#choose(candidates as Candidates);
      }
    }
    return this.#stop;
  }

  /** Tokens that may still come. */
  get #room(): number {
    return this.#whole - this.#all.length;
  }

  /** The row, once the answer may go on. */
  async #ready(): Promise<Row> {
    const { pause, urgency } = this.#request;
    const { memory, batcher, own } = this.#setting;
    await pause?.resumed(this.#signal, "the answer", () => this.#letGo());
    if (this.#signal?.aborted) throw cancelled("the answer", this.#signal);
    if (this.#row === undefined) {
      const context = Math.min(this.#whole, this.#all.length + FIRST_ROOM);
      const cache = memory.take(this.#all, context, own === undefined);
      if (cache.length > 0) this.#reused ??= Math.min(cache.length, this.#request.ids.length);
      const bound = own?.bind(this.#request.ids.length);
      this.#row = new Row(batcher, cache, { own: bound, urgency, signal: this.#signal });
    }
    return this.#row;
  }

  /** Feeds tokens up to `end`, a chunk at most, but for those that others have fed meanwhile; what follows them, where any were fed. */
  #feed(row: Row, end: number): Promise<Candidates | undefined> {
    const { ids, begin = [], sampling } = this.#request;
    const from = row.cache.length;
    const given = ids.length + begin.length;
    const isPrompt = from < given;
    const tokens = this.#all.slice(from, Math.min(from + CHUNK, end, isPrompt ? given : end));
    const skip = () => {
      const shared = this.#setting.memory.share(row.cache);
      this.#reused ??= Math.min(shared, ids.length);
      return shared;
    };
    const isFirst = from === 0 && this.#setting.own === undefined;
    return row.feed(tokens, { temperature: sampling.temperature, isPrompt, ...(isFirst && { skip }) });
  }

  /** Whether the row's cache has room for so many more tokens, perhaps after it has grown. */
  #hasRoom(row: Row, tokens: number): boolean {
    const { length, context } = row.cache;
    if (length + tokens <= context) return true;
    const wanted = Math.min(this.#whole, Math.max(2 * context, length + tokens));
    const grown = this.#setting.memory.grow(row.cache, wanted);
    if (grown === undefined) return false;
    row.move(grown);
    return true;
  }

  /** Feeds the last token and a draft of what follows it; the tokens that come are those that would have come one by one. */
  async #try(row: Row, drafted: readonly number[]): Promise<GenerationEvent[]> {
    const { length } = row.cache;
    const events: GenerationEvent[] = [];
    await row.feed([this.#all.at(-1) as number, ...drafted], {
      temperature: this.#request.sampling.temperature,
      look: "each",
      onRun: (done, seen) => {
        for (let i = 0; i < done && this.#stop === undefined; i++) {
          const token = this.#choose((seen as StepResults).candidates(i));
          events.push(token);
          if (token.id !== drafted[i]) break;
        }
      },
    });
    this.#draft?.held(events.length - 1);
    row.cache.truncate(length + events.length);
    return events;
  }

  #choose(candidates: Candidates): TokenEvent {
    const id = this.#sampler.choose(candidates);
    this.#all.push(id);
    return this.#took(id, this.#sampler.logprobs(candidates, id));
  }

  #took(id: number, logprobs?: Choice): TokenEvent {
    const { ignoreEos, ids } = this.#request;
    this.#firstAt ??= this.#setting.now();
    this.#sampler.accept(id);
    this.#made.push(id);
    const isEnd = !ignoreEos && (this.#setting.tokenizer?.eosIds.includes(id) ?? false);
    const text = isEnd ? "" : this.#stopText.push(this.#stream?.push(id) ?? "");
    this.#text += text;
    if (isEnd || this.#stopText.isFound) this.#stop = "stop";
    else if (ids.length + this.#made.length >= this.#whole) this.#stop = "length";
    return { type: "token", id, text, ...(logprobs && { logprobs }) };
  }

  end(stop: StopReason, start: number): Answer {
    const { tokenizer, openMs, now } = this.#setting;
    const { ids, seed } = this.#request;
    const rest = this.#stopText.isFound ? "" : this.#stopText.push(this.#stream?.end() ?? "") + this.#stopText.end();
    const end = now();
    const first = this.#firstAt ?? end;
    const decodeMs = end - first;
    const made = this.#made.length;
    return {
      text: this.#text + rest,
      ids: this.#made,
      promptTokens: ids.length,
      reusedTokens: this.#reused ?? 0,
      hasBos: tokenizer?.bosId !== undefined && ids[0] === tokenizer.bosId,
      stop,
      seed,
      timings: {
        openMs,
        prefillMs: first - start,
        decodeMs,
        firstTokenMs: openMs + first - start,
        tokensPerSecond: made > 1 && decodeMs > 0 ? ((made - 1) * 1000) / decodeMs : 0,
      },
    };
  }

  /** Gives up the row; what its cache holds may be of use to others. */
  #letGo(): void {
    const row = this.#row;
    this.#row = undefined;
    row?.[Symbol.dispose]();
    if (row !== undefined) this.#setting.memory.give(row.cache);
  }

  [Symbol.dispose](): void {
    this.#letGo();
  }
}

type TokenEvent = Extract<GenerationEvent, { readonly type: "token" }>;

function* captured({ captured: tensors }: Row, from: number): Generator<GenerationEvent> {
  if (Object.keys(tensors).length > 0) yield { type: "captured", from, tensors };
}
