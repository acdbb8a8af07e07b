// The Programs of a prepared model: opened when first asked for, once for any number of callers, equal ones once.
// It does not know tokenizers or requests.
import { IroriError } from "../base/mod.ts";
import type { Program, Runtime } from "../runtime/mod.ts";
import type { Graph } from "../tensor/mod.ts";
import type { Shapes, StepChange } from "./changed-step.ts";
import { type HeldProgram, KeptPrograms } from "./kept-programs.ts";
import type { KvType } from "./kv-cache.ts";
import { locateIn, type Manifest } from "./manifest.ts";
import { agrees, resultsOf } from "./offsets-check.ts";
import type { ChangedStep } from "./pack.ts";
import {
  type Check,
  isPrepacked,
  type Kernels,
  type Made,
  MOST_LOSS,
  nameOf,
  type PackSite,
  readQuality,
  readStages,
  removePacked,
  type Stage,
  type StageFile,
} from "./packed.ts";
import type { Reading } from "./text-graph.ts";

/** Something that took time, and why. */
export interface EngineEvent {
  readonly type: "prepare" | "pack" | "open" | "compile";
  readonly model: string;
  readonly cause: string;
  readonly ms: number;
}

export interface ProgramsOptions {
  readonly model: string;
  /** Folder of the prepared model. */
  readonly folder: string;
  /** The process's runtime, opened when first asked for. */
  readonly runtime: () => Promise<Runtime>;
  readonly now: () => number;
  readonly onEvent: (event: EngineEvent) => void;
}

/** A step that stays open until its holder lets it go. */
export interface HeldStep extends Disposable {
  readonly step: Step;
  readonly shapes: Shapes;
}

/** Changed steps whose bytes are kept. */
const CHANGED = 64;

/** The stages of a step, to be run one after another. */
export type Step = readonly Program[];

/** Damaged packed files are made anew; other errors are thrown. */
function damaged(error: unknown): undefined {
  if (error instanceof IroriError && error.code === "bad-file") return undefined;
  throw error;
}

export class Programs implements AsyncDisposable {
  readonly #options: ProgramsOptions;
  readonly #manifest: Manifest;
  readonly #made = new Map<string, Promise<Step>>();
  readonly #changed = new Map<string, Promise<ChangedStep>>();
  readonly #stages = new Map<string, Promise<Program>>();
  readonly #kernels: Kernels;
  readonly #kvType: KvType;
  readonly #graphs = new KeptPrograms(16);
  readonly #checks = new Map<string, Promise<void>>();

  constructor(
    options: ProgramsOptions,
    manifest: Manifest,
    { kernels, kvType }: { readonly kernels: Kernels; readonly kvType: KvType },
  ) {
    this.#kernels = kernels;
    this.#kvType = kvType;
    this.#options = options;
    this.#manifest = manifest;
  }

  /** The step of `rows` rows. */
  step(rows: number): Promise<Step> {
    return this.#open({ rows, kvType: this.#kvType });
  }

