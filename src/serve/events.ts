// What happens in the server, for whoever listens: the newest events in memory, numbered, and each listener's own queue, both bounded.
// It does not know HTTP or what the events mean.

/** Plain data with a type. `caller`: told to that caller only. */
export interface ServerEvent {
  readonly type: string;
  readonly caller?: string | undefined;
  readonly [key: string]: unknown;
}
export interface Told {
  /** Undefined of what is the state now, not an event that could be missed. */
  readonly id: string | undefined;
  readonly event: ServerEvent;
}

interface Listener {
  readonly takes: (event: ServerEvent) => boolean;
  readonly queue: Told[];
  /** Events that it was too slow for. */
  missed: number;
  wake: () => void;
}

export class Events {
  readonly #run: string;
  readonly #most: number;
  readonly #clock: () => number;
  readonly #kept: { readonly number: number; readonly event: ServerEvent }[] = [];
  readonly #listeners = new Set<Listener>();
  #last = 0;
  #isClosed = false;

  /** @param run a name of this start: ids of another are of no use */
  constructor({ run, clock, most = 1_000 }: { run: string; clock: () => number; most?: number }) {
    this.#run = run;
    this.#clock = clock;
    this.#most = most;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  tell(event: ServerEvent): void {
    const number = ++this.#last;
    const dated = { ...event, at: new Date(this.#clock()).toISOString() };
    this.#kept.push({ number, event: dated });
    if (this.#kept.length > this.#most) this.#kept.shift();
    this.#send({ id: `${this.#run}.${number}`, event: dated });
  }
  /** The state now: nobody who comes later asks for it. */
  show(event: ServerEvent): void {
    this.#send({ id: undefined, event });
  }

  #send(told: Told): void {
    for (const listener of this.#listeners) {
      if (!listener.takes(told.event)) continue;
      listener.queue.push(told);
      if (listener.queue.length > this.#most) {
        listener.queue.shift();
        listener.missed++;
      }
      listener.wake();
    }
  }

  /**
   * Events as they come, first those since `after`, an id that was told before. What is not kept any more, or was too much for a
   * slow reader, is told as one event of type "missed" with how many at least.
   */
  async *listen(
    takes: (event: ServerEvent) => boolean,
    { after, signal }: { readonly after?: string | undefined; readonly signal: AbortSignal },
  ): AsyncGenerator<Told, void> {
    let wake = Promise.withResolvers<void>();
    const listener: Listener = { takes, queue: [], missed: 0, wake: () => wake.resolve() };
    this.#replay(listener, after);
    this.#listeners.add(listener);
    signal.addEventListener("abort", listener.wake, { once: true });
    try {
      while (!signal.aborted) {
        if (listener.missed > 0) {
          const { missed } = listener;
          listener.missed = 0;
          yield { id: undefined, event: { type: "missed", count: missed } };
        }
        for (let told = listener.queue.shift(); told; told = listener.queue.shift()) yield told;
        if (this.#isClosed) return;
        await wake.promise;
        wake = Promise.withResolvers();
      }
    } finally {
      this.#listeners.delete(listener);
      signal.removeEventListener("abort", listener.wake);
    }
  }

  #replay(listener: Listener, after: string | undefined): void {
    if (after === undefined) return;
    const [run, number = ""] = after.split(".");
    // of another start everything is new
    const since = run === this.#run && /^\d+$/.test(number) ? Number(number) : 0;
    const first = this.#kept[0]?.number ?? this.#last + 1;
    listener.missed = Math.max(0, first - since - 1);
    for (const { number: own, event } of this.#kept)
      if (own > since && listener.takes(event)) listener.queue.push({ id: `${this.#run}.${own}`, event });
  }

  /** Ends all that listen. */
  close(): void {
    this.#isClosed = true;
    for (const { wake } of this.#listeners) wake();
  }
}
