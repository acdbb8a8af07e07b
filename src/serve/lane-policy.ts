// Who runs now and who waits, as a pure state machine: calls in, effects out, time passed in with each call.
// It does not know what runs, how it is paused or who tells the time.

export type Lane = "interactive" | "batch";

export interface LaneOptions {
  /** Generations that run at once. */
  readonly slots: number;
  /** Slots that the other lane leaves to a lane. */
  readonly reserved: Readonly<Record<Lane, number>>;
  /** Batch runs in slots reserved for interactive while these are idle; they are taken back by pausing it. */
  readonly canBorrow: boolean;
  /** Which interactive request of a caller is first. */
  readonly order: "fifo" | "lifo";
  /** Requests of a lane that wait at most, paused ones not counted. */
  readonly queue: Readonly<Record<Lane, number>>;
  /** A batch request that waited so long goes before interactive ones, whatever their order, where its lane has less than its share. */
  readonly promoteMs: number;
  /** After so many interactive starts in a row, with batch waiting, a batch request starts. */
  readonly ratio: number;
  /** What such a batch request runs at least before it may be paused. */
  readonly quantumMs: number;
  /** An interactive request waits so long before a batch request is paused for it. */
  readonly preemptAfterMs: number;
  /** A request is paused so often at most. */
  readonly mostPauses: number;
  /** Batch stands still while an interactive prompt is read, so long at most, then as long not. 0: it goes on beside it. */
  readonly mostYieldMs: number;
  /** Of several callers the one that has least running is first, then the one that waited longest since its last start. */
  readonly isFair: boolean;
  /** What a request of a lane takes, before any has ended. */
  readonly serviceMs: Readonly<Record<Lane, number>>;
}

export const DEFAULT_LANES: LaneOptions = {
  ...{ slots: 8, reserved: { interactive: 2, batch: 1 }, canBorrow: true, order: "fifo" },
  ...{ queue: { interactive: 64, batch: 1024 }, promoteMs: 120_000, ratio: 5, quantumMs: 2000 },
  ...{ preemptAfterMs: 0, mostPauses: 8, mostYieldMs: 10_000, isFair: true },
  serviceMs: { interactive: 5000, batch: 20_000 },
};

export type Effect =
  /** It runs now; `isResume`: it goes on where it was paused. */
  | { readonly type: "start"; readonly id: number; readonly isResume: boolean }
  | { readonly type: "pause"; readonly id: number }
  /** Its deadline passed before it could start; it is out. */
  | { readonly type: "expire"; readonly id: number }
  /** All that runs in the batch lane stands still, or goes on. */
  | { readonly type: "yield"; readonly isOn: boolean };

export interface Ask {
  readonly lane: Lane;
  readonly caller: string;
  /** It makes no sense to start later. */
  readonly deadline?: number | undefined;
}

export type Refusal =
  | { readonly reason: "full"; readonly lane: Lane; readonly depth: number; readonly waitMs: number }
  | { readonly reason: "late"; readonly lane: Lane; readonly depth: number; readonly waitMs: number };

interface Ticket extends Ask {
  readonly id: number;
  /** When it began to wait: for its first start, or since its last pause. */
  since: number;
  state: "waiting" | "running" | "paused";
  /** Of its last start. */
  startedAt: number;
  /** Milliseconds that it ran before its last start. */
  ranMs: number;
  pauses: number;
  /** It may not be paused before. */
  safeUntil: number;
  /** Interactive, started, and no token yet. */
  isReading: boolean;
}

const OTHER: Readonly<Record<Lane, Lane>> = { interactive: "batch", batch: "interactive" };
/** Share of the newest in the mean of what requests take. */
const NEWEST = 0.2;

export class LanePolicy {
  readonly options: LaneOptions;
  readonly #tickets = new Map<number, Ticket>();
  readonly #lastStart = new Map<string, number>();
  readonly #serviceMs: Record<Lane, number>;
  #nextId = 1;
  #starts = 0;
  /** Interactive starts in a row while batch waited. */
  #inRow = 0;
  #isYielding = false;
  /** What batch stood still, less what it went on since. */
  #stoodMs = 0;
  /** It stood as long as it may, and has to make up for it. */
  #isSpent = false;
  #yieldSeen = 0;

  constructor(options: LaneOptions) {
    const { slots, reserved } = options;
    if (!(slots >= 1 && reserved.interactive + reserved.batch <= slots))
      throw new RangeError(
        `slots ${slots}, reserved ${reserved.interactive} and ${reserved.batch}: wanted no more than there are`,
      );
    this.options = options;
    this.#serviceMs = { ...options.serviceMs };
  }

