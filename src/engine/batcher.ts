// Many rows over one model, a step at a time: all that want their next token together, then one chunk of one prompt.
// Rows join and leave between any two steps. It does not know prompts, sampling or why a row waits.
import { setImmediate } from "node:timers/promises";
import { cancelled, IroriError } from "../base/mod.ts";
import type { Config } from "../models/mod.ts";
import { BoundStep } from "./bound-step.ts";
import { CHUNK, type KvCache, type KvType } from "./kv-cache.ts";
import type { Candidates } from "./logits.ts";
import type { Step } from "./programs.ts";
import type { StepResults } from "./step-results.ts";
import type { Turns } from "./turns.ts";

/** Rows of one step at most. */
const MOST_ROWS = 16;
/** Rows of a step that more urgent ones share with others: it takes less than twice as long as one of a single row. */
const SHARED_ROWS = 4;
/** In the place of a number of rows: the step that reads prompts. */
const FOR_PROMPTS = 0;
/** Tokens of a chunk while other rows want their next token: they wait for it. */
const SMALL_CHUNK = 64;
/** The same where one of them is more urgent than the prompt. */
const SMALLEST_CHUNK = 8;
/** Positions of one run at most that are looked at: each brings a row of logits. */
export const MOST_LOOKS = 128;

/** Tokens of a row, fed in one run or in several. */
export interface Ask {
  readonly cache: KvCache;
  readonly ids: readonly number[];
  /** Of `logSumExp`; 0 leaves it at 1. */
  readonly temperature: number;
  /** Where it looks: at what follows the last token (default), or each of them. */
  readonly look?: "last" | "each" | undefined;
  /** Whether these tokens were given, not made. Default false. */
  readonly isPrompt?: boolean | undefined;
  /** The step of a row that is changed inside. */
  readonly own?: BoundStep | undefined;
  /** Called when its turn comes first: how many of the tokens the cache has meanwhile. Where these are all, nothing is fed. */
  readonly skip?: (() => number) | undefined;
  /** Of several prompts the most urgent is fed first, of equal ones that of the older row. */
  readonly urgency: number;
  readonly row: number;
  readonly signal?: AbortSignal | undefined;
  /** Told after each run: how many tokens are done, and what it saw where it looked; valid until the next step. */
  readonly onRun?: ((done: number, seen: StepResults | undefined) => void) | undefined;
}

/** An ask that waits or runs. */
interface Asked extends Ask {
  done: number;
  readonly resolve: (candidates: Candidates | undefined) => void;
  readonly reject: (error: unknown) => void;
}

export interface BatcherOptions {
  readonly model: string;
  readonly config: Config;
  readonly kvType: KvType;
  /** The step of so many rows: a power of two. */
  readonly step: (rows: number) => Promise<Step>;
  /** The step that reads prompts, where that is another one. */
  readonly promptStep?: (() => Promise<Step>) | undefined;
  readonly turns: Turns;
}

export class Batcher implements AsyncDisposable {
  readonly #options: BatcherOptions;
  readonly #waiting = new Set<Asked>();
  readonly #running = new Set<Asked>();
  readonly #steps = new Map<number, BoundStep>();
  readonly #opening = new Map<number, Promise<BoundStep>>();

  /** Caches of rows that are gone, while a run may still be over them. */
  readonly #gone = new Set<KvCache>();
  #loop: Promise<void> | undefined;
  #isClosed = false;
  #rows = 0;

  constructor(options: BatcherOptions) {
    this.#options = options;
  }

  /** Opens the steps for so many rows at once, so that they are there when they are needed. */
  async open(rows: number): Promise<void> {
    await this.#open(FOR_PROMPTS);
    for (let size = 1; ; size *= 2) {
      await this.#open(size);
      if (size >= Math.min(rows, MOST_ROWS)) return;
    }
  }

