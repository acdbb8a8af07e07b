// One answer from request to last token: the model, the prompt's tokens, a slot, the stream. What every route builds on.
// It does not know HTTP or the shapes of any API.
import { cancelled, IroriError, NOT_WANTED } from "../base/mod.ts";
import type { Sampling } from "../engine/mod.ts";
import type { Format, Host, HostEvent, HostPrompt, HostRequest, ModelFacts } from "./host.ts";
import type { Lane } from "./lane-policy.ts";
import type { Lanes, Slot } from "./lanes.ts";
import { askRemote, mayGo, NO_ID } from "./remote-answers.ts";
import type { RemoteHold, Remotes } from "./remotes.ts";
import type { Load, Residents } from "./residents.ts";

export interface Limits {
  /** Tokens of an answer where the request does not say. */
  readonly defaultMaxTokens: number;
  readonly maxTokens: number;
  readonly promptTokens: number;
}

export interface AnswerRequest extends Pick<HostRequest, "interventions" | "adapter" | "capture"> {
  readonly model: string;
  readonly prompt: HostPrompt;
  readonly lane: Lane;
  readonly caller: string;
  /** Of the request that it belongs to, for logs and traces. */
  readonly requestId?: string | undefined;
  readonly seed: number;
  readonly sampling: Partial<Sampling>;
  readonly maxTokens?: number | undefined;
  readonly minTokens?: number | undefined;
  readonly stop?: readonly string[] | undefined;
  readonly ignoreEos?: boolean | undefined;
  readonly logprobs?: number | undefined;
  readonly format?: Format | undefined;
  readonly hasControl?: boolean | undefined;
  /** Milliseconds in which it must start. */
  readonly startWithinMs?: number | undefined;
}

type HostEnd = Extract<HostEvent, { readonly type: "end" }>;

/** How an answer came about, besides the answer. */
export interface About {
  readonly lane: Lane;
  readonly waitedMs: number;
  /** The load that it waited for, if any. */
  readonly load: Load | undefined;
  /** How often it stood still for others. */
  readonly pauses: number;
  /** The other server that made it, by its name in the settings. */
  readonly remote?: string | undefined;
  /** What was asked for and not done as asked. */
  readonly warnings: readonly string[];
}

export type AnswerEvent =
  /** The model is not open; it is being loaded. */
  | { readonly type: "loading" }
  /** Others are before it; how many, when asked. */
  | { readonly type: "queued"; readonly position: () => number }
  | { readonly type: "started"; readonly promptTokens: number; readonly facts: ModelFacts; readonly tail: string }
  | Exclude<HostEvent, HostEnd>
  | (HostEnd & { readonly about: About });

/** What is told of answers as they go: metrics and logs listen. */
export interface AnswerWatch {
  started?(request: AnswerRequest, slot: Pick<Slot, "waitedMs">): void;
  firstToken?(request: AnswerRequest, ms: number): void;
  token?(request: AnswerRequest, gapMs: number): void;
  ended?(request: AnswerRequest, end: HostEnd & { readonly about: About }): void;
  left?(request: AnswerRequest, phase: "queue" | "prefill" | "decode"): void;
  failed?(request: AnswerRequest, error: unknown): void;
}

export interface AnswersOptions {
  readonly host: Host;
  readonly residents: Residents;
  readonly lanes: Lanes;
  readonly limits: Limits;
  /** Other servers that take batch work. */
  readonly remotes?: Remotes | undefined;
  readonly now: () => number;
  readonly watch?: AnswerWatch | undefined;
}

export class Answers {
  readonly #options: AnswersOptions;
  readonly #open = new Set<AbortController>();
  #failure: Error | undefined;

  constructor(options: AnswersOptions) {
    this.#options = options;
  }