  /** What reads whole texts. */
  async texts(reading: Reading): Promise<Program> {
    return (await this.#open(reading))[0] as Program;
  }

  /** A Graph over the weights file as it is: float32 weights are mapped, nothing is packed. Equal Graphs are one Program. */
  async of(graph: Graph): Promise<HeldProgram> {
    const { folder, model } = this.#options;
    const [runtime, { graphHash, onnxBytes }] = await Promise.all([
      this.#options.runtime(),
      import("../tensor/mod.ts"),
    ]);
    return this.#graphs.hold(graphHash(graph), () =>
      runtime.compile(onnxBytes(graph, { locate: locateIn(this.#manifest) }), {
        ...{ weightsFolder: folder, prepack: false, optimization: "off", memoryPattern: false },
        name: `a Graph of ${model}`,
      }),
    );
  }

  /** The step of one row with changes: made once for any numbers and places of them, open while it is held (and for a while). */
  async changed(change: StepChange): Promise<HeldStep> {
    const runtime = await this.#options.runtime();
    await this.step(1); // packs where that was not done, and has damaged pages made anew
    const key = JSON.stringify(change);
    const { stages, shapes } = await once(this.#changed, key, async () => {
      const { makeChanged } = await import("./pack.ts");
      return makeChanged(this.#site(runtime), this.#manifest, change, this.#kvType);
    });
    for (const oldest of this.#changed.keys()) if (this.#changed.size > CHANGED) this.#changed.delete(oldest);
    using opening = new DisposableStack();
    const { model, now, onEvent } = this.#options;
    const start = now();
    let isNew = false;
    const opened = stages.map(async (stage) => {
      const plain = this.#stages.get(stage.hash);
      if (plain !== undefined) return plain;
      const hold = this.#graphs.hold(`stage ${stage.hash}`, () => {
        isNew = true;
        return this.#compileStage(runtime, stage);
      });
      return opening.use(await hold).program;
    });
    await Promise.allSettled(opened); // where one fails, the others are let go
    const step = await Promise.all(opened);
    if (isNew) onEvent({ type: "compile", model, cause: "a step that is changed or read inside", ms: now() - start });
    const held = opening.move();
    return { step, shapes, [Symbol.dispose]: () => held.dispose() };
  }

  #site(runtime: Runtime): PackSite {
    return { folder: this.#options.folder, runtime, kernels: this.#kernels };
  }

  #open(made: Made): Promise<Step> {
    const name = nameOf(made);
    return once(this.#made, name, async () => {
      const runtime = await this.#options.runtime();
      const site = this.#site(runtime);
      const known = await readStages(site, name).catch(damaged);
      if (known !== undefined) {
        await this.#refuseLoss(site);
        const step = await this.#compile(runtime, name, known).catch(damaged);
        if (step !== undefined) return step;
        await removePacked(site);
      }
      const stages = await this.#make(site, made);
      await this.#refuseLoss(site);
      return this.#compile(runtime, name, stages);
    });
  }

  /** Refuses 8-bit integers where they were measured to cost too much. */
  async #refuseLoss(site: PackSite): Promise<void> {
    if (site.kernels === "own") return;
    const { loss = 0 } = (await readQuality(site)) ?? {};
    if (loss <= MOST_LOSS) return;
    const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
    throw new IroriError("unsupported", {
      what: `${this.#options.model} in 8-bit integers loses too much`,
      got: percent(loss),
      wanted: `at most ${percent(MOST_LOSS)}`,
      next: "use the form blocks",
    });
  }

  /** Stages traced now; packs the model first where this runtime and CPU have not seen it. */
  async #make(site: PackSite, made: Made): Promise<StageFile> {
    const { model, now, onEvent } = this.#options;
    const start = now();
    const { makeStages } = await import("./pack.ts");
    const stages = await makeStages(site, this.#manifest, made);
    const cause = `first ${nameOf(made)} on ${site.runtime.instructionSet}`;
    onEvent({ type: "pack", model, cause, ms: now() - start });
    return stages;
  }

  /** Opens what is not open yet of the stages, side by side. */
  async #compile(runtime: Runtime, name: string, { stages, check }: StageFile): Promise<Step> {
    const { model, now, onEvent } = this.#options;
    const start = now();
    const opening = stages.map((stage) => once(this.#stages, stage.hash, () => this.#compileStage(runtime, stage)));
    const checked = check && once(this.#checks, check.hash, () => this.#check(runtime, check));
    await Promise.allSettled([...opening, checked]);
    await checked?.catch(async (error: unknown) => {
      await this.#closeStages(); // every step waits for the same check: nobody has been given one of these
      throw error;
    });
    const step = await Promise.all(opening);
    onEvent({ type: "compile", model, cause: `first ${name}`, ms: now() - start });
    return step;
  }

  /** Refuses pages that the library does not use as they are: without them the numbers would be wrong. */
  async #check(runtime: Runtime, check: Check): Promise<void> {
    await using program = await this.#compileStage(runtime, check);
    if (agrees(check.expected, await resultsOf(program))) return;
    throw new IroriError("bad-file", {
      what: `the packed weights of ${this.#options.model} do not fit this library and CPU`,
      next: "they are made anew",
    });
  }

  #compileStage(runtime: Runtime, { hash, bytes }: Stage): Promise<Program> {
    return runtime.compile(bytes, {
      weightsFolder: this.#options.folder,
      prepack: isPrepacked(this.#manifest, this.#kernels),
      optimization: "off",
      memoryPattern: false,
      name: `${this.#options.model} stage ${hash.slice(0, 8)}`,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#made.values());
    await this.#closeStages();
    await this.#graphs[Symbol.asyncDispose]();
    this.#changed.clear();
    this.#made.clear();
    this.#checks.clear();
  }

  async #closeStages(): Promise<void> {
    const opened = [...this.#stages.values()];
    this.#stages.clear();
    for (const program of await Promise.allSettled(opened))
      if (program.status === "fulfilled") await program.value[Symbol.asyncDispose]();
  }
}

/** Single flight by key; a failure is its askers' and forgotten, so that the next one tries again. */
function once<K, T>(flights: Map<K, Promise<T>>, key: K, open: () => Promise<T>): Promise<T> {
  let flight = flights.get(key);
  if (flight === undefined) {
    flight = open();
    flights.set(key, flight);
    flight.catch(() => flights.delete(key));
  }
  return flight;
}
