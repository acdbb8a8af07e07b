// One piece of work for any number of callers in this process: each has its own progress and its own cancel.
// The work is cancelled when the last caller has left. It does not know what the work is.

import { unlessAborted } from "./abort.ts";
import { cancelled } from "./errors.ts";
import type { OnProgress } from "./progress.ts";

export interface FlightOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

/** What the work itself is given: all its callers in one. */
export interface FlightWork {
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

interface Flight {
  readonly result: Promise<unknown>;
  readonly callers: Set<FlightOptions>;
  readonly controller: AbortController;
}

export class Flights implements AsyncDisposable {
  readonly #flights = new Map<string, Flight>();

  /** Joins the work `key` or starts it. The same key must always mean work of the same type. */
  async run<T>(key: string, options: FlightOptions, start: (work: FlightWork) => Promise<T>): Promise<T> {
    if (options.signal?.aborted) throw cancelled(key, options.signal);
    const flight = this.#flights.get(key) ?? this.#begin(key, start);
    const caller = { ...options };
    flight.callers.add(caller);
    try {
      return (await unlessAborted(flight.result, options.signal, key)) as T;
    } finally {
      flight.callers.delete(caller);
      if (flight.callers.size === 0) await this.#end(key, flight);
    }
  }

  #begin<T>(key: string, start: (work: FlightWork) => Promise<T>): Flight {
    const controller = new AbortController();
    const callers = new Set<FlightOptions>();
    const onProgress: OnProgress = (event) => {
      for (const caller of callers) caller.onProgress?.(event);
    };
    const flight: Flight = { result: start({ signal: controller.signal, onProgress }), callers, controller };
    this.#flights.set(key, flight);
    return flight;
  }

  /** The last caller waits until the work has cleaned up after itself; its outcome was told or is a cancellation. */
  async #end(key: string, flight: Flight): Promise<void> {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
    flight.controller.abort();
    await Promise.allSettled([flight.result]);
  }

  /** Cancels all work and waits for its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#flights.values()];
    for (const { controller } of all) controller.abort();
    await Promise.allSettled(all.map(({ result }) => result));
  }
}
