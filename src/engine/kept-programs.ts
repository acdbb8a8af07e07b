// Programs that stay open while somebody holds them, and for a while afterwards: equal ones once, the least recently held closed first.
// It does not know what they compute.
import { IroriError } from "../base/mod.ts";
import type { Program } from "../runtime/mod.ts";

/** A Program that stays open until its holder lets it go. */
export interface HeldProgram extends Disposable {
  readonly program: Program;
}

interface Kept {
  readonly opening: Promise<Program>;
  holders: number;
}

export class KeptPrograms implements AsyncDisposable {
  readonly #idle: number;
  /** The latest held last. */
  readonly #kept = new Map<string, Kept>();
  readonly #closing = new Set<Promise<void>>();
  readonly #failures: unknown[] = [];
  #isClosed = false;

  /** @param idle Programs that stay open though nobody holds them: each keeps the memory of its last run */
  constructor(idle: number) {
    this.#idle = idle;
  }

  /** The Program of a key, compiled where none is open. A failure is its askers' and forgotten. */
  async hold(key: string, compile: () => Promise<Program>): Promise<HeldProgram> {
    if (this.#isClosed) throw new IroriError("bad-input", { what: "the model was closed", next: "take a new lease" });
    const kept = this.#kept.get(key) ?? { opening: compile(), holders: 0 };
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    kept.holders++;
    try {
      const program = await kept.opening;
      let isHeld = true;
      const letGo = () => {
        if (isHeld) kept.holders--;
        isHeld = false;
        this.#closeIdle();
      };
      return { program, [Symbol.dispose]: letGo };
    } catch (error) {
      if (this.#kept.get(key) === kept) this.#kept.delete(key);
      throw error;
    }
  }

  #closeIdle(): void {
    const idle = [...this.#kept].filter(([, { holders }]) => holders === 0);
    for (const [key, { opening }] of idle.slice(0, Math.max(0, idle.length - this.#idle))) {
      this.#kept.delete(key);
      this.#close(opening);
    }
  }

  /** What goes wrong while a Program closes is told by whoever closes everything. */
  #close(opening: Promise<Program>): void {
    const closed = opening
      .then((program) => program[Symbol.asyncDispose]())
      .catch((error: unknown) => {
        this.#failures.push(error);
      })
      .finally(() => this.#closing.delete(closed));
    this.#closing.add(closed);
  }

  /** Waits for what is opening and closing, then closes everything. Throws the first error of a Program that could not be closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const opened = await Promise.allSettled([...this.#kept.values()].map(({ opening }) => opening));
    this.#kept.clear();
    for (const program of opened) if (program.status === "fulfilled") this.#close(Promise.resolve(program.value));
    await Promise.all(this.#closing);
    if (this.#failures.length > 0) throw this.#failures[0];
  }
}
