// The process's ONNX Runtime: one environment, one thread pool, shared by every Program.
// It does not know what Programs compute.

import { IroriError } from "../base/mod.ts";
import { instructionSet } from "./cpu.ts";
import { findLibrary } from "./library.ts";
import { type Handle, Ort } from "./ort.ts";
import { type CompileOptions, compileProgram, type Program } from "./program.ts";

export interface RuntimeOptions {
  /** Threads that work on one run, the calling one included. */
  readonly threads: number;
  /** Whether idle threads wait busily: faster on a quiet machine, much slower where others want the cores. */
  readonly spinning: boolean;
  /** Another libonnxruntime than onnxruntime-node's. */
  readonly libraryPath?: string;
  /** What the library itself prints to stderr; its errors are thrown in any case. Default "fatal". */
  readonly logLevel?: LogLevel;
}
export type LogLevel = "verbose" | "info" | "warning" | "error" | "fatal";
const logLevels: readonly LogLevel[] = ["verbose", "info", "warning", "error", "fatal"];

interface Environment {
  readonly settings: string;
  readonly ort: Ort;
  readonly handle: Handle;
}

/** Opened libraries stay loaded: code of a library that still has threads cannot be unmapped safely. */
const libraries = new Map<string, Ort>();
/** The environment of this process, while somebody has it open or is closing it. */
let shared: { readonly settings: string; readonly environment: Promise<Environment>; users: number } | undefined;
let closing: Promise<void> = Promise.resolve();

export class Runtime implements AsyncDisposable {
  readonly version: string;
  readonly threads: number;
  readonly spinning: boolean;
  readonly #environment: Environment;
  readonly #programs = new Set<Program>();
  readonly #compiling = new Set<Promise<Program>>();
  #instructionSet: string | undefined;
  #closed: Promise<void> | undefined;

  private constructor(environment: Environment, options: RuntimeOptions) {
    this.#environment = environment;
    this.version = environment.ort.version;
    this.threads = options.threads;
    this.spinning = options.spinning;
  }

  /**
   * Opens the process's runtime, or shares the one that is open. Throws "bad-input" where that one has other
   * settings, "library" where the library is missing or does not load.
   */
  static async open(options: RuntimeOptions): Promise<Runtime> {
    if (!Number.isInteger(options.threads) || options.threads < 1) {
      throw new IroriError("bad-input", {
        what: "the runtime needs threads",
        got: options.threads,
        wanted: "1 or more",
      });
    }
    const path = findLibrary(options.libraryPath);
    const settings = `${options.threads} threads, spinning ${options.spinning ? "on" : "off"}, library ${path}`;
    if (!shared) await closing;
    if (shared && shared.settings !== settings) {
      throw new IroriError("bad-input", {
        what: "the runtime of this process is already open with other settings",
        got: settings,
        wanted: shared.settings,
        next: "use the same settings, or close every Runtime first",
      });
    }
    shared ??= { settings, environment: openEnvironment(path, settings, options), users: 0 };
    const mine = shared;
    mine.users++;
    try {
      return new Runtime(await mine.environment, options);
    } catch (error) {
      if (--mine.users === 0 && shared === mine) shared = undefined;
      throw error;
    }
  }

  /** CPU features that decide which kernels run, for example "x64-avx512-vnni-avxvnni-amx-f16c". */
  get instructionSet(): string {
    this.#instructionSet ??= instructionSet();
    return this.#instructionSet;
  }

  /** Compiles ONNX bytes, off the event loop. Throws "library" with ONNX Runtime's reason. */
  async compile(model: Uint8Array, options: CompileOptions = {}): Promise<Program> {
    if (this.#closed) throw new IroriError("bad-input", { what: "the runtime is closed and compiles nothing more" });
    const { ort, handle } = this.#environment;
    const compiling = compileProgram(ort, handle, model, options, (gone) => this.#programs.delete(gone));
    this.#compiling.add(compiling);
    try {
      this.#programs.add(await compiling);
    } finally {
      this.#compiling.delete(compiling);
    }
    if (this.#closed)
      throw new IroriError("bad-input", {
        what: `the runtime was closed while ${(await compiling).name} was compiled`,
      });
    return compiling;
  }

  /** Waits for what is being compiled, closes the Programs that are still open, then the environment if this was its last user. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#compiling); // their sessions use the environment
    await Promise.all([...this.#programs].map((program) => program[Symbol.asyncDispose]()));
    const mine = shared;
    if (!mine || --mine.users > 0) return;
    shared = undefined;
    const { ort, handle } = this.#environment;
    closing = closing.then(() => ort.releaseAsync("Env", handle));
    await closing;
  }
}

/** Asynchronous, since it takes some 30 ms that the caller can use to read a manifest and a tokenizer. */
async function openEnvironment(path: string, settings: string, options: RuntimeOptions): Promise<Environment> {
  const ort = libraries.get(path) ?? new Ort(path);
  libraries.set(path, ort);
  const threading = ort.make("CreateThreadingOptions");
  try {
    ort.call("SetGlobalIntraOpNumThreads", threading, options.threads);
    ort.call("SetGlobalInterOpNumThreads", threading, 1);
    ort.call("SetGlobalSpinControl", threading, options.spinning ? 1 : 0);
    const level = logLevels.indexOf(options.logLevel ?? "fatal");
    const handle = await ort.makeAsync("CreateEnvWithGlobalThreadPools", level, "irori", threading);
    return { settings, ort, handle };
  } finally {
    ort.release("ThreadingOptions", threading);
  }
}
