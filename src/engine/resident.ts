// A prepared model whose Programs are open (or open when first needed): weights mapped once, shared by all of them.
// It does not know names of models, sources or budgets.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { IroriError } from "../base/mod.ts";
import type { Graph } from "../tensor/mod.ts";
import { ChatTemplate, Tokenizer } from "../text/mod.ts";
import { Batcher } from "./batcher.ts";
import type { StepChange } from "./changed-step.ts";
import type { HeldProgram } from "./kept-programs.ts";
import type { KvType } from "./kv-cache.ts";
import { KvMemory } from "./kv-memory.ts";
import { FILES, MANIFEST_FORMAT, type Manifest } from "./manifest.ts";
import { checkMapped } from "./mapped-check.ts";
import type { Kernels } from "./packed.ts";
import { Programs, type ProgramsOptions, type Step } from "./programs.ts";
import { readSealed, sealOf } from "./sealed.ts";
import { TextBatcher } from "./text-batcher.ts";
import type { Reading } from "./text-graph.ts";
import type { TraceModel } from "./trace.ts";
import type { Turns } from "./turns.ts";

/** What linear layers of each part of a text are computed with. */
export interface KernelChoice {
  readonly prompt: Kernels;
  readonly answer: Kernels;
}

export interface ResidentOptions extends ProgramsOptions {
  /** Default: the prepared form's own. */
  readonly kernels?: KernelChoice | undefined;
  /** Default "f32". */
  readonly kvType?: KvType | undefined;
  /** Whose turn it is to run. */
  readonly turns: Turns;
  /** Bytes that are free, asked before each KvCache. */
  readonly budgetBytes: () => number;
  /** Bytes that caches of answers that ended may take. */
  readonly keptBytes: number;
  /** Open the step of one row at once, beside the tokenizer. */
  readonly isWarm?: boolean;
  /** What the model's maker puts in front of a chat. */
  readonly system?: string | undefined;
}

type ProgramsByKernels = Readonly<Record<Kernels, Programs>>;
const OWN_KERNELS: KernelChoice = { prompt: "own", answer: "own" };
const AGAIN = "it is prepared anew when the model is next opened";

async function read(path: string): Promise<Uint8Array> {
  return readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw new IroriError("bad-file", { what: `${path} cannot be read`, got: error.message, next: AGAIN, cause: error });
  });
}

/** The manifest of a prepared folder. Throws "bad-file" where it is damaged, missing or of another format. */
export async function readManifest(folder: string): Promise<Manifest> {
  const bytes = await readSealed(join(folder, FILES.manifest));
  if (bytes === undefined)
    throw new IroriError("bad-file", {
      what: `${folder} has no manifest`,
      next: "it is prepared anew when next opened",
    });
  const manifest = JSON.parse(new TextDecoder().decode(bytes)) as Manifest;
  if (manifest.format === MANIFEST_FORMAT) return manifest;
  throw new IroriError("bad-file", {
    what: `${folder}: format of the prepared model`,
    got: manifest.format,
    wanted: MANIFEST_FORMAT,
    next: AGAIN,
  });
}

/** Where a model loses too much in 8-bit integers, its prompts are read with its own weights: they are only quicker otherwise. */
const orOwn = (own: () => Promise<Step>) => (error: unknown) => {
  if (error instanceof IroriError && error.code === "unsupported") return own();
  throw error;
};

/** Opens what is most likely asked of a model: a step, or reading texts. */
function warm(programs: Programs, { isDecoder, sentence }: Manifest): Promise<unknown> {
  if (isDecoder) return programs.step(1);
  return programs.texts({ of: sentence && "pooling" in sentence ? sentence.pooling : "mean", hasTypes: false });
}

export class Resident implements AsyncDisposable {
  readonly manifest: Manifest;
  readonly #folder: string;
  readonly #tokenizer: Tokenizer | undefined;
  readonly model: string;
  /** What the model's maker puts in front of a chat. */
  readonly system: string | undefined;
  /** Steps of all its answers. */
  readonly batcher: Batcher;
  /** What its KvCaches hold. */
  readonly kvType: KvType;
  /** KvCaches of all its answers. */
  readonly memory: KvMemory;
  readonly #programs: ProgramsByKernels;
  readonly #kernels: KernelChoice;
  readonly #turns: Turns;
  readonly #texts = new Map<string, TextBatcher>();
  #template: Promise<ChatTemplate> | undefined;
  #inside: TraceModel | undefined;

  private constructor(
    { model, folder, turns, budgetBytes, keptBytes, system, kernels = OWN_KERNELS, kvType = "f32" }: ResidentOptions,
    manifest: Manifest,
    tokenizer: Tokenizer | undefined,
    programs: ProgramsByKernels,
  ) {
    const { config } = manifest;
    const { prompt, answer } = kernels;
    this.model = model;
    this.#folder = folder;
    this.system = system;
    this.manifest = manifest;
    this.#tokenizer = tokenizer;
    this.#programs = programs;
    this.#kernels = kernels;
    this.#turns = turns;
    const step = (rows: number) => programs[answer].step(rows);
    const promptStep = prompt === answer ? undefined : () => programs[prompt].step(1).catch(orOwn(() => step(1)));
    this.kvType = kvType;
    this.batcher = new Batcher({ model, config, kvType, turns, step, promptStep });
    this.memory = new KvMemory({ model, config, kvType, budgetBytes, keptBytes });
  }

