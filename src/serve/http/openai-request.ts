// A request in OpenAI's words as one of ours: sampling, messages, tools and formats.
// It does not know streams or responses.
import type { z } from "zod";
import type { Sampling } from "../../engine/mod.ts";
import type { ChatMessage } from "../../text/mod.ts";
import type { AnswerRequest } from "../answers.ts";
import type { Format } from "../host.ts";
import { checkSchema } from "../schema-check.ts";
import { HttpError } from "./errors.ts";
import { type insideFields, insideOf } from "./inside-fields.ts";
import type { ChatBody, Message, SamplingBody, Tool } from "./openai-schema.ts";
import { type Ctx, laneOf, type Serving } from "./serving.ts";

function samplingOf(body: SamplingBody): Partial<Sampling> {
  const of = <K extends keyof Sampling>(name: K, value: Sampling[K] | null | undefined) =>
    value === null || value === undefined ? {} : { [name]: value };
  const topK = body.top_k === -1 ? 0 : body.top_k;
  return {
    ...of("temperature", body.temperature),
    // OpenAI allows 0, which leaves the likeliest token alone
    ...of("topP", body.top_p === 0 ? Number.MIN_VALUE : body.top_p),
    ...of("topK", topK),
    ...of("minP", body.min_p),
    ...of("repetitionPenalty", body.repetition_penalty),
    ...of("presencePenalty", body.presence_penalty),
    ...of("frequencyPenalty", body.frequency_penalty),
    ...(body.logit_bias && { logitBias: biasOf(body.logit_bias) }),
  };
}

/** OpenAI's −100 bans a token. */
const biasOf = (bias: Readonly<Record<string, number>>): Record<number, number> =>
  Object.fromEntries(Object.entries(bias).map(([id, value]) => [Number(id), value <= -100 ? -Infinity : value]));

const stopsOf = ({ stop }: SamplingBody): readonly string[] =>
  stop === null || stop === undefined || stop === "" ? [] : typeof stop === "string" ? [stop] : stop;

/** What both chat and completions say of an answer, for the `i`-th of several. */
export function commonOf(
  serving: Serving,
  c: Ctx,
  body: SamplingBody & {
    readonly lane?: "interactive" | "batch" | undefined;
    readonly timeout_ms?: number | undefined;
  } & z.infer<z.ZodObject<typeof insideFields>>,
): Omit<AnswerRequest, "model" | "prompt"> {
  const tier = body.service_tier === "flex" || body.service_tier === "batch" ? "batch" : undefined;
  return {
    lane: laneOf(c, body.lane ?? tier),
    caller: body.user ?? c.get("caller").name,
    requestId: c.get("requestId"),
    // seeds of other engines may be negative or longer
    seed: body.seed === null || body.seed === undefined ? serving.random() : Math.abs(body.seed),
    sampling: samplingOf(body),
    maxTokens: body.max_tokens ?? undefined,
    minTokens: body.min_tokens,
    ignoreEos: body.ignore_eos,
    stop: stopsOf(body),
    ...{ startWithinMs: body.timeout_ms, ...insideOf(body) },
  };
}

/** The text of a message's content. Throws 400, with the kind of part, where it is no text. */
function textOfContent(content: Message["content"], at: number): string {
  if (content === null || content === undefined) return "";
  if (typeof content === "string") return content;
  return content
    .map((part) => {
      if (part.type === "text" || part.type === "input_text" || part.type === "output_text") return String(part.text);
      throw new HttpError(
        400,
        "unsupported",
        {
          what: `messages[${at}] has a part of type ${JSON.stringify(part.type)}`,
          wanted: "text: the models served here read no images, audio or files",
        },
        "messages",
      );
    })
    .join("");
}

/** Messages as templates read them: texts, and calls with their arguments as objects. */
export const messagesOf = (messages: readonly Message[]): ChatMessage[] =>
  messages.map((message, i) => {
    const { role, tool_calls, reasoning_content, name, tool_call_id } = message;
    return {
      role: role === "developer" ? "system" : role === "function" ? "tool" : role,
      content: textOfContent(message.content, i),
      ...(name !== undefined && { name }),
      ...(tool_call_id !== undefined && { tool_call_id }),
      ...(reasoning_content && { reasoning_content }),
      ...(tool_calls && tool_calls.length > 0 && { tool_calls: tool_calls.map(callOf) }),
    };
  });

function callOf({ id, function: called }: NonNullable<Message["tool_calls"]>[number]) {
  const { name, arguments: given } = called;
  return {
    ...(id !== undefined && { id }),
    type: "function",
    function: { name, arguments: typeof given === "string" ? parsed(given) : given },
  };
}
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // a model wrote it so: its template shows it as it is
  }
}

export function formatOf(format: ChatBody["response_format"]): Format | undefined {
  if (!format || format.type === "text") return undefined;
  if (format.type === "json_object") return { kind: "json" };
  const { schema } = format.json_schema as { schema: unknown };
  checkSchema(schema, "response_format.json_schema.schema");
  return { kind: "schema", schema };
}

/** Tools as they are asked for: what the template is told, and what the answer is held to. */
export function toolsOf(body: ChatBody): { readonly tools: readonly Tool[]; readonly format: Format | undefined } {
  const { tools, tool_choice } = body;
  if (!tools || tools.length === 0 || tool_choice === "none") return { tools: [], format: undefined };
  if (!tool_choice || tool_choice === "auto") return { tools, format: undefined };
  const wanted =
    tool_choice === "required" ? tools : tools.filter((tool) => tool.function.name === tool_choice.function.name);
  if (wanted.length === 0)
    throw new HttpError(
      400,
      "bad-input",
      { what: "tool_choice names no tool", wanted: tools.map((tool) => tool.function.name).join(", ") },
      "tool_choice",
    );
  const schemas = wanted.map(({ function: { name, parameters } }) => {
    const schema = parameters ?? { type: "object", properties: {} };
    checkSchema(schema, `tools: parameters of ${name}`);
    return {
      type: "object",
      properties: { name: { const: name }, arguments: schema },
      required: ["name", "arguments"],
      additionalProperties: false,
    };
  });
  return { tools, format: { kind: "schema", schema: schemas.length === 1 ? schemas[0] : { anyOf: schemas } } };
}

/** What a model whose template has no place for tools is told of them. */
export function toolText(tools: readonly Tool[]): string {
  const list = tools.map((tool) => JSON.stringify(tool.function)).join("\n");
  return `You may call these functions:\n${list}\nTo call one, answer with nothing but {"name": its name, "arguments": {…}}.`;
}
