// A side of the bench: a long-lived process that does one piece of work at a time when asked.
// It does not know what the work is.
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { IroriError } from "../src/base/mod.ts";
import type { Reply, Request } from "./work.ts";

export class Side implements AsyncDisposable {
  readonly name: string;
  readonly #child: ChildProcess;

  private constructor(name: string, child: ChildProcess) {
    this.name = name;
    this.#child = child;
  }

  /** Starts the process of a module below bench/ and does its `first` task; `python` runs those in Python. */
  static async start(
    name: string,
    module: string,
    first: string,
    opening: NonNullable<Request["opening"]>,
    python?: string,
  ): Promise<Side> {
    const path = fileURLToPath(new URL(module, import.meta.url));
    const stdio = ["ignore", "ignore", "inherit", "ipc"] as const;
    const execArgv = ["--expose-gc", "--disable-warning=ExperimentalWarning"];
    const child =
      python === undefined
        ? fork(path, [], { stdio: [...stdio], execArgv })
        : spawn(python, [path], { stdio: [...stdio] });
    const side = new Side(name, child);
    try {
      await side.ask<undefined>(first, { opening });
    } catch (error) {
      await side[Symbol.asyncDispose]();
      throw error;
    }
    return side;
  }

  /** One piece of work; throws "library" with the side's own sentence where it fails or dies. */
  async ask<T>(what: string, more: Omit<Request, "do"> = {}): Promise<T> {
    const waiting = new AbortController();
    const { signal } = waiting;
    try {
      this.#child.send({ do: what, ...more } satisfies Request);
      const [reply] = (await Promise.race([
        once(this.#child, "message", { signal }),
        once(this.#child, "exit", { signal }).then(([code, by]) => [
          { error: `it ended with ${by ?? `code ${code}`}` },
        ]),
      ])) as [Reply];
      if ("value" in reply || !("error" in reply)) return (reply as { value: T }).value;
      throw new IroriError("library", { what: `${this.name} could not do "${what}"`, got: reply.error });
    } finally {
      waiting.abort();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    if (this.#child.connected) this.#child.disconnect();
    await ended;
  }
}
