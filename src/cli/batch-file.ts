// A file of answers that grows line by line and in order, so that a run which was stopped is gone on with: what is in it is done.
// It does not know how answers are made.
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { IroriError } from "../base/mod.ts";
import type { Line } from "./lines.ts";

/** An answer's line begins with what it answers, so that answers to other prompts or settings are not taken for these. */
interface Written {
  readonly of: string;
  readonly error?: object;
}

export class BatchFile implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #settings: string;
  #done = 0;
  #failed = 0;

  private constructor(file: FileHandle, settings: string) {
    this.#file = file;
    this.#settings = settings;
  }

  /**
   * Opens or makes the file; a last line that was not written whole is cut off. Throws "bad-input" where its answers are of other
   * lines or settings.
   */
  static async open(path: string, lines: readonly Line[], settings: string): Promise<BatchFile> {
    const file = await open(path, "a+").catch((error: NodeJS.ErrnoException) => {
      throw new IroriError("io", { what: `${path} cannot be opened`, got: error.message, cause: error });
    });
    try {
      const text = await file.readFile("utf8");
      const whole = text.slice(0, text.lastIndexOf("\n") + 1);
      if (whole.length < text.length) await file.truncate(Buffer.byteLength(whole));
      const batch = new BatchFile(file, settings);
      for (const [i, line] of whole.split("\n").slice(0, -1).entries()) {
        const known = lines[i];
        const written = writtenOf(line);
        batch.#count(written);
        if (known !== undefined && written.of === hashOf(known, settings)) continue;
        throw new IroriError("bad-input", {
          what: `${path}, line ${i + 1}`,
          got:
            known === undefined
              ? "an answer more than there are prompts"
              : "an answer to another prompt or with other settings",
          next: "name another file with --out, or remove this one",
        });
      }
      return batch;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Lines that have an answer or an error. */
  get done(): number {
    return this.#done;
  }
  /** Those that have an error. */
  get failed(): number {
    return this.#failed;
  }
  #count({ error }: Partial<Written>): void {
    this.#done++;
    if (error !== undefined) this.#failed++;
  }

  async add(line: Line, answer: object): Promise<void> {
    const text = `${JSON.stringify({ of: hashOf(line, this.#settings), ...answer })}\n`;
    await this.#file.appendFile(text).catch((error: NodeJS.ErrnoException) => {
      throw new IroriError("io", { what: "an answer cannot be written", got: error.message, cause: error });
    });
    this.#count(answer);
  }

  /** What was written is on the disk then. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.sync();
    await this.#file.close();
  }
}

const hashOf = ({ number, text }: Line, settings: string): string =>
  createHash("sha256").update(`${number}\n${text}\n${settings}`).digest("hex").slice(0, 16);

function writtenOf(line: string): Partial<Written> {
  try {
    return (JSON.parse(line) as Written | null) ?? {};
  } catch {
    return {}; // it is no answer of ours
  }
}

/** Results that may wait for an earlier one, for each that is worked on. */
const WAITING = 8;

/**
 * Results of things that are done `most` at once, told in the order of the things. One without a result, or one that fails, ends it:
 * nothing is begun any more, and what comes before it is still told.
 */
export async function inTheirOrder<T, R extends object>(
  things: readonly T[],
  most: number,
  work: (thing: T) => Promise<R | undefined>,
  tell: (result: R, thing: T) => Promise<void>,
): Promise<void> {
  let [next, running] = [0, 0];
  let isEnding = false;
  const made: Promise<R | undefined>[] = [];
  const begin = (): void => {
    while (running < most && made.length < most * WAITING && next < things.length && !isEnding) {
      running++;
      const result = work(things[next++] as T);
      const ended = (hasResult: boolean): void => {
        running--;
        isEnding ||= !hasResult;
        begin();
      };
      result.then(
        (each) => ended(each !== undefined),
        () => ended(false),
      );
      made.push(result);
    }
  };
  begin();
  try {
    for (let told = 0; made.length > 0; told++) {
      const result = await (made[0] as Promise<R | undefined>);
      if (result === undefined) return;
      await tell(result, things[told] as T);
      made.shift();
      begin();
    }
  } finally {
    isEnding = true;
    await Promise.allSettled(made);
  }
}
