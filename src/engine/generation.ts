// One answer: prompt in chunks, then a token a step, as a stream of plain data.
// It does not know who asks, where the model came from or what else runs.
import { cancelled, IroriError, seededRandom } from "../base/mod.ts";
import type { Numbers } from "../hooks/mod.ts";
import type { Config } from "../models/mod.ts";
import type { Tokenizer } from "../text/mod.ts";
import { CHUNK, KvCache } from "./kv-cache.ts";
import type { Step } from "./programs.ts";
import { Row, type StepExtras } from "./row.ts";
import { type Candidates, checkSampling, type Sampling, sample } from "./sampling.ts";
import { StopText } from "./stop-text.ts";

export interface GenerationRequest {
  readonly ids: readonly number[];
  readonly sampling: Sampling;
  readonly seed: number;
  readonly maxTokens: number;
  /** Texts that end the answer; they are not part of it. */
  readonly stop: readonly string[];
  /** Go on after an end-of-text token. */
  readonly ignoreEos: boolean;
}

export type StopReason = "length" | "stop" | "cancelled";

export interface Timings {
  /** What this answer waited for the model to open (next to nothing where it was open). */
  readonly openMs: number;
  readonly prefillMs: number;
  readonly decodeMs: number;
  /** From the request to the first token, opening included. */
  readonly firstTokenMs: number;
  /** Tokens after the first by the time they took. */
  readonly tokensPerSecond: number;
}

export interface Answer {
  readonly text: string;
  readonly ids: readonly number[];
  readonly promptTokens: number;
  /** The prompt began with the beginning-of-text token. */
  readonly hasBos: boolean;
  readonly stop: StopReason;
  readonly seed: number;
  readonly timings: Timings;
}

export type GenerationEvent =
  | { readonly type: "prefill"; readonly done: number; readonly total: number }
  /** Values at HookPoints of the tokens that were just fed, the first of them at place `from`: [1, tokens, …]. */
  | { readonly type: "captured"; readonly from: number; readonly tensors: Readonly<Record<string, Numbers>> }
  /** A token; its text may be empty while a character or a stop text is not complete. */
  | { readonly type: "token"; readonly id: number; readonly text: string }
  | ({ readonly type: "end" } & Answer);

export interface GenerationSetting {
  readonly model: string;
  readonly config: Config;
  /** Absent: the answer is token ids alone. */
  readonly tokenizer: Tokenizer | undefined;
  readonly step: Step;
  readonly openMs: number;
  /** What keeps the step open, let go when the answer has ended. */
  readonly held?: Disposable | undefined;
  /** What the step has beside the usual inputs and outputs, for an answer to a prompt of so many tokens. */
  readonly extras?: ((promptTokens: number) => StepExtras) | undefined;
  /** Runs one step when it is this generation's turn. */
  readonly inTurn: <T>(step: () => Promise<T>) => Promise<T>;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
}

/** Refuses a prompt that leaves no room for an answer; the context that the request needs. */
export function contextOf(
  { model, config }: Pick<GenerationSetting, "model" | "config">,
  ids: number,
  maxTokens: number,
): number {
  if (ids === 0) throw new IroriError("bad-input", { what: "the prompt is empty", wanted: "at least one token" });
  if (ids >= config.maxPositions)
    throw new IroriError("no-room", {
      what: `the prompt is longer than the context of ${model}`,
      got: `${ids.toLocaleString("en")} tokens`,
      wanted: `at most ${(config.maxPositions - 1).toLocaleString("en")}`,
      next: "shorten the prompt",
    });
  return Math.min(ids + maxTokens, config.maxPositions);
}

function* captured({ captured: tensors }: Row, from: number): Generator<GenerationEvent> {
  if (Object.keys(tensors).length > 0) yield { type: "captured", from, tensors };
}

/** Streams an answer. An aborted signal ends it with stop "cancelled" and the tokens so far, within one step. */
export async function* generate(
  setting: GenerationSetting,
  request: GenerationRequest,
  signal?: AbortSignal,
): AsyncGenerator<GenerationEvent, void> {
  using _held = setting.held;
  checkSampling(request.sampling);
  const { config, tokenizer, now } = setting;
  const start = now();
  const context = contextOf(setting, request.ids.length, request.maxTokens);
  using cache = new KvCache(config, context);
  using row = new Row(setting.step, cache, config.vocabSize, setting.extras?.(request.ids.length));
  const random = seededRandom(request.seed);
  const ids: number[] = [];
  const seen = new Set(request.ids);
  const stream = tokenizer?.stream();
  const stopText = new StopText(request.stop);
  let text = "";
  let stop: StopReason = "length";
  let firstAt: number | undefined;
  const step = (tokens: readonly number[]) =>
    setting.inTurn(() => row.step(tokens, request.sampling.temperature, signal));

  let candidates: Candidates | undefined;
  try {
    for (let at = 0; at < request.ids.length; at += CHUNK) {
      const chunk = request.ids.slice(at, at + CHUNK);
      candidates = await step(chunk);
      yield* captured(row, at);
      yield { type: "prefill", done: at + chunk.length, total: request.ids.length };
    }
    const room = Math.min(request.maxTokens, context - request.ids.length);
    while (ids.length < room) {
      if (signal?.aborted) throw cancelled("the answer", signal);
      if (ids.length > 0) {
        candidates = await step(ids.slice(-1));
        yield* captured(row, request.ids.length + ids.length - 1);
      }
      const id = sample(candidates as Candidates, request.sampling, seen, random);
      firstAt ??= now();
      ids.push(id);
      seen.add(id);
      const isEnd = !request.ignoreEos && (tokenizer?.eosIds.includes(id) ?? false);
      const piece = isEnd ? "" : stopText.push(stream?.push(id) ?? "");
      text += piece;
      yield { type: "token", id, text: piece };
      if (isEnd || stopText.isFound) {
        stop = "stop";
        break;
      }
    }
  } catch (error) {
    if (!(error instanceof IroriError) || error.code !== "cancelled") throw error;
    stop = "cancelled";
  }
  const rest = stopText.isFound ? "" : stopText.push(stream?.end() ?? "") + stopText.end();
  const end = now();
  const decodeMs = firstAt === undefined ? 0 : end - firstAt;
  yield {
    type: "end",
    text: text + rest,
    ids,
    promptTokens: request.ids.length,
    hasBos: tokenizer?.bosId !== undefined && request.ids[0] === tokenizer.bosId,
    stop,
    seed: request.seed,
    timings: {
      openMs: setting.openMs,
      prefillMs: (firstAt ?? end) - start,
      decodeMs,
      firstTokenMs: setting.openMs + (firstAt ?? end) - start,
      tokensPerSecond: ids.length > 1 && decodeMs > 0 ? ((ids.length - 1) * 1000) / decodeMs : 0,
    },
  };
}
