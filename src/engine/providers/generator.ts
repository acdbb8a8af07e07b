// What every provider of answers is: plain data in and a stream of plain data out, so that the same interface works in
// process, in a child process and over HTTP. It does not know who implements it.
import type { Inside } from "../changed-step.ts";
import type { StopReason } from "../generation.ts";
import type { GenerateRequest } from "../lease.ts";

/**
 * What is asked: the plain data of a lease's request. A member refuses with "unsupported" what would change the answer and it
 * cannot do; hints (`speculate`, `urgency`) it may leave aside.
 */
export type GeneratorRequest = Omit<GenerateRequest, keyof Inside | "constraint" | "pause">;

export interface GeneratorCall {
  readonly signal?: AbortSignal | undefined;
}

export interface TokenChance {
  /** Absent where the provider tells texts alone. */
  readonly id?: number;
  readonly text: string;
  /** ln p under the model itself. */
  readonly logprob: number;
}

export interface TokenChoice extends TokenChance {
  /** The likeliest tokens, descending. */
  readonly top: readonly TokenChance[];
}

/** The whole answer. */
export interface Generated {
  /** Begins with the texts of all "token" events; what no token event had, of a character that was never complete, stands behind. */
  readonly text: string;
  /** Absent where the provider tells texts alone. */
  readonly ids?: readonly number[];
  /** Undefined where the provider does not say. */
  readonly promptTokens: number | undefined;
  readonly tokens: number | undefined;
  readonly stop: StopReason;
  readonly seed: number;
  /** From the request to the first token, opening and waiting included; 0 where none came. */
  readonly firstTokenMs: number;
  readonly totalMs: number;
}

export type GeneratorEvent =
  | { readonly type: "prefill"; readonly done: number; readonly total: number }
  /** A token, or several in one where a server sends them so; the text may be empty. */
  | { readonly type: "token"; readonly text: string; readonly id?: number; readonly logprobs?: TokenChoice }
  | ({ readonly type: "end" } & Generated);

export interface Generator extends AsyncDisposable {
  /** Who it is, as errors name it. */
  readonly id: string;
  readonly model: string;
  /**
   * Streams an answer. The last event is "end", also when the signal aborts (then with stop "cancelled" and what came until
   * then); a reader that stops before it ends the work. Errors are IroriErrors that name the provider.
   */
  generate(request: GeneratorRequest, call?: GeneratorCall): AsyncIterable<GeneratorEvent>;
}
