// A batch answer made by another server: its whole text is held back until it is whole, so that a server that fails in the middle is
// taken over from the beginning, and nobody reads a word twice. It does not know which server, nor lanes.
import { IroriError } from "../base/mod.ts";
import type { Generated, GeneratorRequest } from "../engine/mod.ts";
import type { AnswerRequest } from "./answers.ts";
import type { HostToken } from "./host.ts";
import type { RemoteHold, RemoteOutcome } from "./remotes.ts";

/** Whether another server could be asked for the same: what its API cannot say, or says otherwise, is done here. */
export function mayGo({ lane, format, hasControl, logprobs, prompt, ...inside }: AnswerRequest): boolean {
  if (lane !== "batch" || format !== undefined || hasControl || logprobs !== undefined) return false;
  const { adapter, interventions, capture } = inside;
  if (adapter !== undefined || interventions !== undefined || capture !== undefined) return false;
  if ("ids" in prompt) return false; // another vocabulary may be there
  if ("text" in prompt) return prompt.control !== true;
  return prompt.tools === undefined && Object.keys(prompt.values ?? {}).length === 0;
}

export interface RemoteAnswer {
  readonly tokens: readonly HostToken[];
  readonly end: Generated;
}

/**
 * The whole answer; undefined where that server failed, had no room or refused the request, so that another is asked, and at last
 * this machine, which says why. Throws "cancelled".
 */
export async function askRemote(
  { generator, done }: RemoteHold,
  request: AnswerRequest & { readonly maxTokens: number },
  signal: AbortSignal,
): Promise<RemoteAnswer | undefined> {
  const { prompt, seed, sampling, maxTokens, minTokens, stop, ignoreEos } = request;
  const asked: GeneratorRequest = {
    prompt: "messages" in prompt ? { messages: prompt.messages } : (prompt as { readonly text: string }),
    ...{ seed, sampling, maxTokens },
    ...(minTokens !== undefined && { minTokens }),
    ...(stop !== undefined && { stop }),
    ...(ignoreEos !== undefined && { ignoreEos }),
  };
  const tokens: HostToken[] = [];
  let outcome: RemoteOutcome = "left";
  try {
    for await (const event of generator.generate(asked, { signal })) {
      if (event.type === "token") tokens.push({ type: "token", id: event.id ?? NO_ID, text: event.text });
      if (event.type !== "end") continue;
      if (signal.aborted) break;
      outcome = "answered";
      return { tokens, end: event };
    }
    if (!signal.aborted) outcome = "failed";
    return undefined;
  } catch (error) {
    if (signal.aborted) throw error;
    outcome = isFull(error) ? "full" : isAboutRequest(error) ? "left" : "failed";
    if (error instanceof IroriError) return undefined;
    throw error;
  } finally {
    done(outcome);
  }
}

/** Servers tell texts, not the ids of tokens. */
export const NO_ID = -1;

/** It is well and has no room. */
const isFull = (error: unknown): boolean => error instanceof IroriError && error.code === "busy";

/** What it says of the request says nothing of it. */
const isAboutRequest = (error: unknown): boolean =>
  error instanceof IroriError && ["bad-input", "unsupported", "no-room"].includes(error.code);
