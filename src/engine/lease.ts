// What a caller holds while it uses a resident model: answers, likelihoods, and the inside. Plain data in and out.
// It does not know names of models, sources or how they are opened.
import { IroriError, runAhead, unlessAborted } from "../base/mod.ts";
import type { ModelDefaults } from "../checkpoint/mod.ts";
import {
  type ChatMessage,
  encodeChat,
  encodeWithBos,
  positionsOf,
  type Tokenizer,
  type TokenRows,
  type TokenRowsOptions,
  tokenPair,
  toStrTokens,
  toTokens,
} from "../text/mod.ts";
import { MOST_LOOKS } from "./batcher.ts";
import type { BeamOptions, Ended } from "./beam-search.ts";
import { BoundStep } from "./bound-step.ts";
import type { Inside } from "./changed-step.ts";
import type { ContinuationScore } from "./continuations.ts";
import {
  type Embeddings,
  type EmbedOptions,
  embed,
  type Ranked,
  type Reader,
  type RerankOptions,
  rerank,
} from "./embed.ts";
import {
  type Answer,
  contextOf,
  type GenerationEvent,
  type GenerationRequest,
  type GenerationSetting,
  generate,
  type OwnStep,
} from "./generation.ts";
import { CHUNK, type KvType } from "./kv-cache.ts";
import type { Manifest } from "./manifest.ts";
import type { NotFinite } from "./not-finite.ts";
import { type Plan, planGeneration, refuseTooLarge } from "./plan.ts";
import type { Resident } from "./resident.ts";
import { DEFAULT_SAMPLING, type Sampling } from "./sampling.ts";
import type { ChatModel, SavedChat } from "./saved-chat.ts";
import { type Score, type ScoreOptions, score } from "./score.ts";
import type { Traced, TraceModel, TraceRequest } from "./trace.ts";

/** What to continue: a text as it stands, a chat through the model's template, or token ids. */
export type Prompt =
  /** `control`: control tokens written in the text are meant as such (default false). */
  | { readonly text: string; readonly control?: boolean | undefined }
  | {
      readonly messages: readonly ChatMessage[];
      /** Functions that the model may call, as its template reads them. */
      readonly tools?: readonly unknown[] | undefined;
      /** Further variables of the template (`enable_thinking` …). */
      readonly values?: Readonly<Record<string, unknown>> | undefined;
    }
  | { readonly ids: readonly number[] };

export interface GenerateRequest extends Inside, Partial<Omit<GenerationRequest, "ids" | "seed" | "sampling">> {
  readonly prompt: Prompt;
  readonly seed: number;
  readonly sampling?: Partial<Sampling>;
}

/** An answer among others to the same request. */
export interface RankedAnswer extends Answer {
  /** Mean ln p of its tokens under the model itself; 0 of an answer without tokens. */
  readonly meanLogprob: number;
}

export interface BeamRequest extends Partial<Omit<BeamOptions, "ends">> {
  readonly prompt: Prompt;
  /** Go on after an end-of-text token. Default false. */
  readonly ignoreEos?: boolean | undefined;
}

/** A continuation that a beam search found. */
export interface Beam extends Ended {
  /** Without its end-of-text token; "" of a model without a tokenizer. */
  readonly text: string;
}

const DEFAULT_BEAMS = { beams: 4, lengthPenalty: 1, early: "heuristic", maxTokens: 128 } as const;

/** Tokens of an answer where the request does not say. */
const DEFAULT_MAX_TOKENS = 1024;

/** Events that may lie ahead of who reads an answer: one whose reader stops waits. */
const AHEAD = 256;

/** What a lease needs of its engine. */
export interface LeaseSetting {
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
}

/** What a caller holds while it uses a resident model. Plain data in and out. */
export class Lease implements AsyncDisposable {
  readonly model: string;
  readonly manifest: Manifest;
  readonly #resident: Resident;
  readonly #engine: LeaseSetting;
  /** What the first answer is told of the opening before it. */
  #leaseMs: number;
  /** What answers are like where a request does not say: of the alias that was asked for, or of the model's maker. */
  readonly defaults: ModelDefaults;
  #isHeld = true;

