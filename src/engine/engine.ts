// The engine: models by name, pulled, prepared and opened when first asked for, once for any number of callers.
// It does not know who calls: command line, server or test. Time, budget and folders are passed in.
import { cancelled, Flights, IroriError, type OnProgress } from "../base/mod.ts";
import { type Pruned, type PruneOptions, type PullOptions, Store, type StoredModel } from "../checkpoint/mod.ts";
import { Runtime } from "../runtime/mod.ts";
import type { KvType } from "./kv-cache.ts";
import { Lease } from "./lease.ts";
import type { Form, Manifest } from "./manifest.ts";
import { isPackedElsewhere, isPrepacked, type Kernels, readPacked } from "./packed.ts";
import type { EngineEvent } from "./programs.ts";
import { Resident, readManifest } from "./resident.ts";
import { Turns } from "./turns.ts";

const KEPT_BYTES = 2 ** 28;

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
  /** How models are fetched; absent: as the machine's defaults have it. */
  readonly fetching?:
    | Pick<PullOptions, "python" | "isOffline" | "network" | "ollamaModels" | "acceptsTerms">
    | undefined;
  /** Bytes that what ended answers have read may take, kept for prompts that begin alike. Default 256 MiB. */
  readonly keptBytes?: number | undefined;
  /** Every load and compile, with its cause and duration. */
  readonly onEvent?: ((event: EngineEvent) => void) | undefined;
}

/**
 * How a resident model computes. "served": in the form that is here, else the checkpoint's own blocks, or by the model's size
 * where it comes as floats. "int8" is made of that form.
 */
export type LeaseForm = Form | "served" | "int8";

