// The engine: models by name, pulled, prepared and opened when first asked for, once for any number of callers.
// It does not know who calls: command line, server or test. Time, budget and folders are passed in.
import { cancelled, Flights, IroriError, type OnProgress, unlessAborted } from "../base/mod.ts";
import { Store, type StoredModel } from "../checkpoint/mod.ts";
import { Runtime } from "../runtime/mod.ts";
import {
  type ChatMessage,
  encodeChat,
  positionsOf,
  type TokenRows,
  type TokenRowsOptions,
  tokenPair,
  toStrTokens,
  toTokens,
} from "../text/mod.ts";
import type { Inside } from "./changed-step.ts";
import {
  type Answer,
  contextOf,
  type GenerationEvent,
  type GenerationRequest,
  type GenerationSetting,
  generate,
} from "./generation.ts";
import { CHUNK } from "./kv-cache.ts";
import type { Form, Manifest } from "./manifest.ts";
import type { NotFinite } from "./not-finite.ts";
import { type Plan, planGeneration, refuseTooLarge } from "./plan.ts";
import type { EngineEvent } from "./programs.ts";
import { Resident, readManifest } from "./resident.ts";
import { DEFAULT_SAMPLING, type Sampling } from "./sampling.ts";
import { SCORE_CHUNK, type Score, score } from "./score.ts";
import type { Traced, TraceModel, TraceRequest } from "./trace.ts";

export interface EngineOptions {
  /** Folder of the store. */
  readonly home: string;
  /** Threads of a run. */
  readonly threads: number;
  /** Idle threads wait busily between steps: faster alone, slower where others want the cores. */
  readonly spinning: boolean;
  /** Bytes that a generation may use, asked before each. */
  readonly budgetBytes: () => number;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
  readonly libraryPath?: string | undefined;
  readonly python?: string | undefined;
  readonly isOffline?: boolean | undefined;
  /** Every load and compile, with its cause and duration. */
  readonly onEvent?: ((event: EngineEvent) => void) | undefined;
}

export interface LeaseOptions {
  /** Default "blocks", the serving form. */
  readonly form?: Form | undefined;
  /** false opens the tokenizer only; the Program opens when something runs. Default true. */
  readonly warm?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

/** What to continue: a text as it stands, a chat through the model's template, or token ids. */
export type Prompt =
  /** `control`: control tokens written in the text are meant as such (default false). */
  | { readonly text: string; readonly control?: boolean }
  | { readonly messages: readonly ChatMessage[] }
  | { readonly ids: readonly number[] };

export interface GenerateRequest extends Inside, Partial<Omit<GenerationRequest, "ids" | "seed" | "sampling">> {
  readonly prompt: Prompt;
  readonly seed: number;
  readonly sampling?: Partial<Sampling>;
}

/** Tokens of an answer where the request does not say. */
const DEFAULT_MAX_TOKENS = 1024;

/** What a caller holds while it uses a resident model. Plain data in and out. */
export class Lease implements AsyncDisposable {
  readonly model: string;
  readonly manifest: Manifest;
  readonly #resident: Resident;
  readonly #engine: EngineOptions;
  /** What the first answer is told of the opening before it. */
  #leaseMs: number;
  #isHeld = true;

