// Jobs: requests that wait in a file until somebody has time for them, and whose answers stay there. Done at least once, told exactly once:
// an answer is written only by whoever holds the job then. It does not know what a request does.
import { cancelled, IroriError } from "../base/mod.ts";
import type { Job, JobStatus, Owner } from "./work/work-file.ts";
import type { WorkStore } from "./work/work-store.ts";

export interface JobAnswer {
  /** As of HTTP. */
  readonly status: number;
  readonly body: string;
}

export interface JobsOptions {
  readonly store: WorkStore;
  /** Jobs done at once. */
  readonly atOnce: number;
  /** Does what a job asks. Aborted where the job is cancelled, or this stops. */
  readonly work: (job: Job, signal: AbortSignal) => Promise<JobAnswer>;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly every: (ms: number, then: () => void) => () => void;
  readonly unique: () => string;
  /** This process: its id, and a name that no other process has. */
  readonly owner: Owner;
  readonly onError: (jobId: string, error: unknown) => void;
  /** Told of every end. */
  readonly onEnd?: ((status: JobStatus) => void) | undefined;
  /** Told of every change: queued, running, how far, ended, put back. */
  readonly onChange?: ((job: JobChange) => void) | undefined;
  readonly limits?: Partial<JobLimits> | undefined;
}

export interface JobChange extends Pick<Job, "id" | "caller" | "url" | "status"> {
  readonly progress?: unknown;
}

export interface JobLimits {
  /** Jobs that wait, of all callers. */
  readonly waiting: number;
  /** A job whose engine or process died so often fails. */
  readonly mostLost: number;
  /** Milliseconds for which answers stay. */
  readonly keptMs: number;
}

const DEFAULT_LIMITS: JobLimits = { waiting: 10_000, mostLost: 20, keptMs: 7 * 24 * 3_600_000 };
/** A process that says nothing for so long does its jobs no more. */
const HELD_MS = 15_000;
const TICK_MS = 500;
const RENEW_TICKS = 8;
/** After a lane had no room, and after an engine died. */
const AGAIN_MS = 250;
const PRUNE_TICKS = 7_200;

export class Jobs implements AsyncDisposable {
  readonly #options: JobsOptions;
  readonly #limits: JobLimits;
  readonly #owner: Owner;
  readonly #running = new Map<string, { job: Job; stop: AbortController; done: Promise<void> }>();
  readonly #notes = new Map<string, unknown>();
  /** Jobs that said how far they are since the last tick. */
  readonly #moved = new Set<string>();
  readonly #waiting = new Map<string, Set<() => void>>();
  #isStopping = false;
  #pumping: Promise<void> | undefined;
  #again = false;
  #ticks = 0;
  #stopTicks: () => void;

  constructor(options: JobsOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#owner = options.owner;
    this.#stopTicks = options.every(TICK_MS, () => void this.#tick());
    void this.#tick();
  }

