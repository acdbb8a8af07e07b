// POST /v1/chat/completions: one choice or several, whole or streamed, with calls, reasoning and log-probabilities.
// It does not know lanes or models' insides.
import type { ChatPart } from "../chat-parts.ts";
import {
  type ChatAsk,
  type Choice,
  type ChoiceEvent,
  choicesOf,
  type DoneEvent,
  type EndEvent,
  wholeChoices,
} from "../choices.ts";
import { chatOf } from "./chat-ask.ts";
import { aboutOf, chanceOf, finishReason, usageOf } from "./openai-answer.ts";
import { type ChatBody, chatSchema } from "./openai-schema.ts";
import { bodyOf, type Ctx, leavingOf, type Serving, streamOf } from "./serving.ts";

export async function postChat(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, chatSchema);
  const ask = await chatOf(serving, c, body);
  const head = {
    id: `chatcmpl-${serving.unique()}`,
    created: Math.floor(serving.clock() / 1000),
    model: ask.request.model,
  };
  const leaving = leavingOf(c);
  const events = choicesOf(serving.answers, ask, leaving);
  if (body.stream)
    return streamOf(serving, c, { events, leaving, chunks: (from) => chunksOf(from, ask, { body, head }) });
  const choices = await wholeChoices(events);
  const ends = choices.map(({ end }) => end);
  return c.json({
    ...{ id: head.id, object: "chat.completion", created: head.created, model: head.model },
    choices: choices.map(wholeChoice),
    usage: usageOf(ends),
    irori: aboutOf(ends, ask.warnings),
  });
}

function wholeChoice({ text, reasoning, calls, chances, end }: Choice, index: number) {
  const message = {
    role: "assistant",
    content: text === "" && calls.length > 0 ? null : text,
    refusal: null,
    ...(reasoning !== "" && { reasoning_content: reasoning }),
    ...(calls.length > 0 && {
      tool_calls: calls.map((call, i) => ({ id: callId(end, index, i), type: "function", function: call })),
    }),
  };
  const logprobs = chances.length > 0 ? { content: chances.map(chanceOf), refusal: null } : null;
  return { index, message, logprobs, finish_reason: finishReason(end, calls.length) };
}

/** The same in a stream and whole, and another for every call. */
const callId = ({ seed, promptTokens }: Pick<EndEvent, "seed" | "promptTokens">, index: number, call: number): string =>
  `call_${seed.toString(36)}_${promptTokens.toString(36)}_${index}_${call}`;

interface Framed {
  readonly body: ChatBody;
  readonly head: { readonly id: string; readonly created: number; readonly model: string };
}

/** The chunks of a stream, "[DONE]" last. */
async function* chunksOf(
  events: AsyncGenerator<readonly [ChoiceEvent, number], void>,
  ask: ChatAsk,
  { body, head }: Framed,
): AsyncGenerator<unknown, void> {
  const isUsageWanted = body.stream_options?.include_usage === true;
  const chunk = (choices: readonly unknown[], more: object = {}) => ({
    ...{ id: head.id, object: "chat.completion.chunk", created: head.created, model: head.model },
    ...{ choices, ...(isUsageWanted && { usage: null }), ...more },
  });
  const choice = (index: number, delta: object, more: object = {}) => ({
    ...{ index, delta, logprobs: null, finish_reason: null, ...more },
  });
  const ends: DoneEvent[] = [];
  const prompts = new Map<number, number>();
  for await (const [event, index] of events) {
    if (event.type === "started") {
      prompts.set(index, event.promptTokens);
      yield chunk([choice(index, { role: "assistant", content: "" })]);
    } else if (event.type === "parts") {
      const id = { seed: ask.request.seed + index, promptTokens: prompts.get(index) ?? 0 };
      const deltas = event.parts.map((part) => deltaOf(part, (call) => callId(id, index, call)));
      if (deltas.length === 0) deltas.push({}); // log-probabilities of a token without text yet
      for (const [i, delta] of deltas.entries()) {
        const logprobs = i === 0 && event.chance ? { content: [chanceOf(event.chance)], refusal: null } : null;
        yield chunk([choice(index, delta, { logprobs })]);
      }
    } else if (event.type === "done") {
      ends.push(event.end);
      const isLast = ends.length === ask.choices;
      const about = isLast ? { irori: aboutOf(ends, ask.warnings) } : {};
      yield chunk([choice(index, {}, { finish_reason: finishReason(event.end, event.calls) })], about);
    }
  }
  if (isUsageWanted) yield chunk([], { usage: usageOf(ends) });
  yield "[DONE]";
}

function deltaOf(part: ChatPart, idOf: (call: number) => string): object {
  if (part.kind === "text") return { content: part.text };
  if (part.kind === "reasoning") return { reasoning_content: part.text };
  const { index } = part;
  if (part.kind === "arguments") return { tool_calls: [{ index, function: { arguments: part.text } }] };
  const called = { name: part.name, arguments: "" };
  return { tool_calls: [{ index, id: idOf(index), type: "function", function: called }] };
}