  /** Leases come from `Engine.lease`. */
  constructor(resident: Resident, engine: EngineOptions, leaseMs: number) {
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

  /** Tokens that end an answer. */
  get eosIds(): readonly number[] {
    return this.#held().tokenizer.eosIds;
  }

  /** The memory that a generation of `context` tokens needs. */
  plan(context: number): Plan {
    return planGeneration(this.#wants(context));
  }
  #wants(context: number) {
    const { config, weightBytes } = this.manifest;
    return { model: this.model, config, mappedBytes: weightBytes, context, chunk: CHUNK };
  }

  /** Opens the Program, if nobody did; resolves when the model is ready to run. */
  async warm(): Promise<void> {
    await this.#held().step();
  }

  /** Streams an answer; ends with an "end" event also when the signal aborts. */
  async *generate(
    request: GenerateRequest,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<GenerationEvent, void> {
    const ids = await this.promptIds(request.prompt);
    const maxTokens = request.maxTokens ?? DEFAULT_MAX_TOKENS;
    if (!Number.isInteger(maxTokens) || maxTokens < 1)
      throw new IroriError("bad-input", { what: "maxTokens", got: maxTokens, wanted: "a whole number, 1 or more" });
    const context = contextOf({ model: this.model, config: this.manifest.config }, ids.length, maxTokens);
    refuseTooLarge(this.#wants(context), this.#engine.budgetBytes());
    const full: GenerationRequest = {
      ids,
      maxTokens,
      seed: request.seed,
      stop: request.stop ?? [],
      ignoreEos: request.ignoreEos ?? false,
      sampling: { ...DEFAULT_SAMPLING, ...request.sampling },
    };
    if (full.stop.length > 0) void this.#held().tokenizer; // texts that end an answer need one
    const setting = await this.#setting(options.signal, request).catch((error: unknown) => {
      if (error instanceof IroriError && error.code === "cancelled") return undefined;
      throw error;
    });
    if (setting === undefined) yield { type: "end", ...nothingMade(full) };
    else yield* generate(setting, full, options.signal);
  }

  /** Token ids of a prompt, a bos in front where the model wants one. */
  async promptIds(prompt: Prompt): Promise<number[]> {
    if ("ids" in prompt) return this.#checkedIds(prompt.ids);
    const { tokenizer } = this.#held();
    if ("messages" in prompt) {
      return encodeChat(tokenizer, await this.#held().chatTemplate(), prompt.messages, { addGenerationPrompt: true });
    }
    const ids = tokenizer.encode(prompt.text, { control: prompt.control ?? false });
    return tokenizer.addsBos && tokenizer.bosId !== undefined && ids[0] !== tokenizer.bosId
      ? [tokenizer.bosId, ...ids]
      : ids;
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
    return (await this.#held().chatTemplate()).render(messages, { addGenerationPrompt: true });
  }

  /** Negative log likelihoods of a text's tokens. */
  async score(
    ids: readonly number[],
    options: { readonly signal?: AbortSignal; readonly onDone?: (tokens: number) => void } = {},
  ): Promise<Score> {
    refuseTooLarge({ ...this.#wants(ids.length), positions: SCORE_CHUNK }, this.#engine.budgetBytes());
    return score(await this.#setting(options.signal), this.#checkedIds(ids), options);
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
  async hookPoints(): Promise<string[]> {
    const { traceHookPoints } = await import("./trace.ts");
    return traceHookPoints(await this.inside());
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
    const asked = this.#engine.now();
    const isPlain = !inside.interventions?.length && !inside.adapter && !inside.capture?.length;
    const plain = () => resident.step().then((step) => ({ step }));
    const opening = isPlain ? plain() : changedStep(resident, inside).then((changed) => changed ?? plain());
    type Opened = Pick<GenerationSetting, "step" | "extras" | "held">;
    const opened = unlessAborted<Opened>(opening, signal, `opening ${this.model}`);
    const { step, extras, held } = await opened.catch((error: unknown) => {
      // nobody waits for it any more: it is let go when it is there
      Promise.resolve<Opened>(opening).then(
        (late) => late.held?.[Symbol.dispose](),
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
      step,
      extras,
      ...(held && { held }),
      openMs,
      inTurn: (step) => resident.inTurn(step),
      now: this.#engine.now,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isHeld = false;
  }
}

/** Interventions at HookPoints by name: the model is looked at only where one has a pattern. */
async function bareInterventions(resident: Resident, specs: NonNullable<Inside["interventions"]>) {
  if (!specs.some(({ at }) => /[*{]/.test(at))) return specs;
  const [{ traceHookPoints }, { withoutPatterns }] = await Promise.all([
    import("./trace.ts"),
    import("../hooks/mod.ts"),
  ]);
  const model = await resident.inside();
  return withoutPatterns(specs, () => traceHookPoints(model));
}

/** The step of a request that changes or reads the inside; undefined for one that does not. */
async function changedStep(resident: Resident, asked: Inside) {
  const inside = { ...asked, interventions: await bareInterventions(resident, asked.interventions ?? []) };
  const { changeOf, extrasOf } = await import("./changed-step.ts");
  const change = changeOf(inside);
  if (change === undefined) return undefined;
  const held = await resident.changed(change);
  const { step, shapes } = held;
  return { step, held, extras: (promptTokens: number) => extrasOf(inside, step, shapes, promptTokens) };
}

/** The answer to a request that was cancelled before the model was open. */
const nothingMade = ({ ids, seed }: GenerationRequest): Answer => ({
  ...{ text: "", ids: [], promptTokens: ids.length, hasBos: false, stop: "cancelled", seed },
  timings: { openMs: 0, prefillMs: 0, decodeMs: 0, firstTokenMs: 0, tokensPerSecond: 0 },
});

export class Engine implements AsyncDisposable {
  readonly store: Store;
  readonly #options: EngineOptions;
  readonly #residents = new Map<string, Resident>();
  readonly #openings = new Flights();
  #runtime: Promise<Runtime> | undefined;

  private constructor(store: Store, options: EngineOptions) {
    this.store = store;
    this.#options = options;
  }
  /** Opens the store; models and the runtime open when first used. */
  static async open(options: EngineOptions): Promise<Engine> {
    return new Engine(await Store.open(options.home), options);
  }

  #openRuntime(): Promise<Runtime> {
    const { threads, spinning, libraryPath } = this.#options;
    if (this.#runtime === undefined) {
      this.#runtime = Runtime.open({ threads, spinning, ...(libraryPath !== undefined && { libraryPath }) });
      this.#runtime.catch(() => {
        this.#runtime = undefined; // the next one tries again
      });
    }
    return this.#runtime;
  }

  /** Brings a model's bytes into the store. */
  async pull(model: string, options: Pick<LeaseOptions, "signal" | "onProgress"> = {}): Promise<StoredModel> {
    const { python, isOffline } = this.#options;
    return this.store.pull(model, { ...options, python, isOffline });
  }

  /** A lease of a model by name or source: pulled and prepared where it is not, opened where nobody has it open. */
  async lease(model: string, options: LeaseOptions = {}): Promise<Lease> {
    const { now } = this.#options;
    const start = now();
    const warm = options.warm ?? true;
    if (warm) this.#openRuntime().catch(() => undefined); // its error reaches whoever runs
    const resident = await this.#resident(model, options.form ?? "blocks", options);
    if (warm) resident.step().catch(() => undefined);
    return new Lease(resident, this.#options, now() - start);
  }

  /** Opened once for any number of callers; each has its own progress and its own cancel. */
  async #resident(model: string, form: Form, options: LeaseOptions): Promise<Resident> {
    const key = `${form} ${model}`;
    if (options.signal?.aborted) throw cancelled(`opening ${model}`, options.signal);
    const known = this.#residents.get(key);
    if (known !== undefined) return known;
    return this.#openings.run(`opening ${model} as ${form}`, options, async (work) => {
      const resident = await this.#openResident(model, form, { ...options, ...work });
      this.#residents.set(key, resident);
      return resident;
    });
  }

  async #openResident(model: string, form: Form, options: LeaseOptions): Promise<Resident> {
    const { now, onEvent } = this.#options;
    const stored = (await this.store.find(model)) ?? (await this.pull(model, options));
    const open = async (): Promise<Resident> => {
      const runtime = () => this.#openRuntime();
      const folder = this.store.preparedFolder(stored, form);
      const onAny = (event: EngineEvent) => onEvent?.(event);
      return Resident.open({ model: stored.name, folder, runtime, now, onEvent: onAny, isWarm: options.warm ?? true });
    };
    await this.prepare(stored, form, options);
    const start = now();
    const resident = await open().catch(async (error: unknown) => {
      // a damaged prepared form is made anew from the checkpoint, once
      if (!(error instanceof IroriError && error.code === "bad-file")) throw error;
      await this.store.removePrepared(stored, form);
      await this.prepare(stored, form, options);
      return open();
    });
    onEvent?.({ type: "open", model: stored.name, cause: "first lease", ms: now() - start });
    return resident;
  }

  /** The folder of a model's prepared form, written first where it is missing. */
  async prepare(
    stored: StoredModel,
    form: Form,
    options: Pick<LeaseOptions, "signal" | "onProgress"> = {},
  ): Promise<string> {
    const { now, onEvent } = this.#options;
    if (await this.#isPrepared(stored, form)) return this.store.preparedFolder(stored, form);
    const start = now();
    const { prepare, neededBytes } = await import("./prepare.ts");
    const folder = await this.store.writePrepared(
      stored,
      form,
      async (into, work) => {
        await prepare(stored.path, form, into, work);
      },
      { ...options, neededBytes: await neededBytes(stored.path, form) },
    );
    onEvent?.({ type: "prepare", model: stored.name, cause: `no ${form} form of these bytes`, ms: now() - start });
    return folder;
  }

  /** Whether there is a prepared form that this version reads; another one gives way. */
  async #isPrepared(stored: StoredModel, form: Form): Promise<boolean> {
    if (!(await this.store.hasPrepared(stored, form))) return false;
    try {
      await readManifest(this.store.preparedFolder(stored, form));
      return true;
    } catch (error) {
      if (!(error instanceof IroriError && error.code === "bad-file")) throw error;
      await this.store.removePrepared(stored, form);
      return false;
    }
  }

  /** Closes every Program and the runtime; leases given out stop working. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#openings[Symbol.asyncDispose]();
    for (const resident of this.#residents.values()) await resident[Symbol.asyncDispose]();
    this.#residents.clear();
    const runtime = await this.#runtime?.catch(() => undefined);
    await runtime?.[Symbol.asyncDispose]();
  }
}
