// POST /v1/chat/completions: one choice or several, whole or streamed, with calls, reasoning and log-probabilities.
// It does not know lanes or models' insides.
import type { AnswerRequest } from "../answers.ts";
import type { ChatPart } from "../chat-parts.ts";
import { type ChatAsk, type Choice, type ChoiceEvent, choicesOf, type EndEvent, wholeChoices } from "../choices.ts";
import { HttpError } from "./errors.ts";
import { aboutOf, chanceOf, finishReason, usageOf } from "./openai-answer.ts";
import { commonOf, formatOf, messagesOf, toolsOf, toolText } from "./openai-request.ts";
import { type ChatBody, chatSchema, type Tool } from "./openai-schema.ts";
import { bodyOf, type Ctx, leavingOf, modelOf, type Serving, streamOf, unknownFields } from "./serving.ts";

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

async function chatOf(serving: Serving, c: Ctx, body: ChatBody): Promise<ChatAsk> {
  const model = await modelOf(serving, body.model);
  const choices = body.n ?? 1;
  if (choices > serving.limits.choices)
    throw new HttpError(
      400,
      "bad-input",
      { what: "n", got: choices, wanted: `at most ${serving.limits.choices}` },
      "n",
    );
  const { tools, format: called } = toolsOf(body);
  const { prompt, warnings } = await promptOf(serving, model, body, tools);
  const request: AnswerRequest = {
    ...commonOf(serving, c, body),
    ...{ model, prompt, format: called ?? formatOf(body.response_format) },
    logprobs: body.logprobs ? (body.top_logprobs ?? 0) : undefined,
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? undefined,
    hasControl: tools.length > 0,
  };
  const unknown = unknownFields(body, chatSchema).map((key) => `${key} is not known here and was ignored`);
  return {
    ...{ request, choices, isParallel: body.parallel_tool_calls !== false },
    tools: tools.map((tool) => tool.function.name),
    warnings: [...unknown, ...warnings],
  };
}

/** The messages for the model's template; where that has no place for tools, a message tells of them. */
async function promptOf(serving: Serving, model: string, body: ChatBody, tools: readonly Tool[]) {
  const messages = messagesOf(body.messages);
  const effort = body.reasoning_effort ? { reasoning_effort: body.reasoning_effort } : {};
  const values = { ...effort, ...body.chat_template_kwargs };
  if (tools.length === 0) return { prompt: { messages, values }, warnings: [] };
  using resident = await serving.residents.use(model);
  if (resident.facts.chatTemplate?.includes("tools")) return { prompt: { messages, values, tools }, warnings: [] };
  const [first, ...rest] = messages;
  const text = toolText(tools);
  const told =
    first?.role === "system"
      ? [{ ...first, content: `${first.content}\n\n${text}` }, ...rest]
      : [{ role: "system", content: text }, ...messages];
  const warning = `the chat template of ${model} has no place for tools: the system message tells of them`;
  return { prompt: { messages: told, values }, warnings: [warning] };
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
  const ends: EndEvent[] = [];
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
