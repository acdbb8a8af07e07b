// One call to a server that speaks OpenAI's API: again where it was busy or not there, within a deadline, each failure a sentence
// that names it. It does not know what is asked.
import { setTimeout as wait } from "node:timers/promises";
import { cancelled, type ErrorCode, IroriError, seededRandom } from "../../base/mod.ts";

export interface ServerOptions {
  /** Where its API begins: http://127.0.0.1:8080/v1 */
  readonly url: string;
  /** The model's name there. */
  readonly model: string;
  readonly key?: string | undefined;
  /** Milliseconds that a whole answer may take, all its attempts together. Default 600,000. */
  readonly deadlineMs?: number | undefined;
  /** Milliseconds that it may send nothing. Default 60,000. */
  readonly idleMs?: number | undefined;
  /** Further attempts where it was busy or not there. Default 4. */
  readonly retries?: number | undefined;
  /** Of the waiting between attempts. Default: drawn. */
  readonly seed?: number | undefined;
}

/** The answer's body as text, piece by piece, while it may be read. */
export interface Replied extends Disposable {
  readonly pieces: AsyncIterable<string>;
}

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 8_000;
/** Characters of an error that are read. */
const TOLD = 2_000;
/** What `fetch` says of addresses that it will never ask. */
const IN_VAIN = /bad port|redirect/;
/** Busy, starting or broken for a moment. */
const AGAIN = new Set([408, 425, 429, 500, 502, 503, 504]);

const serverId = ({ url, model }: ServerOptions): string => `server ${url.replace(/\/+$/, "")}#${model}`;

/** What went wrong at a server, and whether the same call may do better. */
interface Failure {
  readonly error: IroriError;
  readonly isWorthAnother: boolean;
  /** As it asked for. */
  readonly waitMs?: number | undefined;
}

export class ServerCall {
  readonly id: string;
  readonly #options: ServerOptions;
  readonly #random: { next(): number };

  constructor(options: ServerOptions) {
    this.id = serverId(options);
    this.#options = options;
    this.#random = options.seed === undefined ? { next: Math.random } : seededRandom(options.seed);
  }

  /** POSTs JSON; the body's pieces once it answers well. Throws "cancelled", or what the last attempt ended with. */
  async post(path: string, body: object, signal: AbortSignal | undefined): Promise<Replied> {
    const { deadlineMs = 600_000, retries = 4 } = this.#options;
    const end = performance.now() + deadlineMs;
    for (let attempt = 0; ; attempt++) {
      const failure = await this.#attempt(path, body, end, signal);
      if (!("error" in failure)) return failure;
      const { error, isWorthAnother, waitMs = this.#backOff(attempt) } = failure;
      if (!isWorthAnother) throw error;
      if (attempt >= retries)
        throw this.#gaveUp(error, `after ${attempt + 1} ${attempt === 0 ? "attempt" : "attempts"}`);
      if (performance.now() + waitMs > end)
        throw this.#gaveUp(
          error,
          `the next attempt, in ${seconds(waitMs)}, would come after the deadline of ${seconds(deadlineMs)}`,
        );
      await wait(waitMs, undefined, { signal: signal as AbortSignal }).catch(() => {
        throw cancelled(this.id, signal);
      });
    }
  }
  #gaveUp(error: IroriError, why: string): IroriError {
    return new IroriError(error.code, {
      ...error.parts,
      next: `${why}; is it running, and is its address right?`,
      cause: error,
    });
  }

  /** Twice as long each time, and by chance between none and all of it: callers who failed together do not come back together. */
  #backOff(attempt: number): number {
    return Math.min(FIRST_WAIT_MS * 2 ** attempt, LONGEST_WAIT_MS) * this.#random.next();
  }

  async #attempt(path: string, body: object, end: number, signal: AbortSignal | undefined): Promise<Replied | Failure> {
    const { url, key, idleMs = 60_000 } = this.#options;
    const timer = new Timer(end, idleMs, signal);
    try {
      const response = await fetch(url.replace(/\/+$/, "") + path, {
        method: "POST",
        headers: { "content-type": "application/json", ...(key !== undefined && { authorization: `Bearer ${key}` }) },
        body: JSON.stringify(body),
        signal: timer.signal,
        redirect: "error",
      });
      if (response.ok && response.body)
        return { pieces: this.#pieces(response.body, timer), [Symbol.dispose]: () => timer.stop() };
      const text = await textOf(response, timer);
      timer.stop();
      return this.#refused(response, text);
    } catch (cause) {
      timer.stop();
      if (signal?.aborted) throw cancelled(this.id, signal);
      const error = this.#broken(cause, timer, "it could not be reached");
      return { error, isWorthAnother: !timer.isLate && !IN_VAIN.test(String(error.parts.got)) };
    }
  }

  async *#pieces(body: ReadableStream<Uint8Array>, timer: Timer): AsyncGenerator<string, void> {
    try {
      for await (const piece of body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)) {
        timer.rest(); // a reader who takes his time is not its silence
        yield piece;
        timer.heard();
      }
    } catch (cause) {
      if (timer.isCancelled) throw cancelled(this.id, timer.caller);
      throw this.#broken(cause, timer, "its answer was cut off");
    } finally {
      timer.stop();
    }
  }

  #broken(cause: unknown, timer: Timer, what: string): IroriError {
    const reason = (cause as { cause?: Error }).cause?.message ?? (cause as Error).message;
    const got = timer.lateBecause ?? reason;
    return new IroriError("io", {
      what: `${this.id}: ${timer.lateBecause === undefined ? what : "it was too slow"}`,
      got,
      cause,
    });
  }

  #refused(response: Response, text: string): Failure {
    const { status } = response;
    const codes: Readonly<Record<number, ErrorCode>> = {
      400: "bad-input",
      401: "bad-input",
      403: "bad-input",
      404: "not-found",
      413: "no-room",
      422: "bad-input",
      429: "busy",
      501: "unsupported",
      503: "busy",
    };
    const next =
      status === 401 || status === 403
        ? "name the environment variable of its key as keyVariable (docs/settings.md)"
        : undefined;
    const error = new IroriError(codes[status] ?? "io", {
      what: `${this.id}: status ${status}`,
      got: saidIn(text),
      next,
    });
    return { error, isWorthAnother: AGAIN.has(status), waitMs: retryAfter(response) };
  }
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;

