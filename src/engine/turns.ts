// Whose turn it is: runs of one machine's threads, one after another, in the order they ask.
// It does not know what runs.

export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs when all that asked before have ended. */
  take<T>(run: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(run);
    this.#last = mine.catch(() => undefined);
    return mine;
  }
}
