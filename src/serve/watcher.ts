// Whoever looks on while the server works: logs and traces. What was told of a request's answers is kept until the request has ended.
// It does not know what becomes of it.
import type { AnswerRequest, AnswerWatch } from "./answers.ts";
import type { RequestFacts } from "./http/app.ts";
import type { Load } from "./residents.ts";

export interface Watcher extends AsyncDisposable {
  readonly watch: AnswerWatch;
  /** A request's answer has gone out. */
  request(facts: RequestFacts): void;
  loaded?(load: Load): void;
}

/** One answer of a request. */
export interface AnswerFacts {
  readonly model: string;
  readonly lane: string;
  /** Milliseconds since 1970. */
  endedAt: number;
  waitedMs: number;
  firstTokenMs?: number;
  prefillMs?: number;
  decodeMs?: number;
  promptTokens?: number;
  reusedTokens?: number;
  tokens?: number;
  pauses?: number;
  /** "stop", "length" …, or how it ended else: "left in decode", "failed". */
  end?: string;
  prompt?: unknown;
}

/** Answers of one request that are kept; a summary has hundreds. */
const MOST_ANSWERS = 32;
/** Requests of which answers are kept: more are not open at once. */
const MOST_REQUESTS = 4096;

/** What was told of answers, by the request that they belong to. */
export class Collected {
  readonly #clock: () => number;
  readonly #keepsPrompts: boolean;
  readonly #of = new Map<string, Map<string, AnswerFacts>>();

  constructor(clock: () => number, keepsPrompts = false) {
    this.#clock = clock;
    this.#keepsPrompts = keepsPrompts;
  }

  readonly watch: AnswerWatch = {
    started: (request, { waitedMs }) => this.#set(request, { waitedMs }),
    firstToken: (request, firstTokenMs) => this.#set(request, { firstTokenMs }),
    ended: (request, { promptTokens, reusedTokens, ids, stop, about, timings }) =>
      this.#set(request, {
        ...{ promptTokens, reusedTokens, tokens: ids.length, end: stop, pauses: about.pauses },
        ...{ prefillMs: timings.prefillMs, decodeMs: timings.decodeMs, waitedMs: about.waitedMs },
      }),
    left: (request, phase) => this.#set(request, { end: `left in ${phase}` }),
    failed: (request) => this.#set(request, { end: "failed" }),
  };

  #set(request: AnswerRequest, facts: Partial<AnswerFacts>): void {
    const { requestId, model, lane, seed, prompt } = request;
    if (requestId === undefined) return;
    const answers = this.#of.get(requestId) ?? new Map<string, AnswerFacts>();
    if (answers.size === 0 && this.#of.size >= MOST_REQUESTS) this.#of.delete(this.#of.keys().next().value as string);
    this.#of.set(requestId, answers);
    const key = `${model} ${seed}`; // the choices of a request have seeds of their own
    if (!answers.has(key) && answers.size >= MOST_ANSWERS) return;
    const known = answers.get(key) ?? { model, lane, waitedMs: 0, endedAt: 0, ...(this.#keepsPrompts && { prompt }) };
    answers.set(key, Object.assign(known, facts, { endedAt: this.#clock() }));
  }

  /** The answers of a request that has ended; they are forgotten. */
  take(requestId: string): readonly AnswerFacts[] {
    const answers = this.#of.get(requestId);
    this.#of.delete(requestId);
    return [...(answers?.values() ?? [])];
  }
}

/** All who watch answers as one. */
export function watchedByAll(all: readonly AnswerWatch[]): AnswerWatch {
  const each =
    <K extends keyof AnswerWatch>(name: K) =>
    (...told: Parameters<NonNullable<AnswerWatch[K]>>): void => {
      for (const watch of all) (watch[name] as ((...all: unknown[]) => void) | undefined)?.(...told);
    };
  return {
    ...{ started: each("started"), firstToken: each("firstToken"), token: each("token") },
    ...{ ended: each("ended"), left: each("left"), failed: each("failed") },
  };
}
