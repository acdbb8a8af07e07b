// A compiled graph: what goes in and out, running it off the event loop, cancelling, closing after its runs.
// It does not know how the ONNX bytes came to be.

import { cancelled, IroriError } from "../base/mod.ts";
import { Binding, type Runner } from "./binding.ts";
import type { Handle, Ort } from "./ort.ts";
import { checkFit, type PortInfo, readPorts, type Tensors } from "./ports.ts";
import { adoptValue, type Hold, hold, Tensor } from "./tensor.ts";

export interface CompileOptions {
  /** Folder of the files that the model's external data names. */
  readonly weightsFolder?: string;
  /** false leaves weights as they are mapped (float32: no copy, 14 % slower); int4 and int8 need true, the default. */
  readonly prepack?: boolean;
  /** Graph rewrites of the library. Default "basic": those that keep the meaning of every named value. */
  readonly optimization?: "off" | "basic" | "extended" | "all";
  /** One block for the intermediate values of a known shape. Default true. */
  readonly memoryPattern?: boolean;
  /** Keep freed memory for the next run. Default true. */
  readonly arena?: boolean;
  /** Write the optimised model, and its weights with their prepacked forms into `fileName` beside it. */
  readonly savePrepackedTo?: { readonly modelPath: string; readonly fileName: string };
  /** Prefix of a Chrome trace of every node's time, written when the Program is closed. */
  readonly profileTo?: string;
  /** How errors name this Program. */
  readonly name?: string;
}

export interface RunOptions {
  /** Preallocated results, written in place. */
  readonly outputs?: Tensors;
  /** Names of the results wanted; default all. */
  readonly fetch?: readonly string[];
  readonly signal?: AbortSignal;
}

const optimizationLevels = { off: 0, basic: 1, extended: 2, all: 99 } as const;
const forgottenSessions = new FinalizationRegistry<{ ort: Ort; session: Handle }>(({ ort, session }) =>
  ort.release("Session", session),
);

export class Program implements AsyncDisposable {
  readonly name: string;
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  readonly #runner: Runner;
  readonly #running = new Set<Promise<void>>();
  readonly #onClosed: (program: Program) => void;
  #closed: Promise<void> | undefined;

  /** Programs come from `Runtime.compile`. */
  constructor(ort: Ort, session: Handle, name: string, onClosed: (program: Program) => void) {
    this.name = name;
    this.inputs = readPorts(ort, session, "Input", name);
    this.outputs = readPorts(ort, session, "Output", name);
    this.#onClosed = onClosed;
    const { inputs, outputs } = this;
    const execute: Runner["execute"] = (start, signal) => this.#execute(start, signal);
    this.#runner = { name, inputs, outputs, ort, session, execute, bindings: new Set() };
    forgottenSessions.register(this, { ort, session }, this);
  }

  /**
   * Runs once. Results are the given `outputs`, or new tensors: dispose of those early where they are large.
   * Throws "bad-input" where a name, type or shape does not fit, "cancelled", or "library" with the reason.
   */
  async run(inputs: Tensors, options: RunOptions = {}): Promise<Record<string, Tensor>> {
    const { ort, session } = this.#runner;
    this.#refuseClosed();
    checkFit(this.name, "input", this.inputs, inputs, true);
    const given = options.outputs ?? {};
    checkFit(this.name, "output", this.outputs, given, false);
    const wanted = this.#wanted(options.fetch, given);
    const results = wanted.map((port) => given[port.name] ?? allocate(port));
    const inputNames = this.inputs.map((port) => port.name);
    const held: Hold[] = [];
    try {
      for (const name of inputNames) held.push(hold(inputs[name] as Tensor, ort));
      const inputValues = held.map((one) => one.handle);
      const outputValues = results.map((tensor) => {
        if (!tensor) return null;
        const one = hold(tensor, ort);
        held.push(one);
        return one.handle;
      });
      const outputNames = wanted.map((port) => port.name);
      const start = (runOptions: Handle | null) =>
        // biome-ignore format: the order of OrtApi::Run
        ort.callAsync("Run", session, runOptions, inputNames, inputValues, inputNames.length,
          outputNames, outputNames.length, outputValues);
      await this.#execute(start, options.signal);
      const filled = results.map((tensor, i) => tensor ?? adoptValue(ort, outputValues[i] as Handle));
      return Object.fromEntries(outputNames.map((name, i) => [name, filled[i] as Tensor]));
    } finally {
      for (const one of held) one.release();
    }
  }

