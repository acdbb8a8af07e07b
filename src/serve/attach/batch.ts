// A model of a running server as a provider of answers that have time. It does not know how the server is asked.
import { setTimeout as wait } from "node:timers/promises";
import { IroriError } from "../../base/mod.ts";
import type { Generator, GeneratorEvent, GeneratorRequest } from "../../engine/mod.ts";
import type { AnswerEvent } from "../answers.ts";
import type { TokenChance } from "../host.ts";
import type { Attached } from "./client.ts";
import { SoFar } from "./so-far.ts";

/** Tries in a row for an answer of a server that is busy, and the wait between two of them. */
const [MOST_TRIES, TRY_MS] = [600, 1000];

/** Answers in the batch lane; a full one, and an engine that died, are waited for, and no token is told twice. */
export const batchGenerator = (attached: Attached): Generator => ({
  id: `the server at ${attached.record.url}`,
  model: attached.model,
  generate: (request, { signal } = {}) => patiently(attached, request, signal),
  [Symbol.asyncDispose]: async () => undefined,
});

async function* patiently(
  attached: Attached,
  request: GeneratorRequest,
  signal: AbortSignal | undefined,
): AsyncGenerator<GeneratorEvent, void> {
  const so = new SoFar();
  try {
    for (let tries = 1; ; tries++) {
      try {
        yield* goingOn(attached.answer(request, { signal, lane: "batch" }), so);
        return;
      } catch (error) {
        if (!(error instanceof IroriError && error.code === "busy") || tries === MOST_TRIES) throw error;
        await wait(TRY_MS, undefined, signal && { signal });
      }
    }
  } catch (error) {
    if (!signal?.aborted) throw error;
  }
  const { text, ids, promptTokens, firstTokenMs, totalMs } = so;
  const told = { text, ids, promptTokens, tokens: ids.length, firstTokenMs, totalMs };
  yield { type: "end", ...told, stop: "cancelled", seed: request.seed };
}

/** What comes behind what was told before: the same request and seed give the same tokens. */
async function* goingOn(events: AsyncIterable<AnswerEvent>, so: SoFar): AsyncGenerator<GeneratorEvent, void> {
  const told = so.ids.length;
  let tokens = 0;
  for await (const event of events) {
    if (event.type === "token" && ++tokens <= told) continue;
    so.note(event);
    const next = toldOf(event);
    if (next !== undefined) yield next;
  }
}

function toldOf(event: AnswerEvent): GeneratorEvent | undefined {
  if (event.type === "prefill") return event;
  if (event.type === "token") {
    const { id, text, chance } = event;
    return { type: "token", id, text, ...(chance && { logprobs: { ...of(chance), top: chance.top.map(of) } }) };
  }
  if (event.type !== "end") return undefined;
  const { text, ids, promptTokens, stop, seed, timings } = event;
  const { firstTokenMs, decodeMs } = timings;
  const totalMs = firstTokenMs + decodeMs;
  return { type: "end", text, ids, promptTokens, tokens: ids.length, stop, seed, firstTokenMs, totalMs };
}

/** JSON has no infinity: it is null there. */
const of = ({ id, text, logprob }: TokenChance) => ({ id, logprob: logprob ?? -Infinity, text });
