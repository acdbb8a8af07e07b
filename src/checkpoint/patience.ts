// How often something that may pass is tried again, and how long apart. It does not know what is tried.

import { setTimeout as sleep } from "node:timers/promises";
import { cancelled, IroriError } from "../base/mod.ts";
import { isPassing, isSilent } from "./http.ts";
import type { Network } from "./network.ts";

export interface Trying {
  readonly network: Network;
  /** For sentences. */
  readonly name: string;
  readonly signal: AbortSignal;
  /** The server has answered before: that it is silent now may pass, too. */
  readonly hasAnswered: boolean;
}

/** How long a server asked to be left alone. */
const waits = new WeakMap<Error, number>();
export function noteWait(error: Error, ms: number): void {
  waits.set(error, ms);
}

/** Counts failures in a row, of all connections of a download together; bytes that come give new patience. */
export class Patience {
  readonly #trying: Trying;
  #failures = 0;

  constructor(trying: Trying) {
    this.#trying = trying;
  }

  renew(): void {
    this.#failures = 0;
  }

  /** The result of the first attempt that succeeds; throws what does not pass, and what passes too often. */
  async until<T>(attempt: () => Promise<T>): Promise<T> {
    const { signal, name } = this.#trying;
    for (;;) {
      if (signal.aborted) throw cancelled(`fetching ${name}`, signal);
      try {
        return await attempt();
      } catch (error) {
        await this.#wait(error);
      }
    }
  }

  async #wait(error: unknown): Promise<void> {
    const { network, signal, name, hasAnswered } = this.#trying;
    if (!isPassing(error) && !(hasAnswered && isSilent(error))) throw error;
    this.#failures++;
    const asked = waits.get(error as Error);
    const { parts } = error as IroriError;
    if (asked !== undefined && asked > network.longestWaitMs) {
      const next = `it asks to wait ${Math.ceil(asked / 1000)} s: try again then`;
      throw new IroriError("io", { ...parts, next, cause: error });
    }
    if (this.#failures >= network.attempts)
      throw new IroriError("io", { ...parts, what: `${parts.what}, ${this.#failures} times in a row`, cause: error });
    const ms = asked ?? network.retryMs * 2 ** (this.#failures - 1);
    await sleep(ms, undefined, { signal }).catch(() => {
      throw cancelled(`fetching ${name}`, signal);
    });
  }
}