  /** Leases come from `Engine.lease`. */
  constructor(resident: Resident, engine: LeaseSetting, leaseMs: number, defaults: ModelDefaults = {}) {
    this.defaults = defaults;
    this.model = resident.model;
    this.manifest = resident.manifest;
    this.#resident = resident;
    this.#engine = engine;
    this.#leaseMs = leaseMs;
  }

  /** Token ids of a text; `control` lets control tokens in it stand for themselves. */
  tokenize(text: string, options: { readonly control?: boolean } = {}): number[] {
    return this.#held().tokenizer.encode(text, options);
  }
  detokenize(ids: readonly number[], options: { readonly control?: boolean } = {}): string {
    return this.#held().tokenizer.decode(ids, options);
  }

  /** Texts as rows of one length, ready to be traced; says whether a beginning-of-text token stands in front. */
  toTokens(texts: string | readonly string[], options: TokenRowsOptions = {}): TokenRows {
    return toTokens(this.#held().tokenizer, typeof texts === "string" ? [texts] : texts, options);
  }
  /** The text of each token, of ids or of a text (with a beginning-of-text token where the model wants one). */
  toStrTokens(text: string | readonly number[], options: TokenRowsOptions = {}): string[] {
    return toStrTokens(this.#held().tokenizer, this.#idsOf(text, options));
  }
  /** Places of the tokens that a passage takes part of: what `only`, `positions` of interventions and captures count in. */
  positionsOf(
    text: string | readonly number[],
    passage: string,
    options: TokenRowsOptions & { readonly occurrence?: number | undefined } = {},
  ): number[] {
    return positionsOf(this.#held().tokenizer, this.#idsOf(text, options), passage, options.occurrence);
  }
  /** Two texts as rows that may be patched into each other; throws, with the tokens of both, where they are not of one length. */
  tokenPair(a: string, b: string, options: TokenRowsOptions = {}): TokenRows {
    return tokenPair(this.#held().tokenizer, a, b, options);
  }
  #idsOf(text: string | readonly number[], options: TokenRowsOptions): readonly number[] {
    return typeof text === "string" ? (this.toTokens(text, options).ids[0] as readonly number[]) : text;
  }

  /** What keys and values are kept as. */
  get kvType(): KvType {
    return this.#held().kvType;
  }

  /** What makes tokens of texts. Throws "unsupported", with the reason, where the model came without one that is run here. */
  get tokenizer(): Tokenizer {
    return this.#held().tokenizer;
  }

  /** Tokens that end an answer. */
  get eosIds(): readonly number[] {
    return this.#held().tokenizer.eosIds;
  }

  /** The memory that a generation of `context` tokens needs. */
  plan(context: number): Plan {
    return planGeneration(this.#wants(context));
  }
  #wants(context: number, caches = 1) {
    const { config, weightBytes } = this.manifest;
    const { kvType } = this.#resident;
    return { model: this.model, config, mappedBytes: weightBytes, context, caches, chunk: CHUNK, kvType };
  }

  /** Opens the Programs for so many answers at once, if nobody did; resolves when the model is ready to run. */
  async warm(rows = 1): Promise<void> {
    const resident = this.#held();
    if (this.manifest.isDecoder) await resident.batcher.open(rows);
    else await resident.warm();
  }

  /** Streams an answer; ends with an "end" event also when the signal aborts. */
  async *generate(
    request: GenerateRequest,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<GenerationEvent, void> {
    const ids = await this.promptIds(request.prompt);
    const maxTokens = request.maxTokens ?? this.defaults.maxTokens ?? DEFAULT_MAX_TOKENS;
    if (!Number.isInteger(maxTokens) || maxTokens < 1)
      throw new IroriError("bad-input", { what: "maxTokens", got: maxTokens, wanted: "a whole number, 1 or more" });
    const context = contextOf({ model: this.model, config: this.manifest.config }, ids.length, maxTokens);
    refuseTooLarge(this.#wants(context), this.#held().memory.freeBytes);
    const {
      prompt: _,
      sampling,
      stop = this.defaults.stop ?? [],
      ignoreEos = false,
      interventions: __,
      ...rest
    } = request;
    const full: GenerationRequest = {
      ...{ ...rest, ids, maxTokens, stop, ignoreEos },
      sampling: { ...DEFAULT_SAMPLING, ...this.defaults.sampling, ...sampling },
    };
    if (full.stop.length > 0) void this.#held().tokenizer; // texts that end an answer need one
    const left = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
    const setting = await this.#setting(signal, request).catch((error: unknown) => {
      if (error instanceof IroriError && error.code === "cancelled") return undefined;
      throw error;
    });
    if (setting === undefined) yield { type: "end", ...nothingMade(full) };
    else yield* runAhead(generate(setting, full, signal), AHEAD, () => left.abort());
  }

  /**
   * Several answers to one request, made at once over one reading of the prompt, with the seeds seed, seed + 1 and so on: the one
   * whose tokens are likeliest first. One that fails ends all.
   */
  async answers(
    request: GenerateRequest,
    count: number,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly RankedAnswer[]> {
    if (!Number.isInteger(count) || count < 1)
      throw new IroriError("bad-input", {
        what: "the number of answers",
        got: count,
        wanted: "a whole number, 1 or more",
      });
    const failed = new AbortController();
    const both = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
    const one = async (seed: number): Promise<RankedAnswer> => {
      const logprobs: number[] = [];
      let answer: Answer | undefined;
      for await (const event of this.generate({ logprobs: 0, ...request, seed }, { signal: both })) {
        if (event.type === "token" && event.logprobs) logprobs.push(event.logprobs.logprob);
        if (event.type === "end") answer = event;
      }
      const sum = logprobs.reduce((all, x) => all + x, 0);
      return { ...(answer as Answer), meanLogprob: logprobs.length > 0 ? sum / logprobs.length : 0 };
    };
    const making = Array.from({ length: count }, (_, i) => one(request.seed + i));
    try {
      return (await Promise.all(making)).sort((a, b) => b.meanLogprob - a.meanLogprob);
    } catch (error) {
      failed.abort();
      await Promise.allSettled(making);
      throw error;
    }
  }

  /** The likeliest continuations that a beam search finds (that of transformers), the best first. */
  async beams(
    { prompt, ignoreEos = false, ...options }: BeamRequest,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly Beam[]> {
    const resident = this.#held();
    const ids = await this.promptIds(prompt);
    const eosIds = resident.hasTokenizer ? resident.tokenizer.eosIds : [];
    const { checkBeams, beams } = await import("./beams.ts");
    const asked = checkBeams({ ...DEFAULT_BEAMS, ...options, ends: ignoreEos ? [] : eosIds });
    const context = contextOf({ model: this.model, config: this.manifest.config }, ids.length, asked.maxTokens);
    refuseTooLarge(this.#wants(context, asked.beams), resident.memory.freeBytes);
    const ended = await beams(await this.#setting(signal), ids, asked, signal);
    return ended.map((each) => {
      const made = each.isWhole ? each.ids.slice(0, -1) : each.ids;
      return { ...each, text: resident.hasTokenizer ? resident.tokenizer.decode(made) : "" };
    });
  }

  /**
   * ln p of given continuations of one prompt, in the order given: the prompt is read once, and so is what several of them begin
   * with. A text is tokenised as what follows the prompt (write the space in front of a word that has one).
   */
  async scoreContinuations(
    prompt: Prompt,
    continuations: readonly (string | readonly number[])[],
    options: ScoreOptions = {},
  ): Promise<readonly ContinuationScore[]> {
    const ids = await this.promptIds(prompt);
    const given = continuations.map((each) =>
      typeof each === "string" ? this.#held().tokenizer.encode(each, { continues: true }) : this.#checkedIds(each),
    );
    const { scoreContinuations } = await import("./continuations.ts");
    return scoreContinuations(await this.#setting(options.signal), ids, given, options);
  }

  /** Reads a chat where nobody has, and writes what the model knows of it then: another process goes on from there (`restoreChat`). */
  async saveChat(
    path: string,
    prompt: Prompt,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<SavedChat> {
    const ids = await this.promptIds(prompt, { addGenerationPrompt: false });
    const { saveChat } = await import("./saved-chat.ts");
    return saveChat(await this.#setting(signal), path, await this.#chatModel(), ids, signal);
  }

  /**
   * Takes over what `saveChat` wrote: prompts that begin with its tokens are not read again, as long as it is kept (`keptBytes` of
   * the engine). Throws "bad-file" for a damaged file, "bad-input" for one of another model, form or type of KvCache.
   */
  async restoreChat(path: string): Promise<SavedChat> {
    const { restoreChat } = await import("./saved-chat.ts");
    return restoreChat(this.#held().memory, path, await this.#chatModel());
  }
  async #chatModel(): Promise<ChatModel> {
    const { manifest, model } = this;
    const { kvType } = this.#held();
    const scales = await this.#held().kvScales();
    return { model, config: manifest.config, weights: manifest.weightSha256, kvType, scales };
  }

  /** Token ids of a prompt, a bos in front where the model wants one. */
  async promptIds(
    prompt: Prompt,
    { addGenerationPrompt = true }: { readonly addGenerationPrompt?: boolean } = {},
  ): Promise<number[]> {
    if ("ids" in prompt) return this.#checkedIds(prompt.ids);
    const { tokenizer } = this.#held();
    if ("messages" in prompt) {
      const { tools, values } = prompt;
      const messages = this.#withSystem(prompt.messages);
      return encodeChat(tokenizer, await this.#held().chatTemplate(), messages, {
        addGenerationPrompt,
        ...(tools && { tools }),
        ...(values && { values }),
      });
    }
    return encodeWithBos(tokenizer, prompt.text, { control: prompt.control });
  }
  /** A chat that says nothing itself begins with the default system message. */
  #withSystem(messages: readonly ChatMessage[]): readonly ChatMessage[] {
    const { system } = this.defaults;
    const says = system === undefined || messages.some(({ role }) => role === "system" || role === "developer");
    return says ? messages : [{ role: "system", content: system }, ...messages];
  }
  #checkedIds(ids: readonly number[]): number[] {
    const { vocabSize } = this.manifest.config;
    for (const id of ids)
      if (!Number.isInteger(id) || id < 0 || id >= vocabSize)
        throw new IroriError("bad-input", {
          what: "a token id of the prompt",
          got: id,
          wanted: `0 to ${vocabSize - 1}`,
        });
    return [...ids];
  }

  /** The text of a chat as the model's template writes it. */
  async renderChat(messages: readonly ChatMessage[]): Promise<string> {
    return (await this.#held().chatTemplate()).render(this.#withSystem(messages), { addGenerationPrompt: true });
  }

  /** Negative log likelihoods of a text's tokens. */
  async score(ids: readonly number[], options: ScoreOptions = {}): Promise<Score> {
    refuseTooLarge({ ...this.#wants(ids.length), positions: MOST_LOOKS }, this.#held().memory.freeBytes);
    return score(await this.#setting(options.signal), this.#checkedIds(ids), options);
  }

  /** Vectors of texts, of any number of callers in batches of like length. */
  async embed(texts: readonly string[], options: EmbedOptions = {}): Promise<Embeddings> {
    return embed(this.#reader(), texts, options);
  }

  /** Scores of passages for a query, the best first. Throws "unsupported" where the model is no reranker. */
  async rerank(query: string, passages: readonly string[], options: RerankOptions = {}): Promise<readonly Ranked[]> {
    return rerank(this.#reader(), query, passages, options);
  }

  #reader(): Reader {
    const resident = this.#held();
    const { model, manifest } = this;
    return { model, manifest, tokenizer: resident.tokenizer, texts: (reading) => resident.texts(reading) };
  }

  /**
   * One run over whole rows of token ids with the inside open: outputs, captures, interventions, the loss and its gradients.
   * Wants a lease of the f32 form.
   */
  async trace(request: TraceRequest): Promise<Traced> {
    const { trace } = await import("./trace.ts");
    return trace(await this.inside(), request);
  }

  /** Greedy tokens after each row's text, recomputed whole for each, with the request's interventions: [B][count]. */
  async traceGreedy(request: TraceRequest, count: number): Promise<number[][]> {
    const { traceGreedy } = await import("./trace-greedy.ts");
    return traceGreedy(await this.inside(), request, count);
  }

  /** Where NaN or infinity begins: the first weight that holds one, else the first HookPoint of this run; undefined for none. */
  async findNotFinite(request: TraceRequest): Promise<NotFinite | undefined> {
    const { findNotFinite } = await import("./not-finite.ts");
    return findNotFinite(await this.inside(), request);
  }

  /** Names of the model's HookPoints. */
  async hookPoints(): Promise<readonly string[]> {
    const { traceHookPoints } = await import("./trace.ts");
    return traceHookPoints(await this.#held().inside());
  }
  /** How many numbers captures of so many tokens are at most, by HookPoint. */
  async captureSizes(patterns: readonly string[], tokens: number): Promise<Readonly<Record<string, number>>> {
    const { captureSizes } = await import("./trace.ts");
    return captureSizes(await this.#held().inside(), patterns, tokens);
  }

  /** The model as a family's program over its weights, for Graphs of one's own. Wants a lease of the f32 form. */
  async inside(): Promise<TraceModel> {
    const resident = this.#held();
    const { form } = this.manifest;
    if (form !== "f32")
      throw new IroriError("bad-input", {
        what: "a trace",
        got: `a lease of the form ${form}`,
        wanted: "one of the form f32",
      });
    return resident.inside();
  }

  #held(): Resident {
    if (this.#isHeld) return this.#resident;
    throw new IroriError("bad-input", { what: `the lease of ${this.model} was given back`, next: "take a new one" });
  }

  async #setting(signal?: AbortSignal, inside: Inside = {}): Promise<GenerationSetting> {
    const resident = this.#held();
    const { batcher, memory } = resident;
    const asked = this.#engine.now();
    const isPlain = !inside.interventions?.length && !inside.adapter && !inside.capture?.length;
    const opening = isPlain ? batcher.open(1).then(() => undefined) : changedStep(resident, inside);
    const own = await unlessAborted(opening, signal, `opening ${this.model}`).catch((error: unknown) => {
      // nobody waits for it any more: it is let go when it is there
      opening.then(
        (late) => late?.[Symbol.dispose](),
        () => undefined,
      );
      throw error;
    });
    // only the first answer over this lease waited for the lease
    const openMs = this.#leaseMs + this.#engine.now() - asked;
    this.#leaseMs = 0;
    return {
      model: this.model,
      config: this.manifest.config,
      tokenizer: resident.hasTokenizer ? resident.tokenizer : undefined,
      ...{ batcher, memory, own, openMs },
      now: this.#engine.now,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isHeld = false;
  }
}

/** The step of a request that changes or reads the inside; undefined for one that does not. */
async function changedStep(resident: Resident, asked: Inside): Promise<OwnStep | undefined> {
  const [{ changeOf, extrasOf }, { traceHookPoints }, { withoutPatterns }] = await Promise.all([
    import("./changed-step.ts"),
    import("./trace.ts"),
    import("../hooks/mod.ts"),
  ]);
  const model = await resident.inside();
  const interventions = withoutPatterns(asked.interventions ?? [], () => traceHookPoints(model));
  const inside = { ...asked, interventions };
  const change = changeOf(inside);
  if (change === undefined) {
    await resident.batcher.open(1);
    return undefined;
  }
  const held = await resident.changed(change);
  const { step, shapes } = held;
  const { kvType, manifest } = resident;
  const bound = { config: manifest.config, kvType };
  return {
    bind: (promptTokens) => new BoundStep(step, 1, bound, extrasOf(inside, step, shapes, promptTokens)),
    [Symbol.dispose]: () => held[Symbol.dispose](),
  };
}

/** The answer to a request that was cancelled before the model was open. */
const nothingMade = ({ ids, seed }: GenerationRequest): Answer => ({
  ...{ text: "", ids: [], promptTokens: ids.length, reusedTokens: 0, hasBos: false, stop: "cancelled", seed },
  timings: { openMs: 0, prefillMs: 0, decodeMs: 0, firstTokenMs: 0, tokensPerSecond: 0 },
});
