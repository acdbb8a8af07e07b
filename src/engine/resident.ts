// A prepared model whose Programs are open (or open when first needed): weights mapped once, shared by all of them.
// It does not know names of models, sources or budgets.
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { IroriError } from "../base/mod.ts";
import type { Program, Runtime } from "../runtime/mod.ts";
import { ChatTemplate, Tokenizer } from "../text/mod.ts";
import { FILES, type Manifest } from "./manifest.ts";
import { isPrepacked, readStep } from "./packed.ts";

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
    const [text, tokenizer, weights] = await Promise.all([
      readFile(join(folder, FILES.manifest), "utf8"),
      readFile(join(folder, FILES.tokenizer)),
      stat(join(folder, FILES.weights)),
    ]);
    const manifest = JSON.parse(text) as Manifest;
    if (weights.size !== manifest.weightBytes)
      throw new IroriError("bad-file", {
        what: `${options.model}: the prepared weights`,
        got: `${weights.size} bytes`,
        wanted: `${manifest.weightBytes}`,
        next: `run \`irori rm ${options.model}\` and pull it again`,
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
    const { folder, model, now, onEvent } = this.#options;
    const runtime = await this.#options.runtime();
    const start = now();
    let bytes = await readStep(folder, runtime, rows);
    if (bytes === undefined) {
      const { makeStep } = await import("./pack.ts");
      bytes = await makeStep(folder, this.manifest, runtime, rows);
      onEvent({
        type: "pack",
        model,
        cause: `first step of ${rowsText(rows)} on ${runtime.instructionSet}`,
        ms: now() - start,
      });
    }
    const packedAt = now();
    const program = await runtime.compile(bytes, {
      weightsFolder: folder,
      prepack: isPrepacked(this.manifest),
      optimization: "off",
      memoryPattern: false,
      name: `${model} step of ${rows}`,
    });
    onEvent({ type: "compile", model, cause: `first step of ${rowsText(rows)}`, ms: now() - packedAt });
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
