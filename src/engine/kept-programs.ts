// Programs that stay open while somebody holds them, and for a while afterwards: equal ones once, the least recently held closed first.
// It does not know what they compute.
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
  readonly #closing = new Set<Promise<unknown>>();

  /** @param idle Programs that stay open though nobody holds them: each keeps the memory of its last run */
  constructor(idle: number) {
    this.#idle = idle;
  }

  /** The Program of a key, compiled where none is open. A failure is its askers' and forgotten. */
  async hold(key: string, compile: () => Promise<Program>): Promise<HeldProgram> {
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
      const closed = opening
        .then((program) => program[Symbol.asyncDispose]())
        .finally(() => this.#closing.delete(closed));
      this.#closing.add(closed);
    }
  }

  /** Waits for what is opening and closing, then closes everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    const opened = [...this.#kept.values()];
    this.#kept.clear();
    for (const program of await Promise.allSettled(opened.map(({ opening }) => opening)))
      if (program.status === "fulfilled") await program.value[Symbol.asyncDispose]();
    await Promise.all(this.#closing);
  }
}
