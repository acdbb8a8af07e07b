// Other servers that take batch work: which are well, how much each may have, who gets the next request. It does not know what is
// asked, nor how answers come back (remote-answers.ts).
import { cancelled } from "../base/mod.ts";
import type { Generator } from "../engine/mod.ts";

/** A server as it is configured; its generators are asked for by the model's name here. */
export interface RemoteOptions {
  readonly name: string;
  readonly url: string;
  /** Models by their names here, and how each is asked. */
  readonly generators: ReadonlyMap<string, Generator>;
  /** Requests there at once at most. */
  readonly inFlight: number;
  /** Names of the models that it serves now. Throws where it is not well. */
  readonly probe: (signal: AbortSignal) => Promise<readonly string[]>;
}

export interface RemotesOptions {
  readonly remotes: readonly RemoteOptions[];
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
  readonly every: (ms: number, then: () => void) => () => void;
  readonly onChange?: ((name: string, isWell: boolean, why: string) => void) | undefined;
}

/** How a request there ended: it was answered; it had no room; it or the way to it failed; the caller left, which says nothing. */
export type RemoteOutcome = "answered" | "full" | "failed" | "left";

/** A place at a remote, taken until it is told how it ended. */
export interface RemoteHold {
  readonly remote: string;
  readonly generator: Generator;
  done(outcome: RemoteOutcome): void;
}

interface Remote {
  readonly options: RemoteOptions;
  /** Undefined until it was asked. */
  isWell: boolean | undefined;
  why: string;
  inFlight: number;
  /** What it seems to bear now: less after it was full, up again with what it answers. */
  most: number;
  answeredInARow: number;
  /** Full: nothing more before. */
  restsUntil: number;
  lastTaken: number;
  readonly outcomes: Record<RemoteOutcome, number>;
  probing: Promise<void> | undefined;
  probedAt: number;
}

const PROBE_MS = 10_000;
/** Longest that a probe may take. */
const PROBE_WAIT_MS = 5_000;
const REST_MS = 1_000;
/** Answers in a row after which a remote may have one more at once. */
const TRUST = 8;

export class Remotes implements AsyncDisposable {
  readonly #options: RemotesOptions;
  readonly #remotes: readonly Remote[];
  readonly #waiting = new Set<() => void>();
  readonly #stop = new AbortController();
  readonly #stopTicks: () => void;

  constructor(options: RemotesOptions) {
    this.#options = options;
    this.#remotes = options.remotes.map((remote) => ({
      ...{ options: remote, isWell: undefined, why: "not asked yet", inFlight: 0, most: remote.inFlight },
      ...{ answeredInARow: 0, restsUntil: 0, lastTaken: 0, probing: undefined, probedAt: -Infinity },
      outcomes: { answered: 0, full: 0, failed: 0, left: 0 },
    }));
    this.#stopTicks = options.every(1000, () => this.#tick());
    this.#tick();
  }

  /** Whether any remote is configured for a model, well or not. */
  has(model: string): boolean {
    return this.#remotes.some(({ options }) => options.generators.has(model));
  }

  /** A place at the remote that has most room in proportion, of those the one that rested longest; undefined where none has. */
  take(model: string, not: ReadonlySet<string> = new Set()): RemoteHold | undefined {
    const now = this.#options.now();
    const share = (remote: Remote) => (remote.inFlight + 1) / remote.most;
    const [best] = this.#remotes
      .filter(({ options, isWell, inFlight, most, restsUntil }) => {
        const isFree = isWell === true && inFlight < most && restsUntil <= now;
        return isFree && options.generators.has(model) && !not.has(options.name);
      })
      .sort((a, b) => share(a) - share(b) || a.lastTaken - b.lastTaken);
    if (best === undefined) return undefined;
    best.inFlight++;
    best.lastTaken = now;
    let isHeld = true;
    return {
      remote: best.options.name,
      generator: best.options.generators.get(model) as Generator,
      done: (outcome) => {
        if (isHeld) this.#done(best, outcome);
        isHeld = false;
      },
    };
  }

  /** Waits until a remote has room; rejects when the signal aborts. */
  async next(model: string, not: ReadonlySet<string>, signal: AbortSignal): Promise<RemoteHold> {
    for (;;) {
      if (signal.aborted) throw cancelled("waiting for a remote", signal);
      const hold = this.take(model, not);
      if (hold !== undefined) return hold;
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const leave = () => reject(cancelled("waiting for a remote", signal));
      this.#waiting.add(resolve);
      signal.addEventListener("abort", leave, { once: true });
      try {
        await promise;
      } finally {
        this.#waiting.delete(resolve);
        signal.removeEventListener("abort", leave);
      }
    }
  }

  #done(remote: Remote, outcome: RemoteOutcome): void {
    remote.inFlight--;
    remote.outcomes[outcome]++;
    if (outcome === "answered") {
      remote.answeredInARow++;
      if (remote.answeredInARow % TRUST === 0) remote.most = Math.min(remote.options.inFlight, remote.most + 1);
    } else if (outcome === "full") {
      remote.answeredInARow = 0;
      remote.most = Math.max(1, remote.inFlight);
      remote.restsUntil = this.#options.now() + REST_MS;
    } else if (outcome === "failed") {
      remote.answeredInARow = 0;
      this.#turn(remote, false, "a request there failed");
    }
    this.#wake();
  }

  #turn(remote: Remote, isWell: boolean, why: string): void {
    const was = remote.isWell;
    remote.isWell = isWell;
    remote.why = why;
    if (was !== isWell) this.#options.onChange?.(remote.options.name, isWell, why);
    if (isWell) this.#wake();
  }
  #wake(): void {
    for (const wake of this.#waiting) wake();
  }

  #tick(): void {
    const now = this.#options.now();
    for (const remote of this.#remotes) {
      if (remote.restsUntil > 0 && remote.restsUntil <= now) {
        remote.restsUntil = 0;
        this.#wake();
      }
      // one that failed is asked sooner: what it would take waits
      const every = remote.isWell === false ? PROBE_MS / 2 : PROBE_MS;
      if (remote.probing === undefined && now - remote.probedAt >= every) {
        remote.probedAt = now;
        remote.probing = this.#probe(remote).finally(() => {
          remote.probing = undefined;
        });
      }
    }
  }
  async #probe(remote: Remote): Promise<void> {
    const { probe, generators } = remote.options;
    try {
      const names = await probe(AbortSignal.any([AbortSignal.timeout(PROBE_WAIT_MS), this.#stop.signal]));
      const missing = [...generators.values()].map(({ model }) => model).filter((model) => !names.includes(model));
      if (missing.length === 0) this.#turn(remote, true, "it answers and has its models");
      else this.#turn(remote, false, `it has no ${missing.join(", ")}`);
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#turn(remote, false, (error as Error).message);
    }
  }

  /** What each has and does. */
  state() {
    return this.#remotes.map(
      ({ options: { name, url, generators, inFlight: limit }, isWell, why, inFlight, most, outcomes }) => ({
        ...{ name, url, models: [...generators.keys()], is_well: isWell === true, why },
        ...{ in_flight: inFlight, most, limit, ...outcomes },
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopTicks();
    this.#stop.abort();
    await Promise.all(this.#remotes.map(({ probing }) => probing));
  }
}