export interface LeaseOptions {
  /**
   * Default "served": quantised blocks as the checkpoint has them ("blocks"), or of our own where it comes as floats ("q8", "q4"
   * for large models, floats as they are for very small ones): quickest for one answer. "int8": the same weights with one scale a
   * channel in 8-bit products, quickest for prompts and many answers. "f32": for the lab.
   */
  readonly form?: LeaseForm | undefined;
  /** Read prompts as the form "int8" does, make answers as `form` does. Default false. */
  readonly hasInt8Prompts?: boolean | undefined;
  /** What keys and values are kept as. Default "f32"; "int8" takes a quarter of the memory. */
  readonly kvType?: KvType | undefined;
  /** false opens the tokenizer only; the Program opens when something runs. Default true. */
  readonly warm?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

export class Engine implements AsyncDisposable {
  readonly store: Store;
  readonly #options: EngineOptions;
  readonly #residents = new Map<string, Resident>();
  readonly #openings = new Flights();
  readonly #turns = new Turns();
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
  async pull(
    model: string,
    { form, ...options }: Pick<LeaseOptions, "form" | "signal" | "onProgress"> = {},
  ): Promise<StoredModel> {
    const prefers = form === "f32" ? "safetensors" : "gguf";
    return this.store.pull(model, { ...this.#options.fetching, prefers, ...options });
  }

  /** Asks for the terms of a model that is not here yet, before other work begins. Throws "bad-input" where they are not accepted. */
  async requireTerms(model: string): Promise<void> {
    await this.store.requireTerms(model, { ...this.#options.fetching });
  }

  /** Fetches the bytes of a model that is here again, in the place of damaged ones; its prepared forms stay. */
  async pullAgain(model: StoredModel, options: Pick<LeaseOptions, "signal" | "onProgress"> = {}): Promise<StoredModel> {
    return this.store.pullAgain(model, { ...this.#options.fetching, ...options });
  }

  /** `Store.prune`, and of models that are kept the pages that were packed for other runtimes, CPUs and versions. */
  async prune(options: Pick<PruneOptions, "isKept" | "isDryRun"> = {}): Promise<Pruned> {
    const runtime = await this.#openRuntime();
    return this.store.prune({ ...options, isStale: (name) => isPackedElsewhere(name, runtime) });
  }

  /** A lease of a model by name or source: pulled and prepared where it is not, opened where nobody has it open. */
  async lease(model: string, options: LeaseOptions = {}): Promise<Lease> {
    const { now } = this.#options;
    const start = now();
    const warm = options.warm ?? true;
    if (warm) this.#openRuntime().catch(() => undefined); // its error reaches whoever runs
    const alias = await this.store.aliasOf(model);
    const resident = await this.#resident(alias?.from ?? model, options.form ?? "served", options);
    if (warm) resident.warm().catch(() => undefined);
    const { system = resident.system, sampling, stop, maxTokens } = alias ?? {};
    return new Lease(resident, this.#options, now() - start, { system, sampling, stop, maxTokens });
  }

  /** What a model is, from its prepared form (fetched and made where it is missing), with none of it in memory. */
  async describe(
    model: string,
    options: Omit<LeaseOptions, "warm"> = {},
  ): Promise<{ readonly model: string; readonly manifest: Manifest; readonly mappedBytes: number }> {
    const alias = await this.store.aliasOf(model);
    const { stored, form } = await this.#storedAs(alias?.from ?? model, options.form ?? "served", options);
    const folder = await this.prepare(stored, form, options);
    const manifest = await readManifest(folder);
    return { model: stored.name, manifest, mappedBytes: await this.#mappedBytes(folder, manifest, options) };
  }

  /** Bytes of the files that are mapped: its packed pages; before they are made, what they take at most. */
  async #mappedBytes(folder: string, manifest: Manifest, { form }: Pick<LeaseOptions, "form">): Promise<number> {
    const kernels: Kernels = form === "int8" ? "int8" : "own";
    if (!isPrepacked(manifest, kernels)) return manifest.weightBytes;
    const packed = await readPacked({ folder, runtime: await this.#openRuntime(), kernels });
    return packed?.files.reduce((sum, { bytes }) => sum + bytes, 0) ?? 2 * manifest.weightBytes;
  }

  /** A model's checkpoint and the form that it is leased in. */
  async #storedAs(model: string, leased: LeaseForm, options: LeaseOptions) {
    const stored = (await this.store.find(model)) ?? (await this.pull(model, options));
    const isServed = leased === "served" || leased === "int8";
    return { stored, form: isServed ? await this.servingForm(stored) : leased };
  }

  /** Opened once for any number of callers; each has its own progress and its own cancel. */
  async #resident(model: string, form: LeaseForm, options: LeaseOptions): Promise<Resident> {
    const { hasInt8Prompts, kvType = "f32" } = options;
    const key = `${model} as ${form}${hasInt8Prompts ? ", int8 prompts" : ""}${kvType === "f32" ? "" : `, ${kvType} KvCache`}`;
    if (options.signal?.aborted) throw cancelled(`opening ${model}`, options.signal);
    const known = this.#residents.get(key);
    if (known !== undefined) return known;
    return this.#openings.run(`opening ${key}`, options, async (work) => {
      const resident = await this.#openResident(model, form, { ...options, ...work });
      this.#residents.set(key, resident);
      return resident;
    });
  }

  /** What the budget leaves beside what answers have asked for and not touched yet. */
  #freeBytes(): number {
    const untouched = [...this.#residents.values()].reduce((sum, { memory }) => sum + memory.untouchedBytes, 0);
    return this.#options.budgetBytes() - untouched;
  }

  async #openResident(model: string, leased: LeaseForm, options: LeaseOptions): Promise<Resident> {
    const { now, onEvent } = this.#options;
    const answer: Kernels = leased === "int8" ? "int8" : "own";
    const kernels = { answer, prompt: options.hasInt8Prompts ? "int8" : answer } as const;
    const { stored, form } = await this.#storedAs(model, leased, options);
    const open = async (): Promise<Resident> => {
      const runtime = () => this.#openRuntime();
      const folder = this.store.preparedFolder(stored, form);
      const onAny = (event: EngineEvent) => onEvent?.(event);
      return Resident.open({
        ...{ model: stored.name, folder, runtime, now, onEvent: onAny, isWarm: options.warm ?? true },
        ...{ kernels, kvType: options.kvType, system: stored.system },
        ...{
          turns: this.#turns,
          budgetBytes: () => this.#freeBytes(),
          keptBytes: this.#options.keptBytes ?? KEPT_BYTES,
        },
      });
    };
    const noted = this.store.noteUse(stored);
    noted.catch(() => undefined); // told below, unless preparing has something to tell first
    await this.prepare(stored, form, options);
    const start = now();
    const resident = await open().catch(async (error: unknown) => {
      // a damaged prepared form is made anew from the checkpoint, once
      if (!(error instanceof IroriError && error.code === "bad-file")) throw error;
      await this.store.removePrepared(stored, form);
      await this.prepare(stored, form, options);
      return open();
    });
    await noted;
    onEvent?.({ type: "open", model: stored.name, cause: "first lease", ms: now() - start });
    return resident;
  }

  /** The form that a model is served in where nobody names one: one that is here, else by what its checkpoint holds. */
  async servingForm(stored: StoredModel): Promise<Form> {
    for (const form of ["blocks", "q8", "q4"] as const) if (await this.store.hasPrepared(stored, form)) return form;
    const { servingForm } = await import("./prepare.ts");
    return await servingForm(stored.path);
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

  /** Closes a model in every form that is open; leases of it stop working, its answers fail. It opens again when asked for. */
  async close(model: string): Promise<void> {
    const open = [...this.#residents].filter(([, resident]) => resident.model === model);
    for (const [key] of open) this.#residents.delete(key);
    for (const [, resident] of open) await resident[Symbol.asyncDispose]();
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
