// One answer on its way out: pieces to stdout as they come, a line of figures afterwards.
// It does not know how an answer is made, nor prompts.
import type {
  Answer,
  Choice,
  Generated,
  GenerateRequest,
  Generator,
  GeneratorRequest,
  Lease,
  TokenChoice,
} from "../engine/mod.ts";
import { print } from "./output.ts";

export interface StreamOptions {
  readonly signal: AbortSignal;
  /** Nothing is written while the answer is made. */
  readonly isQuiet?: boolean;
  /** The first token is there. */
  readonly onFirst?: () => void;
}

/** A lease, or a model at a server that answers like one. */
export type Answering = Pick<Lease, "generate" | "model"> & Partial<Pick<Lease, "warm">>;

export interface ToldAnswer extends Answer {
  /** Of each token, where they were asked for. */
  readonly logprobs?: readonly Choice[];
}

/** Writes the answer as it is made, and a newline after it. */
export async function streamAnswer(
  lease: Pick<Lease, "generate">,
  request: GenerateRequest,
  options: StreamOptions,
): Promise<ToldAnswer> {
  const { signal, isQuiet = false, onFirst } = options;
  let tokens = 0;
  let written = 0;
  let answer: Answer | undefined;
  const logprobs: Choice[] = [];
  for await (const event of lease.generate(request, { signal })) {
    if (event.type === "token" && tokens++ === 0) onFirst?.();
    if (event.type === "token" && event.text !== "" && !isQuiet) print(event.text);
    if (event.type === "token") written += event.text.length;
    if (event.type === "token" && event.logprobs) logprobs.push(event.logprobs);
    if (event.type === "end") answer = event;
  }
  if (answer === undefined) throw new Error("the answer ended without its end event");
  if (!isQuiet) print(`${answer.text.slice(written)}\n`);
  return request.logprobs === undefined ? answer : { ...answer, logprobs };
}

export interface GivenAnswer extends Generated {
  readonly logprobs?: readonly TokenChoice[];
}

/** An answer of any provider, of which `onText` is told while it is made. */
export async function answerOf(
  generator: Generator,
  request: GeneratorRequest,
  signal: AbortSignal,
  onText?: (text: string) => void,
): Promise<GivenAnswer> {
  let answer: Generated | undefined;
  const logprobs: TokenChoice[] = [];
  for await (const event of generator.generate(request, { signal })) {
    if (event.type === "token" && event.text !== "") onText?.(event.text);
    if (event.type === "token" && event.logprobs) logprobs.push(event.logprobs);
    if (event.type === "end") answer = event;
  }
  if (answer === undefined) throw new Error(`the answer of ${generator.id} ended without its end event`);
  return request.logprobs === undefined ? answer : { ...answer, logprobs };
}

/** "24 tokens · 310 tokens/s · first token after 104 ms (opening 71 ms) · seed 7". */
export function summary({ ids, promptTokens, stop, seed, timings }: Answer): string {
  const { firstTokenMs, openMs, tokensPerSecond } = timings;
  const opening = openMs >= 1 ? ` (opening ${openMs.toFixed(0)} ms)` : "";
  const parts = [`prompt ${promptTokens}, answer ${ids.length} tokens`];
  if (tokensPerSecond > 0) parts.push(`${tokensPerSecond.toFixed(0)} tokens/s`);
  if (ids.length > 0) parts.push(`first token after ${firstTokenMs.toFixed(0)} ms${opening}`);
  parts.push(`seed ${seed}`);
  if (stop !== "stop") parts.push(stop === "length" ? "cut at its longest" : "cancelled");
  return parts.join(" · ");
}