  /** A job; the same one where the caller has submitted that key before. Throws "conflict" where it was for something else, "no-room". */
  async submit(job: {
    caller: string;
    key: string | null;
    url: string;
    body: string;
  }): Promise<{ job: Job; isNew: boolean }> {
    const { store, clock, unique } = this.#options;
    const id = `job_${unique().replaceAll("-", "")}`;
    const found = await store.submit({ ...job, id, now: clock(), most: this.#limits.waiting });
    if (found.as === "full")
      throw new IroriError("no-room", {
        ...{ what: "too many jobs wait", got: found.waiting, wanted: `at most ${this.#limits.waiting}` },
        next: "submit it again later",
      });
    if (found.as === "conflict")
      throw new IroriError("conflict", {
        what: `the idempotency key is that of ${found.job.id}, which asks for something else`,
        next: "take another key",
      });
    const isNew = found.as === "new";
    if (isNew) this.#options.onChange?.(found.job);
    this.#pump();
    return { job: found.job, isNew };
  }

  /** Throws "not-found", also for other callers' jobs. `waitMs`: so long at most until it has ended. */
  async get(id: string, caller: string, waitMs = 0, signal?: AbortSignal): Promise<Job> {
    const ended = this.#endOf(id, waitMs, signal);
    try {
      const job = await this.#options.store.get(id, caller);
      if (job === undefined) throw missing(id);
      if (waitMs === 0 || hasEnded(job)) return job;
      await ended.promise;
      return (await this.#options.store.get(id, caller)) ?? job;
    } finally {
      ended.leave();
    }
  }
  #endOf(id: string, waitMs: number, signal: AbortSignal | undefined) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const all = this.#waiting.get(id) ?? new Set();
    all.add(resolve);
    this.#waiting.set(id, all);
    const timer = setTimeout(resolve, waitMs);
    signal?.addEventListener("abort", () => resolve(), { once: true });
    const leave = () => {
      clearTimeout(timer);
      all.delete(resolve);
      if (all.size === 0) this.#waiting.delete(id);
    };
    return { promise, leave };
  }

  list(caller: string, status: JobStatus | undefined, most: number): Promise<Job[]> {
    return this.#options.store.list(caller, status ?? null, most);
  }

  /** Ends a job that has not ended. Throws "not-found". */
  async cancel(id: string, caller: string): Promise<Job> {
    const before = await this.#options.store.get(id, caller);
    const job = await this.#options.store.cancel(id, caller, this.#options.clock());
    if (job === undefined) throw missing(id);
    this.#running.get(id)?.stop.abort();
    if (before !== undefined && !hasEnded(before)) this.#tell(job);
    return job;
  }

  /** Cancels and forgets a job. Throws "not-found". */
  async remove(id: string, caller: string): Promise<void> {
    await this.cancel(id, caller);
    await this.#options.store.remove(id, caller);
  }

  counts(): Promise<Partial<Record<JobStatus, number>>> {
    return this.#options.store.counts();
  }

  /** How far a job is, as whoever does it says; kept while it runs. */
  note(id: string, progress: unknown): void {
    if (!this.#running.has(id)) return;
    this.#notes.set(id, progress);
    this.#moved.add(id);
  }
  noted(id: string): unknown {
    return this.#notes.get(id);
  }

  async #tick(): Promise<void> {
    if (this.#isStopping) return;
    const { store, clock } = this.#options;
    const tick = this.#ticks++;
    for (const id of this.#moved) {
      const running = this.#running.get(id);
      if (running) this.#options.onChange?.({ ...running.job, status: "running", progress: this.#notes.get(id) });
    }
    this.#moved.clear();
    try {
      if (tick % RENEW_TICKS === 0 && this.#running.size > 0) await store.renew(this.#owner, clock() + HELD_MS);
      if (tick % PRUNE_TICKS === 0) await store.prune(clock() - this.#limits.keptMs);
      await store.reclaim(this.#owner, clock(), this.#limits.mostLost);
    } catch (error) {
      this.#failed("", error);
    }
    this.#pump();
  }

  /** Begins what there is room for; one at a time decides that. */
  #pump(): void {
    this.#again = true;
    this.#pumping ??= this.#begin().finally(() => {
      this.#pumping = undefined;
    });
  }
  async #begin(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      try {
        while (!this.#isStopping && this.#running.size < this.#options.atOnce) {
          const now = this.#options.clock();
          const job = await this.#options.store.claim(this.#owner, now, now + HELD_MS);
          if (job === undefined) break;
          const stop = new AbortController();
          this.#options.onChange?.({ ...job, status: "running" });
          const done = this.#work(job, stop.signal).finally(() => {
            this.#running.delete(job.id);
            this.#notes.delete(job.id);
            this.#pump();
          });
          this.#running.set(job.id, { job, stop, done });
          if (this.#isStopping) stop.abort();
        }
      } catch (error) {
        this.#failed("", error);
      }
    }
  }

  async #work(job: Job, signal: AbortSignal): Promise<void> {
    const { store, clock, work } = this.#options;
    try {
      const answer = await work(job, signal).catch((error: unknown) => {
        this.#failed(job.id, error);
        const message = "the server failed; its log says why";
        return { status: 500, body: JSON.stringify({ error: { message, code: "internal" } }) };
      });
      if (signal.aborted) {
        // cancelled: nothing is held any more; stopped: the next start goes on with it
        await store.putBack(job.id, this.#owner, 0, false);
        return; // whoever cancelled it was told
      }
      const wasLost = isLost(answer) && job.attempts < this.#limits.mostLost;
      if (isRefused(answer) || wasLost) {
        await store.putBack(job.id, this.#owner, clock() + AGAIN_MS, wasLost);
        this.#options.onChange?.({ ...job, status: "queued" });
      } else {
        const end = { status: answer.status < 400 ? ("done" as const) : ("failed" as const), code: answer.status };
        if (await store.finish(job.id, this.#owner, { ...end, answer: answer.body, now: clock() }))
          this.#tell({ ...job, ...end });
      }
    } catch (error) {
      this.#failed(job.id, error); // it stays held until that runs out, then it is done again
    }
  }

  #failed(id: string, error: unknown): void {
    if (!this.#isStopping) this.#options.onError(id, error);
  }
  #tell(job: JobChange): void {
    const { id, status } = job;
    this.#options.onEnd?.(status);
    this.#options.onChange?.(job);
    for (const resolve of this.#waiting.get(id) ?? []) resolve();
  }

  /** Jobs that run are left for the next start. The store stays open. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    this.#stopTicks();
    await this.#pumping;
    const running = [...this.#running.values()];
    for (const { stop } of running) stop.abort(cancelled("the job"));
    await Promise.all(running.map(({ done }) => done));
  }
}

const hasEnded = ({ status }: Job): boolean => status !== "queued" && status !== "running";
/** A lane had no room: nothing was begun. */
const isRefused = ({ status }: JobAnswer): boolean => status === 429;
/** Whoever worked on it is gone, or could not be asked: the same request may be sent again. */
const isLost = ({ status }: JobAnswer): boolean => status === 502 || status === 503;
const missing = (id: string): IroriError =>
  new IroriError("not-found", { what: `there is no job ${JSON.stringify(id)} of yours` });