  /** A request comes in; it waits, runs at once (its start is among the effects), or is refused and leaves no trace. */
  ask(ask: Ask, now: number): { readonly id: number; readonly effects: Effect[] } | Refusal {
    const depth = this.depth(ask.lane);
    const waitMs = this.expectedWaitMs(ask.lane, now);
    if (waitMs > 0 && depth >= this.options.queue[ask.lane]) return { reason: "full", lane: ask.lane, depth, waitMs };
    if (ask.deadline !== undefined && now + waitMs > ask.deadline)
      return { reason: "late", lane: ask.lane, depth, waitMs };
    const id = this.#nextId++;
    this.#tickets.set(id, {
      ...{ ...ask, id, since: now, state: "waiting", startedAt: 0, ranMs: 0, pauses: 0 },
      ...{ safeUntil: -Infinity, isReading: false },
    });
    return { id, effects: this.#settle(now) };
  }

  /** A request is done or its caller has left, in whatever state it is. Unknown ids are those that expired. */
  end(id: number, now: number): Effect[] {
    const ticket = this.#tickets.get(id);
    if (ticket === undefined) return [];
    this.#tickets.delete(id);
    if (ticket.state === "running") {
      const ms = ticket.ranMs + now - ticket.startedAt;
      this.#serviceMs[ticket.lane] += NEWEST * (ms - this.#serviceMs[ticket.lane]);
    }
    return this.#settle(now);
  }

  /** The prompt of a request has been read. */
  firstToken(id: number, now: number): Effect[] {
    const ticket = this.#tickets.get(id);
    if (ticket) ticket.isReading = false;
    return this.#settle(now);
  }

  /** Time passed. */
  tick(now: number): Effect[] {
    return this.#settle(now);
  }

  /** When `tick` has something to do if nothing else happens; Infinity for never. */
  wakeAt(now: number): number {
    const { promoteMs, preemptAfterMs, mostYieldMs } = this.options;
    const isWaited = this.#isSpent && mostYieldMs > 0 && this.#isReading();
    let at = this.#isYielding ? now + mostYieldMs - this.#stoodMs : isWaited ? now + this.#stoodMs : Infinity;
    const next = (time: number) => {
      if (time > now && time < at) at = time;
    };
    for (const ticket of this.#tickets.values()) {
      if (ticket.state === "running") next(ticket.safeUntil);
      else if (ticket.lane === "batch") next(ticket.since + promoteMs);
      else next(ticket.since + preemptAfterMs);
      if (ticket.state === "waiting" && ticket.deadline !== undefined) next(ticket.deadline + 1);
    }
    return at;
  }

  // what is seen from outside

  running(lane?: Lane): number {
    return this.#count((ticket) => ticket.state === "running" && (lane === undefined || ticket.lane === lane));
  }
  get free(): number {
    return this.options.slots - this.running();
  }
  /** Requests that wait for their first start. */
  depth(lane: Lane): number {
    return this.#count((ticket) => ticket.state === "waiting" && ticket.lane === lane);
  }
  paused(): number {
    return this.#count(({ state }) => state === "paused");
  }
  /** How many of its lane start before it if nothing changes; 0 for one that runs. */
  position(id: number, now: number): number {
    const ticket = this.#tickets.get(id);
    if (ticket === undefined || ticket.state !== "waiting") return 0;
    const compare = this.#order(ticket.lane, now);
    return (
      this.#count((each) => each.lane === ticket.lane && each.state !== "running" && compare(each, ticket) < 0) + 1
    );
  }
  /** What a request that came now would wait for its start. */
  expectedWaitMs(lane: Lane, now: number): number {
    const most = Math.max(1, this.options.slots - this.options.reserved[OTHER[lane]]);
    const ahead = this.#count((ticket) => ticket.state !== "running" && ticket.lane === lane);
    const room = this.#room(lane) + (lane === "interactive" ? this.#victims(now).length : 0);
    if (ahead < room) return this.#room(lane) > ahead ? 0 : this.options.preemptAfterMs;
    return (this.#serviceMs[lane] * (ahead - room + 1)) / most;
  }

  #count(of: (ticket: Ticket) => boolean): number {
    let count = 0;
    for (const ticket of this.#tickets.values()) if (of(ticket)) count++;
    return count;
  }

  /** Slots that a lane may still take. */
  #room(lane: Lane): number {
    const { slots, reserved, canBorrow } = this.options;
    const isLimited = lane === "interactive" || !canBorrow;
    const most = isLimited ? slots - reserved[OTHER[lane]] : slots;
    return Math.max(0, Math.min(this.free, most - this.running(lane)));
  }

  #settle(now: number): Effect[] {
    const effects: Effect[] = [];
    for (const ticket of [...this.#tickets.values()])
      if (ticket.state === "waiting" && ticket.deadline !== undefined && now > ticket.deadline) {
        this.#tickets.delete(ticket.id);
        effects.push({ type: "expire", id: ticket.id });
      }
    while (this.#startOne(now, effects));
    this.#settleYield(now, effects);
    return effects;
  }

  /** Starts the request whose turn it is, where there is room or room can be made. */
  #startOne(now: number, effects: Effect[]): boolean {
    const batch = this.#first("batch", now);
    const interactive = this.#first("interactive", now);
    const isDue =
      batch !== undefined &&
      this.running("batch") < Math.max(1, this.options.reserved.batch) &&
      (this.#isPromoted(batch, now) || this.#inRow >= this.options.ratio);
    if (isDue && this.free > 0) return this.#start(batch, now, effects, now + this.options.quantumMs);
    if (interactive !== undefined && this.#room("interactive") > 0) return this.#start(interactive, now, effects);
    if (interactive !== undefined && !isDue && now - interactive.since >= this.options.preemptAfterMs) {
      const [victim] = this.#victims(now);
      if (victim !== undefined) {
        this.#pause(victim, now, effects);
        return this.#start(interactive, now, effects);
      }
    }
    if (batch !== undefined && this.#room("batch") > 0) return this.#start(batch, now, effects);
    return false;
  }

  #start(ticket: Ticket, now: number, effects: Effect[], safeUntil = -Infinity): true {
    const isBatch = ticket.lane === "batch";
    effects.push({ type: "start", id: ticket.id, isResume: ticket.state === "paused" });
    ticket.state = "running";
    ticket.startedAt = now;
    ticket.safeUntil = safeUntil;
    ticket.isReading = !isBatch;
    this.#lastStart.set(ticket.caller, ++this.#starts);
    if (this.#lastStart.size > 10_000) this.#forgetCallers();
    this.#inRow = isBatch || this.#count(isWaitingBatch) === 0 ? 0 : this.#inRow + 1;
    return true;
  }

  #pause(ticket: Ticket, now: number, effects: Effect[]): void {
    effects.push({ type: "pause", id: ticket.id });
    ticket.ranMs += now - ticket.startedAt;
    ticket.state = "paused";
    ticket.since = now;
    ticket.pauses++;
  }

  /** Batch requests that may be paused for an interactive one, the one that ran least first. */
  #victims(now: number): Ticket[] {
    const spare = this.running("batch") - this.options.reserved.batch;
    if (spare <= 0 || this.running("interactive") >= this.options.slots - this.options.reserved.batch) return [];
    const ran = (ticket: Ticket) => ticket.ranMs + now - ticket.startedAt;
    return [...this.#tickets.values()]
      .filter((each) => each.lane === "batch" && each.state === "running")
      .filter((each) => each.pauses < this.options.mostPauses && now >= each.safeUntil)
      .sort((a, b) => ran(a) - ran(b) || b.id - a.id)
      .slice(0, spare);
  }

  #isPromoted({ lane, since }: Ticket, now: number): boolean {
    return lane === "batch" && now - since >= this.options.promoteMs;
  }

  #first(lane: Lane, now: number): Ticket | undefined {
    const waiting = [...this.#tickets.values()].filter((each) => each.lane === lane && each.state !== "running");
    if (waiting.length < 2) return waiting[0];
    const compare = this.#order(lane, now);
    return waiting.reduce((first, each) => (compare(each, first) < 0 ? each : first));
  }

  /** Which of two requests of a lane that want to run is first. */
  #order(lane: Lane, now: number): (a: Ticket, b: Ticket) => number {
    const isLifo = lane === "interactive" && this.options.order === "lifo";
    const running = new Map<string, number>();
    for (const { state, caller } of this.#tickets.values())
      if (state === "running") running.set(caller, (running.get(caller) ?? 0) + 1);
    const load = ({ caller }: Ticket) => running.get(caller) ?? 0;
    const last = ({ caller }: Ticket) => this.#lastStart.get(caller) ?? 0;
    const rank = (each: Ticket) => (this.#isPromoted(each, now) ? 0 : each.state === "paused" ? 1 : 2);
    const byAge = (a: Ticket, b: Ticket) => a.since - b.since || a.id - b.id;
    return (a, b) => {
      const byRank = rank(a) - rank(b);
      if (byRank !== 0 || rank(a) === 0) return byRank || byAge(a, b);
      const byCaller = this.options.isFair && a.caller !== b.caller ? load(a) - load(b) || last(a) - last(b) : 0;
      return byCaller || (isLifo ? byAge(b, a) : byAge(a, b));
    };
  }

  #isReading(): boolean {
    return this.#count(({ state, isReading }) => state === "running" && isReading) > 0;
  }

  #settleYield(now: number, effects: Effect[]): void {
    const { mostYieldMs } = this.options;
    const passed = now - this.#yieldSeen;
    this.#yieldSeen = now;
    this.#stoodMs = this.#isYielding ? this.#stoodMs + passed : Math.max(0, this.#stoodMs - passed);
    if (this.#stoodMs >= mostYieldMs) this.#isSpent = true;
    else if (this.#stoodMs === 0) this.#isSpent = false;
    const isOn = this.#isReading() && !this.#isSpent;
    if (isOn === this.#isYielding) return;
    this.#isYielding = isOn;
    effects.push({ type: "yield", isOn });
  }

  #forgetCallers(): void {
    const known = new Set([...this.#tickets.values()].map(({ caller }) => caller));
    for (const caller of [...this.#lastStart.keys()]) if (!known.has(caller)) this.#lastStart.delete(caller);
  }
}

const isWaitingBatch = ({ lane, state }: { readonly lane: Lane; readonly state: string }): boolean =>
  lane === "batch" && state !== "running";
