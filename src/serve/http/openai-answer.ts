// What OpenAI's routes have in common on the way back: usage, reasons, log-probabilities, and what Irori adds.
// It does not know routes.
import type { About } from "../answers.ts";
import type { EndEvent } from "../choices.ts";
import type { TokenChance } from "../host.ts";

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
  readonly completion_tokens_details: { readonly reasoning_tokens: number };
}

/** Of several answers to one prompt. */
export function usageOf(ends: readonly (EndEvent & { readonly reasoningTokens?: number })[], prompts = 1): Usage {
  const perPrompt = Math.max(1, ends.length / prompts);
  const prompt = Math.round(ends.reduce((sum, { promptTokens }) => sum + promptTokens, 0) / perPrompt);
  const completion = ends.reduce((sum, { ids }) => sum + ids.length, 0);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: Math.max(0, ...ends.map(({ reusedTokens }) => reusedTokens)) },
    completion_tokens_details: {
      reasoning_tokens: ends.reduce((sum, { reasoningTokens = 0 }) => sum + reasoningTokens, 0),
    },
  };
}

export const finishReason = ({ stop }: EndEvent, calls = 0): string =>
  calls > 0 ? "tool_calls" : stop === "stop" ? "stop" : "length";

/** What Irori tells beside the standard members. */
export function aboutOf(ends: readonly (EndEvent & { readonly memory?: object })[], warnings: readonly string[]) {
  const abouts = ends.map(({ about }) => about);
  const load = abouts.find((about) => about.load)?.load;
  const [first] = ends;
  return {
    lane: abouts[0]?.lane,
    seed: first?.seed,
    queue_ms: round(Math.max(0, ...abouts.map(({ waitedMs }) => waitedMs))),
    ...(load && { load: { cause: load.cause, ms: round(load.ms) } }),
    prefill_ms: round(first?.timings.prefillMs ?? 0),
    decode_ms: round(Math.max(0, ...ends.map(({ timings }) => timings.decodeMs))),
    ...pausesOf(abouts),
    ...(first?.memory && { memory: first.memory }),
    ...(abouts[0]?.remote !== undefined && { remote: abouts[0].remote }),
    ...(ends.some(({ stop }) => stop === "no-room") && {
      stopped: "the memory that a longer answer needs is not free",
    }),
    warnings: [...new Set([...warnings, ...abouts.flatMap((about) => about.warnings)])],
  };
}
function pausesOf(abouts: readonly About[]) {
  const pauses = abouts.reduce((sum, about) => sum + about.pauses, 0);
  return pauses > 0 ? { pauses } : {};
}
const round = (ms: number): number => Math.round(ms * 10) / 10;

/** A token's chances in the words of the chat API. */
export const chanceOf = ({ top, ...own }: TokenChance & { readonly top: readonly TokenChance[] }) => ({
  ...chance(own),
  top_logprobs: top.map(chance),
});
const chance = ({ text, logprob, bytes }: TokenChance) => ({ token: text, logprob: finite(logprob), bytes });
/** JSON has no infinities; OpenAI writes −9999 for what cannot come. */
export const finite = (logprob: number): number => (logprob === -Infinity ? -9999 : logprob);