  /**
   * Feeds tokens; what follows the last of them, valid until the next step (undefined where all were skipped). An aborted signal
   * ends it between two runs.
   */
  feed(ask: Ask): Promise<Candidates | undefined> {
    if (this.#isClosed) return Promise.reject(closed(this.#options.model));
    if (ask.signal?.aborted) return Promise.reject(cancelled("the answer", ask.signal));
    const { promise, resolve, reject } = Promise.withResolvers<Candidates | undefined>();
    const asked: Asked = { ...ask, done: 0, resolve, reject };
    this.#waiting.add(asked);
    const leave = () => {
      // of a run with others it is told when that has ended
      if (this.#waiting.delete(asked)) reject(cancelled("the answer", ask.signal));
    };
    ask.signal?.addEventListener("abort", leave, { once: true });
    const left = () => ask.signal?.removeEventListener("abort", leave);
    promise.then(left, left);
    this.#loop ??= this.#run();
    return promise;
  }

  /** The number of a new row. */
  number(): number {
    return this.#rows++;
  }

  /** Lets go of a row's cache. */
  leave(cache: KvCache): void {
    this.#gone.add(cache);
    if (this.#loop === undefined) this.#forgetGone();
  }
  #forgetGone(): void {
    for (const cache of this.#gone) for (const step of this.#steps.values()) step.leave(cache);
    this.#gone.clear();
  }

  async #run(): Promise<void> {
    for (;;) {
      await setImmediate(); // rows that were answered ask again first
      this.#forgetGone();
      const nexts = urgentFirst([...this.#waiting].filter(isNext));
      const chunk = mostUrgent([...this.#waiting].filter((ask) => !isNext(ask)));
      if (nexts.length === 0 && chunk === undefined) break;
      await this.#together(nexts.filter(({ own }) => own === undefined));
      for (const ask of nexts) if (ask.own) await this.#alone(ask, 1);
      if (chunk) await this.#alone(chunk, chunkBeside(chunk, nexts));
    }
    this.#loop = undefined;
  }

  /** The next token of each of some rows, in as few steps as there are Programs for. */
  async #together(asks: readonly Asked[]): Promise<void> {
    for (let rest = asks; rest.length > 0; ) {
      const step = await this.#stepFor(rest.length).catch((error: unknown) => {
        for (const ask of rest) this.#fail(ask, error);
      });
      if (step === undefined) return;
      const part = rest.slice(0, step.rows).filter((ask) => this.#start(ask));
      rest = rest.slice(step.rows);
      if (step.rows === 1) for (const ask of part) await this.#alone(ask, 1, step);
      else if (part.length > 0) {
        const temperatures = part.map(({ temperature }) => temperature);
        await this.#inTurn(part, async (signal) => {
          const seen = await step.together(
            part.map(({ cache, ids }) => ({ cache, ids })),
            temperatures,
            signal,
          );
          for (const [i, ask] of part.entries()) this.#done(ask, 1, seen, i);
        });
      }
    }
  }

  /** One run of a row's tokens, `most` of them. */
  async #alone(ask: Asked, most: number, known?: BoundStep): Promise<void> {
    const open = () => this.#open(ask.isPrompt ? FOR_PROMPTS : 1).catch((error: unknown) => this.#fail(ask, error));
    const step = ask.own ?? known ?? (await open());
    if (step === undefined || !(this.#running.has(ask) || this.#start(ask))) return;
    if (ask.done === 0 && ask.skip) {
      ask.done = Math.min(ask.skip(), ask.ids.length);
      if (ask.done === ask.ids.length) return this.#answer(ask, undefined);
    }
    const isEach = ask.look === "each";
    const ids = ask.ids.slice(ask.done, ask.done + (isEach ? Math.min(most, MOST_LOOKS) : most));
    const isLast = ask.done + ids.length === ask.ids.length;
    const at = isEach ? ids.map((_, i) => i) : isLast ? [ids.length - 1] : [];
    const look = at.length > 0 ? { at, temperatures: at.map(() => ask.temperature) } : undefined;
    await this.#inTurn([ask], async (signal) => {
      const seen = await step.alone({ cache: ask.cache, ids }, look, signal);
      this.#done(ask, ids.length, seen, at.length - 1);
    });
  }

  /** Whether an ask still waits: it runs now. */
  #start(ask: Asked): boolean {
    if (!this.#waiting.delete(ask)) return false;
    this.#running.add(ask);
    return true;
  }

  /** A run has fed `count` tokens of an ask, and saw what follows the last of them at `place`. */
  #done(ask: Asked, count: number, seen: StepResults | undefined, place: number): void {
    this.#running.delete(ask);
    ask.done += count;
    try {
      ask.onRun?.(ask.done, seen);
      if (ask.signal?.aborted) throw cancelled("the answer", ask.signal);
      if (ask.done === ask.ids.length) this.#answer(ask, (seen as StepResults).candidates(place));
      else this.#waiting.add(ask);
    } catch (error) {
      ask.reject(error);
    }
  }
  #answer(ask: Asked, candidates: Candidates | undefined): void {
    this.#running.delete(ask);
    ask.resolve(candidates);
  }
  #fail(ask: Asked, error: unknown): void {
    this.#waiting.delete(ask);
    this.#running.delete(ask);
    ask.reject(error);
  }

  /** A run for some asks; it is ended when all of them are cancelled, and its failure is theirs. */
  async #inTurn(asks: readonly Asked[], run: (signal: AbortSignal | undefined) => Promise<void>): Promise<void> {
    using all = new AllAborted(asks.map(({ signal }) => signal));
    try {
      await this.#options.turns.take(() => run(all.signal));
    } catch (error) {
      for (const ask of asks) this.#fail(ask, error);
    }
  }

  /** The step for so many rows, or the largest that is open while that one opens. */
  async #stepFor(rows: number): Promise<BoundStep> {
    let wanted = 1;
    while (wanted < Math.min(rows, MOST_ROWS)) wanted *= 2;
    const opening = this.#open(wanted);
    for (let size = wanted; size >= 1; size /= 2) {
      const step = this.#steps.get(size);
      if (step === undefined) continue;
      if (size < wanted) opening.catch(() => undefined); // asked for again, and told, when rows need it
      return step;
    }
    return this.#open(1);
  }

  /** Single flight; a failure is forgotten, so that the next one tries again. */
  #open(rows: number): Promise<BoundStep> {
    const { step, promptStep, config, kvType } = this.#options;
    if (rows === FOR_PROMPTS && promptStep === undefined) return this.#open(1);
    const known = this.#opening.get(rows);
    if (known !== undefined) return known;
    const opening = (rows === FOR_PROMPTS && promptStep ? promptStep() : step(rows)).then((programs) => {
      const bound = new BoundStep(programs, rows === FOR_PROMPTS ? 1 : rows, { config, kvType });
      this.#steps.set(rows, bound);
      return bound;
    });
    this.#opening.set(rows, opening);
    opening.catch(() => this.#opening.delete(rows));
    return opening;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const ask of this.#waiting) this.#fail(ask, closed(this.#options.model));
    await this.#loop;
    await Promise.allSettled(this.#opening.values());
    for (const step of this.#steps.values()) step[Symbol.dispose]();
    this.#steps.clear();
  }
}

/** One token that was made, whose successor is wanted. */
const isNext = ({ ids, look, isPrompt }: Ask): boolean => ids.length === 1 && look !== "each" && !isPrompt;

/**
 * Rows whose next token is made now: all, where they are as urgent as each other; else the most urgent and, in their step, as many others
 * as it has room for, those that waited longest. None is left out for ever: the others take turns.
 */
function urgentFirst(nexts: readonly Asked[]): readonly Asked[] {
  const most = Math.max(...nexts.map(({ urgency }) => urgency));
  const urgent = nexts.filter(({ urgency }) => urgency === most);
  if (urgent.length === nexts.length) return nexts;
  let rows = SHARED_ROWS;
  while (rows <= urgent.length) rows *= 2;
  return [...urgent, ...nexts.filter(({ urgency }) => urgency < most).slice(0, rows - urgent.length)];
}

/** Tokens of a prompt in one run beside rows that want their next token. */
function chunkBeside({ urgency, look }: Ask, nexts: readonly Ask[]): number {
  if (nexts.length === 0) return CHUNK;
  // a draft is one run: it is looked at as a whole
  return look !== "each" && nexts.some((next) => next.urgency > urgency) ? SMALLEST_CHUNK : SMALL_CHUNK;
}

const mostUrgent = (asks: readonly Asked[]): Asked | undefined =>
  asks.toSorted((a, b) => b.urgency - a.urgency || a.row - b.row)[0];

const closed = (model: string): IroriError =>
  new IroriError("bad-input", { what: `${model} was closed`, next: "take a new lease" });

/** A signal that aborts when all of some have: none where one of them cannot. */
class AllAborted implements Disposable {
  readonly signal: AbortSignal | undefined;
  readonly #signals: readonly AbortSignal[];
  readonly #check: () => void;

  constructor(signals: readonly (AbortSignal | undefined)[]) {
    const given = signals.filter((signal) => signal !== undefined);
    const controller = new AbortController();
    this.#signals = given;
    this.signal = given.length === signals.length ? controller.signal : undefined;
    this.#check = () => {
      if (given.every(({ aborted }) => aborted)) controller.abort();
    };
    for (const signal of given) signal.addEventListener("abort", this.#check);
    this.#check();
  }
  [Symbol.dispose](): void {
    for (const signal of this.#signals) signal.removeEventListener("abort", this.#check);
  }
}
