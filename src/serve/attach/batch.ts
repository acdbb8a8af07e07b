// A model of a running server as a provider of answers that have time. It does not know how the server is asked.
import type { Generator, GeneratorEvent, GeneratorRequest } from "../../engine/mod.ts";
import type { AnswerEvent } from "../answers.ts";
import type { TokenChance } from "../host.ts";
import type { Attached } from "./client.ts";
import { ServerError } from "./server-error.ts";
import { SoFar } from "./so-far.ts";

/** Milliseconds before a server that cannot answer now is asked again. */
const AGAIN_MS = 1000;
/** Times in a row that an engine may die under one answer, or find no room for it, with no token come meanwhile. */
const MOST_LOST = 3;
const MOST_WITHOUT_ROOM = 60;

export interface Patience {
  /** Waits; rejects when the signal aborts. */
  readonly wait: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
  /** Told once for each answer that has to wait, with the reason. */
  readonly onWait?: ((error: ServerError) => void) | undefined;
}

/**
 * Answers in the batch lane. A full one is waited for as long as it takes; an engine that died, and room, for a while; no token is
 * told twice.
 */
export const batchGenerator = (attached: Attached, patience: Patience): Generator => ({
  id: `the server at ${attached.record.url}`,
  model: attached.model,
  generate: (request, { signal } = {}) => patiently(attached, patience, request, signal),
  [Symbol.asyncDispose]: async () => undefined,
});

async function* patiently(
  attached: Attached,
  { wait, onWait }: Patience,
  request: GeneratorRequest,
  signal: AbortSignal | undefined,
): AsyncGenerator<GeneratorEvent, void> {
  const so = new SoFar();
  let isTold = false;
  try {
    for (let [lost, full] = [0, 0]; ; ) {
      const before = so.ids.length;
      try {
        yield* goingOn(attached.answer(request, { signal, lane: "batch" }), so);
        return;
      } catch (error) {
        if (!(error instanceof ServerError) || error.passing === undefined) throw error;
        if (so.ids.length > before) [lost, full] = [0, 0];
        if (error.passing === "lost" && ++lost >= MOST_LOST) throw error;
        if (error.passing === "full" && ++full >= MOST_WITHOUT_ROOM) throw error;
        if (!isTold) onWait?.(error);
        isTold = true;
        await wait(AGAIN_MS, signal);
      }
    }
  } catch (error) {
    if (!signal?.aborted) throw error;
  }
  const { text, ids, promptTokens, firstTokenMs, totalMs } = so;
  const cut = { text, ids, promptTokens, tokens: ids.length, firstTokenMs, totalMs };
  yield { type: "end", ...cut, stop: "cancelled", seed: request.seed };
}

/** What comes behind what was told before: the same request and seed give the same tokens. */
async function* goingOn(events: AsyncIterable<AnswerEvent>, so: SoFar): AsyncGenerator<GeneratorEvent, void> {
  const before = so.ids.length;
  let tokens = 0;
  for await (const event of events) {
    if (event.type === "token" && ++tokens <= before) continue;
    so.note(event);
    const next = generatorEventOf(event);
    if (next !== undefined) yield next;
  }
}

function generatorEventOf(event: AnswerEvent): GeneratorEvent | undefined {
  if (event.type === "prefill") return event;
  if (event.type === "token") {
    const { id, text, chance } = event;
    return {
      type: "token",
      id,
      text,
      ...(chance && { logprobs: { ...chanceOf(chance), top: chance.top.map(chanceOf) } }),
    };
  }
  if (event.type !== "end") return undefined;
  const { text, ids, promptTokens, stop, seed, timings, about } = event;
  const { firstTokenMs, decodeMs } = timings;
  const told = { text, promptTokens, tokens: ids.length, firstTokenMs, totalMs: firstTokenMs + decodeMs };
  // another server's answer has no ids
  return { type: "end", ...told, ...(about.remote === undefined && { ids }), stop, seed };
}

/** JSON has no infinity: it is null there. */
const chanceOf = ({ id, text, logprob }: TokenChance) => ({ id, logprob: logprob ?? -Infinity, text });