/** Milliseconds, of a header in seconds or with a date. */
function retryAfter(response: Response): number | undefined {
  const said = response.headers.get("retry-after");
  if (said === null) return undefined;
  const ms = /^\d+(\.\d+)?$/.test(said) ? Number(said) * 1000 : Date.parse(said) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

async function textOf(response: Response, timer: Timer): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const piece of response.body ?? []) {
    timer.heard();
    text += decoder.decode(piece as Uint8Array, { stream: true });
    if (text.length > TOLD) break;
  }
  return text.slice(0, TOLD);
}

/** The sentence in a server's error, else its first line. */
function saidIn(text: string): string | undefined {
  try {
    const { error } = JSON.parse(text) as { error?: { message?: string } | string };
    if (typeof error === "string") return error;
    if (error?.message) return error.message;
  } catch {
    // not every server says it in JSON
  }
  return text.trim().split("\n")[0]?.slice(0, 200) || undefined;
}

/** Ends a call at its deadline, after a silence, or when its caller does. */
class Timer {
  readonly caller: AbortSignal | undefined;
  readonly #own = new AbortController();
  readonly #idleMs: number;
  readonly #deadline: NodeJS.Timeout;
  #idle: NodeJS.Timeout | undefined;
  lateBecause: string | undefined;

  constructor(end: number, idleMs: number, caller: AbortSignal | undefined) {
    this.caller = caller;
    this.#idleMs = idleMs;
    this.#deadline = setTimeout(() => this.#late("its deadline has passed"), Math.max(0, end - performance.now()));
    this.heard();
  }

  get signal(): AbortSignal {
    return this.caller ? AbortSignal.any([this.caller, this.#own.signal]) : this.#own.signal;
  }
  get isLate(): boolean {
    return this.lateBecause !== undefined;
  }
  get isCancelled(): boolean {
    return this.caller?.aborted === true;
  }

  heard(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#late(`nothing for ${seconds(this.#idleMs)}`), this.#idleMs);
  }
  rest(): void {
    clearTimeout(this.#idle);
  }
  #late(why: string): void {
    this.lateBecause = why;
    this.#own.abort();
  }
  /** Also ends what is still being read. */
  stop(): void {
    this.rest();
    clearTimeout(this.#deadline);
    this.#own.abort();
  }
}
