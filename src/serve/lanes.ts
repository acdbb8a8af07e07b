// Slots of the lanes for whoever runs something: waiting, pausing and going on over the pure policy (lane-policy.ts).
// It does not know what runs.
import { IroriError, PauseController } from "../base/mod.ts";
import { type Ask, type Effect, type Lane, type LaneOptions, LanePolicy, type Refusal } from "./lane-policy.ts";

/** A lane does not take a request: it is full, or could not start it in time. */
export class RefusedError extends IroriError {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    const { reason, lane, depth, waitMs } = refusal;
    const wait = `${Math.ceil(waitMs / 1000)} s`;
    super("no-room", {
      what: reason === "full" ? `the ${lane} lane is full` : `the ${lane} lane cannot start this in time`,
      got: `${depth} waiting`,
      next: `try again in ${wait}`,
    });
    this.name = "RefusedError";
    this.refusal = refusal;
  }
  /** Whole seconds until trying again makes sense. */
  get retryAfterS(): number {
    return Math.max(1, Math.ceil(this.refusal.waitMs / 1000));
  }
}

export interface SlotAsk extends Omit<Ask, "deadline"> {
  /** Milliseconds in which it must start. */
  readonly startWithinMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told, where it waits, what says its place in the queue: 1 is next, 0 once it runs. */
  readonly onQueued?: ((position: () => number) => void) | undefined;
}

/** The right of one generation to run now. */
export interface Slot extends Disposable {
  readonly lane: Lane;
  /** What it waited for the slot. */
  readonly waitedMs: number;
  /** Whoever runs stands still while this says so. */
  readonly pause: PauseController;
  readonly pauses: () => number;
  /** The first token is there: the prompt has been read. */
  firstToken(): void;
}

export interface LanesOptions {
  readonly policy: LaneOptions;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
  /** Calls back after so many milliseconds; gives what takes that back. */
  readonly after: (ms: number, then: () => void) => () => void;
  readonly onEffect?: ((effect: Effect, lane: Lane) => void) | undefined;
}

interface Held {
  readonly lane: Lane;
  readonly pause: PauseController;
  readonly started: PromiseWithResolvers<void>;
  hasStarted: boolean;
  isPaused: boolean;
  pauses: number;
}

export class Lanes {
  readonly #options: LanesOptions;
  readonly #policy: LanePolicy;
  readonly #held = new Map<number, Held>();
  #isYielding = false;
  #wake: (() => void) | undefined;

  constructor(options: LanesOptions) {
    this.#options = options;
    this.#policy = new LanePolicy(options.policy);
  }

  /** Waits for a slot. Throws RefusedError at once where the lane is full or late, "cancelled" when the signal aborts. */
  async acquire({ startWithinMs, signal, onQueued, ...ask }: SlotAsk): Promise<Slot> {
    if (signal?.aborted) throw cancelledIn(ask.lane, signal);
    const asked = this.#options.now();
    const deadline = startWithinMs === undefined ? undefined : asked + startWithinMs;
    const answer = this.#policy.ask({ ...ask, deadline }, asked);
    if ("reason" in answer) throw new RefusedError(answer);
    const { id, effects } = answer;
    const held: Held = {
      ...{ lane: ask.lane, pause: new PauseController(), started: Promise.withResolvers() },
      ...{ hasStarted: false, isPaused: false, pauses: 0 },
    };
    this.#held.set(id, held);
    this.#apply(effects);
    if (!held.hasStarted) onQueued?.(() => this.#policy.position(id, this.#options.now()));
    const leave = () => held.started.reject(cancelledIn(ask.lane, signal));
    signal?.addEventListener("abort", leave, { once: true });
    try {
      await held.started.promise;
    } catch (error) {
      this.#end(id);
      throw error;
    } finally {
      signal?.removeEventListener("abort", leave);
    }
    return {
      lane: ask.lane,
      waitedMs: this.#options.now() - asked,
      pause: held.pause,
      pauses: () => held.pauses,
      firstToken: () => this.#apply(this.#policy.firstToken(id, this.#options.now())),
      [Symbol.dispose]: () => this.#end(id),
    };
  }

  #end(id: number): void {
    if (this.#held.delete(id)) this.#apply(this.#policy.end(id, this.#options.now()));
  }

  #apply(effects: readonly Effect[]): void {
    for (const effect of effects) {
      const held = "id" in effect ? this.#held.get(effect.id) : undefined;
      this.#options.onEffect?.(effect, held?.lane ?? "batch");
      if (effect.type === "yield") this.#isYielding = effect.isOn;
      else if (held === undefined) throw new Error(`the lanes lost request ${effect.id}`);
      else if (effect.type === "start") this.#start(held);
      else if (effect.type === "pause") {
        held.isPaused = true;
        held.pauses++;
      } else
        held.started.reject(
          new RefusedError({ reason: "late", lane: held.lane, depth: this.#policy.depth(held.lane), waitMs: 1000 }),
        );
    }
    for (const held of this.#held.values()) this.#settle(held);
    this.#sleep();
  }
  #start(held: Held): void {
    held.isPaused = false;
    held.hasStarted = true;
    held.started.resolve();
  }
  #settle({ lane, pause, isPaused }: Held): void {
    // memory of a paused answer stays: what it read is not read again
    if (isPaused || (this.#isYielding && lane === "batch")) pause.pause();
    else pause.resume();
  }

  /** Sets the alarm for what time alone brings about. */
  #sleep(): void {
    this.#wake?.();
    const now = this.#options.now();
    const at = this.#policy.wakeAt(now);
    this.#wake =
      at === Infinity
        ? undefined
        : this.#options.after(at - now + 1, () => this.#apply(this.#policy.tick(this.#options.now())));
  }

  /** What runs and waits, for whoever looks. */
  state() {
    const policy = this.#policy;
    const now = this.#options.now();
    const lane = (name: Lane) => ({
      running: policy.running(name),
      waiting: policy.depth(name),
      most: policy.options.queue[name],
      expectedWaitMs: policy.expectedWaitMs(name, now),
    });
    return {
      ...{ slots: policy.options.slots, free: policy.free, paused: policy.paused(), isYielding: this.#isYielding },
      ...{ interactive: lane("interactive"), batch: lane("batch") },
    };
  }
}

const cancelledIn = (lane: Lane, signal: AbortSignal | undefined): IroriError =>
  new IroriError("cancelled", { what: `waiting in the ${lane} lane was cancelled`, cause: signal?.reason });
