// A prepared model whose Programs are open (or open when first needed): weights mapped once, shared by all of them.
// It does not know names of models, sources or budgets.
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { IroriError } from "../base/mod.ts";
import type { Program, Runtime } from "../runtime/mod.ts";
import { ChatTemplate, Tokenizer } from "../text/mod.ts";
import { FILES, MANIFEST_FORMAT, type Manifest } from "./manifest.ts";
import { isPrepacked, readStep, removePacked } from "./packed.ts";
import { readSealed } from "./sealed.ts";

/** Something that took time, and why. */
export interface EngineEvent {
  readonly type: "prepare" | "pack" | "open" | "compile";
  readonly model: string;
  readonly cause: string;
  readonly ms: number;
}

export interface ResidentOptions {
  readonly model: string;
  readonly folder: string;
  /** The process's runtime, opened when first asked for. */
  readonly runtime: () => Promise<Runtime>;
  readonly now: () => number;
  readonly onEvent: (event: EngineEvent) => void;
}

const AGAIN = "it is prepared anew when the model is next opened";

async function read(path: string): Promise<Uint8Array> {
  return readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw new IroriError("bad-file", { what: `${path} cannot be read`, got: error.message, next: AGAIN, cause: error });
  });
}

/** The manifest of a prepared folder. Throws "bad-file" where it is damaged, "not-found" where it is missing. */
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

/** Damaged packed files (their own check, or the library's of what they point to) are made anew; other errors are thrown. */
function damaged(error: unknown): undefined {
  if (error instanceof IroriError && (error.code === "bad-file" || error.code === "library")) return undefined;
  throw error;
}

const rowsText = (rows: number): string => `${rows} row${rows === 1 ? "" : "s"}`;

export class Resident implements AsyncDisposable {
  readonly manifest: Manifest;
  readonly tokenizer: Tokenizer;
  readonly model: string;
  readonly #options: ResidentOptions;
  readonly #programs = new Map<number, Promise<Program>>();
  #template: Promise<ChatTemplate> | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: ResidentOptions, manifest: Manifest, tokenizer: Tokenizer) {
    this.#options = options;
    this.model = options.model;
    this.manifest = manifest;
    this.tokenizer = tokenizer;
  }

  /** Reads the manifest and the tokenizer; Programs open when first asked for. */
  static async open(options: ResidentOptions): Promise<Resident> {
    const { folder } = options;
    const manifest = await readManifest(folder);
    const [tokenizer, weightBytes] = await Promise.all([
      read(join(folder, FILES.tokenizer)),
      stat(join(folder, FILES.weights)).then(
        ({ size }) => size,
        () => 0,
      ),
    ]);
    if (weightBytes !== manifest.weightBytes)
      throw new IroriError("bad-file", {
        what: `${options.model}: the prepared weights`,
        got: `${weightBytes} bytes`,
        wanted: `${manifest.weightBytes}`,
        next: AGAIN,
      });
    return new Resident(options, manifest, Tokenizer.open(tokenizer));
  }

  /** The step Program of `rows` rows; opened once for any number of callers. */
  program(rows = 1): Promise<Program> {
    let opening = this.#programs.get(rows);
    if (opening === undefined) {
      opening = this.#compile(rows);
      this.#programs.set(rows, opening);
      // a failure is the askers'; the next one tries again
      opening.catch(() => this.#programs.delete(rows));
    }
    return opening;
  }

  async #compile(rows: number): Promise<Program> {
    const { folder } = this.#options;
    const runtime = await this.#options.runtime();
    const known = await readStep(folder, runtime, rows).catch(damaged);
    if (known !== undefined) {
      const program = await this.#open(runtime, rows, known).catch(damaged);
      if (program !== undefined) return program;
      await removePacked(folder, runtime);
    }
    return this.#open(runtime, rows, await this.#make(runtime, rows));
  }

  /** The bytes of a step, traced now; packs the model first where this runtime and CPU have not seen it. */
  async #make(runtime: Runtime, rows: number): Promise<Uint8Array> {
    const { folder, model, now, onEvent } = this.#options;
    const start = now();
    const { makeStep } = await import("./pack.ts");
    const bytes = await makeStep(folder, this.manifest, runtime, rows);
    const cause = `first step of ${rowsText(rows)} on ${runtime.instructionSet}`;
    onEvent({ type: "pack", model, cause, ms: now() - start });
    return bytes;
  }

  async #open(runtime: Runtime, rows: number, bytes: Uint8Array): Promise<Program> {
    const { folder, model, now, onEvent } = this.#options;
    const start = now();
    const program = await runtime.compile(bytes, {
      weightsFolder: folder,
      prepack: isPrepacked(this.manifest),
      optimization: "off",
      memoryPattern: false,
      name: `${model} step of ${rows}`,
    });
    onEvent({ type: "compile", model, cause: `first step of ${rowsText(rows)}`, ms: now() - start });
    return program;
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

  /** Runs steps of all generations one after another, in the order they ask. */
  inTurn<T>(step: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(step);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#turn;
    const programs = await Promise.allSettled(this.#programs.values());
    for (const program of programs) if (program.status === "fulfilled") await program.value[Symbol.asyncDispose]();
    this.#programs.clear();
  }
}
