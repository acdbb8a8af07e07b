// Work that somebody else may pause and let go on, as an AbortController may end it.
// It does not know what is paused.
import { unlessAborted } from "./abort.ts";

export class PauseController {
  #changed: PromiseWithResolvers<void> | undefined;
  #isReleasing = false;
  readonly #watchers = new Set<() => void>();

  /** Calls at every change, until disposed of. */
  watch(onChange: () => void): Disposable {
    this.#watchers.add(onChange);
    return { [Symbol.dispose]: () => void this.#watchers.delete(onChange) };
  }

  get isPaused(): boolean {
    return this.#changed !== undefined;
  }

  /** The work stops at its next step. @param release give up memory whose content can be made again */
  pause({ release = false } = {}): void {
    const before = this.#changed;
    if (before !== undefined && !(release && !this.#isReleasing)) return;
    this.#isReleasing = release;
    this.#changed = Promise.withResolvers();
    before?.resolve();
    for (const onChange of this.#watchers) onChange();
  }
  resume(): void {
    const before = this.#changed;
    this.#changed = undefined;
    this.#isReleasing = false;
    before?.resolve();
    if (before !== undefined) for (const onChange of this.#watchers) onChange();
  }

  /**
   * Resolves when the work may go on; throws "cancelled" when the signal aborts.
   * @param release called where memory is to be given up meanwhile
   */
  async resumed(signal: AbortSignal | undefined, what: string, release: () => void): Promise<void> {
    while (this.#changed !== undefined) {
      if (this.#isReleasing) release();
      await unlessAborted(this.#changed.promise, signal, what);
    }
  }
}
