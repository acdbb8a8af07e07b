// The engine: models by name, pulled, prepared and opened when first asked for, once for any number of callers.
// It does not know who calls: command line, server or test. Time, budget and folders are passed in.
import { IroriError, type OnProgress } from "../base/mod.ts";
import { Store, type StoredModel } from "../checkpoint/mod.ts";
import { Runtime } from "../runtime/mod.ts";
import type { ChatMessage } from "../text/mod.ts";
import {
  CHUNK,
  contextOf,
  type GenerationEvent,
  type GenerationRequest,
  type GenerationSetting,
  generate,
} from "./generation.ts";
import type { Form, Manifest } from "./manifest.ts";
import { type Plan, planGeneration, refuseTooLarge } from "./plan.ts";
import type { EngineEvent } from "./programs.ts";
import { Resident } from "./resident.ts";
import { DEFAULT_SAMPLING, type Sampling } from "./sampling.ts";
import { type Score, score } from "./score.ts";

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

export interface GenerateRequest extends Partial<Omit<GenerationRequest, "ids" | "seed" | "sampling">> {
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
    return this.#resident.tokenizer.encode(text, options);
  }
  detokenize(ids: readonly number[], options: { readonly control?: boolean } = {}): string {
    return this.#resident.tokenizer.decode(ids, options);
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
    yield* generate(await this.#setting(), full, options.signal);
  }

  /** Token ids of a prompt, a bos in front where the model wants one. */
  async promptIds(prompt: Prompt): Promise<number[]> {
    const { tokenizer } = this.#resident;
    if ("ids" in prompt) return this.#checkedIds(prompt.ids);
    if ("messages" in prompt) {
      const [{ encodeChat }, template] = await Promise.all([import("../text/mod.ts"), this.#resident.chatTemplate()]);
      return encodeChat(tokenizer, template, prompt.messages, { addGenerationPrompt: true });
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
    return (await this.#resident.chatTemplate()).render(messages, { addGenerationPrompt: true });
  }

  /** Negative log likelihoods of a text's tokens. */
  async score(
    ids: readonly number[],
    options: { readonly signal?: AbortSignal; readonly onDone?: (tokens: number) => void } = {},
  ): Promise<Score> {
    refuseTooLarge(this.#wants(ids.length), this.#engine.budgetBytes());
    return score(await this.#setting(), this.#checkedIds(ids), options);
  }

  #held(): Resident {
    if (this.#isHeld) return this.#resident;
    throw new IroriError("bad-input", { what: `the lease of ${this.model} was given back`, next: "take a new one" });
  }

  async #setting(): Promise<GenerationSetting> {
    const resident = this.#held();
    const asked = this.#engine.now();
    const step = await resident.step();
    // only the first answer over this lease waited for the lease
    const openMs = this.#leaseMs + this.#engine.now() - asked;
    this.#leaseMs = 0;
    return {
      model: this.model,
      config: this.manifest.config,
      tokenizer: resident.tokenizer,
      step,
      openMs,
      inTurn: (step) => resident.inTurn(step),
      now: this.#engine.now,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isHeld = false;
  }
}

export class Engine implements AsyncDisposable {
  readonly store: Store;
  readonly #options: EngineOptions;
  readonly #residents = new Map<string, Promise<Resident>>();
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
    this.#runtime ??= Runtime.open({ threads, spinning, ...(libraryPath !== undefined && { libraryPath }) });
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

  async #resident(model: string, form: Form, options: LeaseOptions): Promise<Resident> {
    const key = `${form} ${model}`;
    let opening = this.#residents.get(key);
    if (opening === undefined) {
      opening = this.#openResident(model, form, options);
      this.#residents.set(key, opening);
      opening.catch(() => this.#residents.delete(key));
    }
    return opening;
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
    if (await this.store.hasPrepared(stored, form)) return this.store.preparedFolder(stored, form);
    const start = now();
    const folder = await this.store.writePrepared(
      stored,
      form,
      async (into, work) => {
        const { prepare } = await import("./prepare.ts");
        await prepare(stored.path, form, into, work);
      },
      { ...options, neededBytes: form === "f32" ? stored.bytes * 8 : stored.bytes * 2 },
    );
    onEvent?.({ type: "prepare", model: stored.name, cause: `no ${form} form of these bytes`, ms: now() - start });
    return folder;
  }

  /** Closes every Program and the runtime; leases given out stop working. */
  async [Symbol.asyncDispose](): Promise<void> {
    const residents = await Promise.allSettled(this.#residents.values());
    for (const resident of residents) if (resident.status === "fulfilled") await resident.value[Symbol.asyncDispose]();
    this.#residents.clear();
    const runtime = await this.#runtime?.catch(() => undefined);
    await runtime?.[Symbol.asyncDispose]();
  }
}
