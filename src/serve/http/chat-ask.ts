// A chat in OpenAI's words as it is asked of the answers: model, prompt, tools and formats. Chat and responses share it.
// It does not know streams or what is answered.

import type { ChatMessage } from "../../text/mod.ts";
import type { AnswerRequest } from "../answers.ts";
import type { ChatAsk } from "../choices.ts";
import { recollected } from "./chat-memory.ts";
import { HttpError } from "./errors.ts";
import { checkInside } from "./inside-fields.ts";
import { commonOf, formatOf, messagesOf, toolsOf, toolText } from "./openai-request.ts";
import { type ChatBody, chatSchema, type Tool } from "./openai-schema.ts";
import { type Ctx, modelOf, type Serving, unknownFields } from "./serving.ts";

export async function chatOf(serving: Serving, c: Ctx, body: ChatBody): Promise<ChatAsk> {
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
  await checkInside(serving.host, body);
  const asked = messagesOf(body.messages);
  const memory = await recollected(serving, c, { model, memory: body.memory }, asked);
  const { prompt, warnings } = await promptOf(serving, model, { body, tools, messages: memory?.messages ?? asked });
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
    ...{ warnings: [...unknown, ...warnings], onAnswered: memory?.onAnswered },
  };
}

/** The messages for the model's template; where that has no place for tools, a message tells of them. */
async function promptOf(
  serving: Serving,
  model: string,
  { body, tools, messages }: { body: ChatBody; tools: readonly Tool[]; messages: readonly ChatMessage[] },
) {
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