  /** Ends all answers, those that come too: their readers are told `failure`. */
  fail(failure: Error): void {
    this.#failure = failure;
    for (const left of this.#open) left.abort(failure);
  }

  /** Streams an answer; the last event is "end". A reader that stops, or the signal, frees everything within a step. */
  async *answer(request: AnswerRequest, signal?: AbortSignal): AsyncGenerator<AnswerEvent, void> {
    const { watch } = this.#options;
    if (this.#failure) throw this.#failure;
    const left = new AbortController();
    this.#open.add(left);
    const stop = signal ? AbortSignal.any([signal, left.signal]) : left.signal;
    let phase: "queue" | "prefill" | "decode" | undefined = "queue";
    try {
      for await (const event of this.#steps(request, stop)) {
        if (this.#failure) throw this.#failure;
        if (event.type === "started") phase = "prefill";
        else if (event.type === "token") phase = "decode";
        else if (event.type === "end" && event.stop !== "cancelled") phase = undefined;
        yield event;
      }
    } catch (error) {
      if (!stop.aborted) {
        phase = undefined;
        watch?.failed?.(request, error);
      }
      throw this.#failure ?? error;
    } finally {
      left.abort(NOT_WANTED);
      this.#open.delete(left);
      if (phase !== undefined) watch?.left?.(request, phase);
    }
  }

  async *#steps(request: AnswerRequest, signal: AbortSignal): AsyncGenerator<AnswerEvent, void> {
    const { remotes } = this.#options;
    const asked = this.#options.now();
    const failed = new Set<string>();
    if (remotes?.has(request.model) && mayGo(request)) {
      for (let hold = remotes.take(request.model); hold !== undefined; hold = remotes.take(request.model, failed)) {
        if (yield* this.#fromRemote(request, hold, { asked, signal })) return;
        failed.add(hold.remote);
      }
      yield* this.#here(request, { asked, signal, failed });
    } else yield* this.#here(request, { asked, signal });
  }

  /** An answer of this machine's; a place at a remote that is free sooner than a slot is taken instead. */
  async *#here(
    request: AnswerRequest,
    { asked, signal, failed }: { asked: number; signal: AbortSignal; failed?: Set<string> },
  ): AsyncGenerator<AnswerEvent, void> {
    const { residents, host, remotes } = this.#options;
    if (!residents.isOpen(request.model)) yield { type: "loading" };
    using resident = await residents.use(request.model, signal);
    const { ids, tail } = await host.encode(request.model, request.prompt);
    const { maxTokens, warnings } = this.#fitting(request, resident.facts, ids.length);
    if (signal.aborted) throw cancelled("the answer", signal);
    const queued = Promise.withResolvers<() => number>();
    const { lane, caller, startWithinMs } = request;
    const leaving = new AbortController();
    const both = AbortSignal.any([signal, leaving.signal]);
    const ask = { lane, caller, startWithinMs, signal: both, onQueued: queued.resolve };
    const acquiring = this.#options.lanes.acquire(ask);
    const elsewhere = failed && remotes?.next(request.model, failed, both);
    elsewhere?.catch(() => undefined); // told by the signal
    let hold: RemoteHold | undefined;
    try {
      const position = await Promise.race([acquiring.then(() => undefined), queued.promise]);
      if (position !== undefined) yield { type: "queued", position };
      const got = await Promise.race([acquiring, ...(elsewhere ? [elsewhere] : [])]);
      if ("remote" in got) {
        hold = got;
        leaving.abort(NOT_WANTED);
      } else {
        const slot = got;
        yield { type: "started", promptTokens: ids.length, facts: resident.facts, tail };
        const about = { lane, load: resident.load, warnings };
        yield* this.#stream({ ...request, maxTokens }, ids, { slot, about, asked, signal });
      }
    } finally {
      leaving.abort(NOT_WANTED);
      acquiring.then(
        (slot) => slot[Symbol.dispose](),
        () => undefined, // it was told above
      );
      // one that came when the slot had come already
      elsewhere?.then(
        (late) => late !== hold && late.done("left"),
        () => undefined,
      );
    }
    if (hold === undefined || (yield* this.#fromRemote(request, hold, { asked, signal }))) return;
    yield* this.#here(request, { asked, signal, failed: failed?.add(hold.remote) ?? new Set() });
  }

  /** An answer of another server's, told when it is whole; false where it was not to be had there. */
  async *#fromRemote(
    request: AnswerRequest,
    hold: RemoteHold,
    { asked, signal }: { asked: number; signal: AbortSignal },
  ): AsyncGenerator<AnswerEvent, boolean> {
    const { host, limits, watch, now } = this.#options;
    const { model, lane, seed } = request;
    const maxTokens = Math.min(request.maxTokens ?? limits.defaultMaxTokens, limits.maxTokens);
    const begun = now();
    const made = await askRemote(hold, { ...request, maxTokens }, signal);
    if (signal.aborted) throw cancelled("the answer", signal);
    if (made === undefined) return false;
    const { tokens, end } = made;
    const facts = await host.measure(model);
    const waitedMs = begun - asked;
    watch?.started?.(request, { waitedMs });
    watch?.firstToken?.(request, now() - asked);
    yield { type: "started", promptTokens: end.promptTokens ?? 0, facts, tail: "" };
    yield* tokens;
    const { text, stop, firstTokenMs, totalMs } = end;
    const ids = end.ids ?? Array.from({ length: end.tokens ?? tokens.length }, () => NO_ID);
    const decodeMs = totalMs - firstTokenMs;
    const timings = {
      ...{ openMs: 0, prefillMs: firstTokenMs, firstTokenMs, decodeMs },
      tokensPerSecond: decodeMs > 0 ? (1000 * ids.length) / decodeMs : 0,
    };
    const whole: HostEnd = {
      ...{ type: "end", text, ids, stop, seed, timings },
      ...{ promptTokens: end.promptTokens ?? 0, reusedTokens: 0, hasBos: false },
    };
    const about = { lane, waitedMs, load: undefined, pauses: 0, remote: hold.remote, warnings: [] };
    watch?.ended?.(request, { ...whole, about });
    yield { ...whole, about };
    return true;
  }

  async *#stream(
    request: AnswerRequest & { readonly maxTokens: number },
    ids: readonly number[],
    given: { slot: Slot; about: Pick<About, "lane" | "load" | "warnings">; asked: number; signal: AbortSignal },
  ): AsyncGenerator<AnswerEvent, void> {
    const { host, watch, now } = this.#options;
    const { slot, about, asked, signal } = given;
    watch?.started?.(request, slot);
    const { model, prompt: _, lane, caller: __, startWithinMs: ___, requestId: ____, ...rest } = request;
    const urgency = lane === "interactive" ? 1 : 0;
    let last: number | undefined;
    for await (const event of host.generate(model, { ...rest, ids, urgency }, { signal, pause: slot.pause })) {
      if (event.type === "end") {
        const end = { ...event, about: { ...about, waitedMs: slot.waitedMs, pauses: slot.pauses() } };
        slot[Symbol.dispose]();
        watch?.ended?.(request, end);
        yield end;
        return;
      }
      if (event.type === "token") {
        const at = now();
        if (last === undefined) {
          slot.firstToken();
          watch?.firstToken?.(request, at - asked);
        } else watch?.token?.(request, at - last);
        last = at;
      }
      yield event;
    }
    throw new IroriError("io", { what: "the answer ended without its last record", next: "try again" });
  }

  /** The tokens that an answer may have. Throws "bad-input" for a prompt that leaves no room for one. */
  #fitting({ maxTokens: asked }: AnswerRequest, { model, context }: ModelFacts, prompt: number) {
    const { limits } = this.#options;
    const most = Math.min(context - 1, limits.promptTokens);
    if (prompt > most) throw new ContextError(model, prompt, most);
    const room = context - prompt;
    const warnings: string[] = [];
    const wanted = asked ?? limits.defaultMaxTokens;
    const maxTokens = Math.min(wanted, limits.maxTokens, room);
    if (asked !== undefined && maxTokens < asked)
      warnings.push(
        `max_tokens ${asked} is cut to ${maxTokens}: ${maxTokens === room ? `the context has ${context} tokens` : "the server's limit"}`,
      );
    return { maxTokens, warnings };
  }
}

/** A prompt longer than the model's context. */
export class ContextError extends IroriError {
  constructor(model: string, got: number, most: number) {
    super("bad-input", {
      what: `the prompt does not fit the context of ${model}`,
      got: `${got.toLocaleString("en")} tokens`,
      wanted: `at most ${most.toLocaleString("en")}`,
      next: "shorten it; `irori summarize` reads texts of any length",
    });
  }
}