  /** Reads the manifest and the tokenizer. Throws "bad-file" where the prepared form is damaged. */
  static async open(options: ResidentOptions): Promise<Resident> {
    const { folder } = options;
    const manifest = await readManifest(folder);
    await checkMapped(join(folder, FILES.weights), { bytes: manifest.weightBytes, sha256: manifest.weightSha256 });
    await using stack = new AsyncDisposableStack();
    const { kvType = "f32" } = options;
    const programs = {
      own: stack.use(new Programs(options, manifest, { kernels: "own", kvType })),
      int8: stack.use(new Programs(options, manifest, { kernels: "int8", kvType })),
    };
    const { answer } = options.kernels ?? OWN_KERNELS;
    // its error reaches whoever runs
    if (options.isWarm) warm(programs[answer], manifest).catch(() => undefined);
    const hasTokenizer = manifest.noTokenizer === undefined;
    const tokenizer = hasTokenizer ? Tokenizer.open(await read(join(folder, FILES.tokenizer))) : undefined;
    stack.move();
    return new Resident(options, manifest, tokenizer, programs);
  }

  /** Whether texts can be had from the model, not token ids alone. */
  get hasTokenizer(): boolean {
    return this.#tokenizer !== undefined;
  }

  /** Throws "unsupported", with the reason, where the model came without one that is run here. */
  get tokenizer(): Tokenizer {
    if (this.#tokenizer !== undefined) return this.#tokenizer;
    throw new IroriError("unsupported", {
      what: `${this.model} has no tokenizer that Irori runs`,
      got: this.manifest.noTokenizer,
      next: "put a tokenizer.json that is run (docs/text.md) beside its weights, `irori rm` the model and try again, or give it token ids",
    });
  }

  /** The model as a family's program over its weights, as the form holds them. */
  async inside(): Promise<TraceModel> {
    if (this.#inside !== undefined) return this.#inside;
    const [{ familyNamed }, { storedWeights }] = await Promise.all([
      import("../models/mod.ts"),
      import("./stored-weight.ts"),
    ]);
    const { family, config } = this.manifest;
    this.#inside ??= {
      ...{
        family: familyNamed(family),
        config,
        weights: storedWeights(this.manifest),
        plans: new Map(),
        hooks: new Map(),
      },
      program: (graph) => this.program(graph),
    };
    return this.#inside;
  }

  /** The Program of a Graph over the model's weights as the form holds them: equal Graphs are one Program. */
  program(graph: Graph): Promise<HeldProgram> {
    return this.#programs.own.of(graph);
  }

  /** The step of one row with changes; equal ones, whatever their numbers, are opened once. */
  changed(change: StepChange) {
    return this.#programs.own.changed(change);
  }

  /** What reads whole texts of one kind, for any number of callers. */
  texts(reading: Reading): TextBatcher {
    const key = JSON.stringify(reading);
    const known = this.#texts.get(key);
    if (known !== undefined) return known;
    const made = new TextBatcher(() => this.#programs[this.#kernels.answer].texts(reading), this.#turns);
    this.#texts.set(key, made);
    return made;
  }

  /** The step of `rows` rows; opened once for any number of callers. */
  step(rows = 1): Promise<Step> {
    return this.#programs[this.#kernels.answer].step(rows);
  }

  /** Opens what is most likely asked of the model, if nobody did. */
  async warm(): Promise<void> {
    await warm(this.#programs[this.#kernels.answer], this.manifest);
  }

  /** SHA-256 of what keys and values of 8-bit integers count in; undefined for float32. */
  async kvScales(): Promise<string | undefined> {
    if (this.kvType === "f32") return undefined;
    await this.batcher.open(1); // they are measured before the first step
    return sealOf(join(this.#folder, FILES.kvScales));
  }

  /** The model's chat template. Throws "unsupported" where it has none. */
  chatTemplate(): Promise<ChatTemplate> {
    const source = this.manifest.chatTemplate;
    if (source === undefined)
      throw new IroriError("unsupported", { what: `${this.model} has no chat template`, next: "use a raw prompt" });
    const { bosId, eosIds, unknownId, padId } = this.tokenizer;
    const text = (id: number | undefined) => (id === undefined ? undefined : this.tokenizer.tokenText(id));
    this.#template ??= ChatTemplate.open(source, {
      bos: text(bosId),
      eos: text(eosIds[0]),
      unknown: text(unknownId),
      pad: text(padId),
    });
    return this.#template;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.batcher[Symbol.asyncDispose]();
    this.memory[Symbol.dispose]();
    for (const programs of Object.values(this.#programs)) await programs[Symbol.asyncDispose]();
  }
}