  /** Inputs and outputs that stay in place from run to run: the cheapest way to step. */
  bind(inputs: Tensors, outputs: Tensors): Binding {
    this.#refuseClosed();
    return new Binding(this.#runner, inputs, outputs);
  }

  /** Waits for the runs in flight, then releases everything. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#running);
    for (const values of [...this.#runner.bindings]) values.release();
    forgottenSessions.unregister(this);
    await this.#runner.ort.releaseAsync("Session", this.#runner.session);
    this.#onClosed(this);
  }

  #execute(start: (runOptions: Handle | null) => Promise<void>, signal: AbortSignal | undefined): Promise<void> {
    this.#refuseClosed();
    const run = executeRun(this.#runner.ort, this.name, start, signal);
    this.#running.add(run);
    const done = () => this.#running.delete(run);
    run.then(done, done);
    return run;
  }

  #wanted(fetch: readonly string[] | undefined, given: Tensors): readonly PortInfo[] {
    if (!fetch) return this.outputs;
    const byName = new Map(this.outputs.map((port) => [port.name, port]));
    const ports = [...new Set(fetch)].map((name) => {
      const port = byName.get(name);
      if (port) return port;
      const wanted = [...byName.keys()].join(", ");
      throw new IroriError("bad-input", { what: `${this.name} has no such output`, got: name, wanted });
    });
    for (const name of Object.keys(given)) {
      if (fetch.includes(name)) continue;
      throw new IroriError("bad-input", {
        what: `${this.name} was given memory for an output that fetch leaves out`,
        got: name,
      });
    }
    return ports;
  }

  #refuseClosed(): void {
    if (this.#closed) throw new IroriError("bad-input", { what: `${this.name} is closed and cannot run` });
  }
}

/** A known shape gets memory of our own, which needs no release; else the library allocates. */
function allocate({ dtype, shape }: PortInfo): Tensor | undefined {
  const sizes = shape.filter((size) => typeof size === "number" && size > 0) as number[];
  return sizes.length === shape.length ? Tensor.of(dtype, sizes) : undefined;
}

/** One run with its own cancellation: the flag is this run's, so the Program stays usable. */
async function executeRun(
  ort: Ort,
  name: string,
  start: (runOptions: Handle | null) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (signal?.aborted) throw cancelled(`the run of ${name}`, signal);
  await ort.enter();
  let runOptions: Handle | undefined;
  const onAbort = () => runOptions && ort.call("RunOptionsSetTerminate", runOptions);
  try {
    if (signal?.aborted) throw cancelled(`the run of ${name}`, signal);
    if (signal) runOptions = ort.make("CreateRunOptions");
    signal?.addEventListener("abort", onAbort, { once: true });
    await start(runOptions ?? null);
  } catch (error) {
    throw signal?.aborted ? cancelled(`the run of ${name}`, signal) : named(error, `${name} could not run`);
  } finally {
    signal?.removeEventListener("abort", onAbort);
    if (runOptions) ort.release("RunOptions", runOptions);
    ort.leave();
  }
}

export async function compileProgram(
  ort: Ort,
  environment: Handle,
  model: Uint8Array,
  options: CompileOptions,
  onClosed: (program: Program) => void,
): Promise<Program> {
  const name = options.name ?? "the program";
  if (model.byteLength === 0) throw new IroriError("bad-input", { what: `${name} has no ONNX bytes`, got: 0 });
  void model.buffer; // moves a tiny array off V8's moving heap before another thread reads it
  await ort.enter();
  const settings = ort.make("CreateSessionOptions");
  try {
    applyOptions(ort, settings, options);
    const session = await ort.makeAsync("CreateSessionFromArray", environment, model, model.byteLength, settings);
    try {
      return new Program(ort, session, name, onClosed);
    } catch (error) {
      ort.release("Session", session); // its inputs or outputs are of a kind that is not supported
      throw error;
    }
  } catch (error) {
    throw named(error, `${name} could not be compiled`);
  } finally {
    ort.release("SessionOptions", settings);
    ort.leave();
  }
}

function applyOptions(ort: Ort, settings: Handle, options: CompileOptions): void {
  ort.call("DisablePerSessionThreads", settings);
  ort.call("SetSessionGraphOptimizationLevel", settings, optimizationLevels[options.optimization ?? "basic"]);
  if (options.memoryPattern === false) ort.call("DisableMemPattern", settings);
  if (options.arena === false) ort.call("DisableCpuMemArena", settings);
  if (options.profileTo !== undefined) ort.call("EnableProfiling", settings, options.profileTo);
  const entries: Record<string, string> = {};
  if (options.weightsFolder !== undefined) {
    entries["session.model_external_initializers_file_folder_path"] = options.weightsFolder;
  }
  if (options.prepack === false) entries["session.disable_prepacking"] = "1";
  if (options.savePrepackedTo) {
    ort.call("SetOptimizedModelFilePath", settings, options.savePrepackedTo.modelPath);
    entries["session.save_external_prepacked_constant_initializers"] = "1";
    entries["session.optimized_model_external_initializers_file_name"] = options.savePrepackedTo.fileName;
    entries["session.optimized_model_external_initializers_min_size_in_bytes"] = "0";
  }
  for (const [key, value] of Object.entries(entries)) ort.call("AddSessionConfigEntry", settings, key, value);
}

function named(error: unknown, what: string): unknown {
  if (!(error instanceof IroriError) || error.code !== "library") return error;
  return new IroriError("library", { what, got: error.message, cause: error });
}
