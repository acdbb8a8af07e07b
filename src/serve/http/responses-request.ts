// A request of the Responses API as a chat: items become messages, tools and formats take the chat's shape. What is not served
// is a 400 that names it. It does not know streams or what is answered.
import { checkSchema } from "../schema-check.ts";
import { HttpError } from "./errors.ts";
import type { ChatBody, Message, Tool } from "./openai-schema.ts";
import { type Item, type ResponseBody, type ResponseTool, responseSchema } from "./responses-schema.ts";
import { unknownFields } from "./serving.ts";

const refused = (param: string, got: unknown, wanted: string): HttpError =>
  new HttpError(400, "unsupported", { what: param, got: JSON.stringify(got), wanted }, param);

/** Throws 400 for what a Responses server may do and this one does not. */
export function checkServed(body: ResponseBody): void {
  const [unknown] = unknownFields(body, responseSchema);
  if (unknown !== undefined)
    throw refused(unknown, body[unknown], "no such field: docs/serve.md lists what /v1/responses takes");
  if (body.background)
    throw refused("background", true, "false: POST /irori/jobs takes a request that shall run in the background");
  if (body.truncation && body.truncation !== "disabled")
    throw refused("truncation", body.truncation, "disabled: nothing of a conversation is cut off unseen");
  for (const [i, name] of (body.include ?? []).entries())
    if (!INCLUDABLE.has(name)) throw refused(`include[${i}]`, name, [...INCLUDABLE].join(" or "));
}
const INCLUDABLE = new Set(["message.output_text.logprobs", "reasoning.encrypted_content"]);

/** The same in the words of the chat API. `items` is the whole conversation. */
export function chatBodyOf(body: ResponseBody, items: readonly Item[]): { body: ChatBody; warnings: string[] } {
  const { tools, warnings } = toolsOf(body.tools ?? []);
  if (body.include?.includes("reasoning.encrypted_content"))
    warnings.push("reasoning is not encrypted here: its text stands in the items, send them back as they came");
  if (body.reasoning?.summary) warnings.push("reasoning.summary was ignored: the reasoning itself stands in the items");
  if (body.text?.verbosity) warnings.push("text.verbosity was ignored: say in the instructions how long it shall be");
  const system: Message[] = body.instructions ? [{ role: "system", content: body.instructions }] : [];
  const { model, temperature, top_p, top_k, min_p, repetition_penalty, seed, stop, service_tier, user } = body;
  const { parallel_tool_calls, chat_template_kwargs, lane, timeout_ms, memory, adapter, interventions } = body;
  const hasLogprobs = body.include?.includes("message.output_text.logprobs") || (body.top_logprobs ?? 0) > 0;
  const chat: ChatBody = {
    ...{ model, temperature, top_p, top_k, min_p, repetition_penalty, seed, stop, service_tier, user },
    ...{ parallel_tool_calls, chat_template_kwargs, lane, timeout_ms, memory, adapter, interventions },
    messages: [...system, ...messagesOf(items)],
    max_completion_tokens: body.max_output_tokens,
    logprobs: hasLogprobs,
    top_logprobs: body.top_logprobs ?? 0,
    reasoning_effort: body.reasoning?.effort,
    response_format: formatOf(body.text?.format),
    ...chosen(body.tool_choice, tools),
  };
  return { body: chat, warnings };
}

function toolsOf(asked: readonly ResponseTool[]): { tools: Tool[]; warnings: string[] } {
  const strict: string[] = [];
  const tools = asked.map(({ type, name, description, parameters, strict: isStrict }, i): Tool => {
    if (type !== "function") throw refused(`tools[${i}].type`, type, "function: this server runs no tools of its own");
    if (name === undefined || !/^[\w.-]{1,64}$/.test(name))
      throw refused(`tools[${i}].name`, name, "1 to 64 letters, digits, _ . or -");
    if (isStrict) strict.push(name);
    return {
      type: "function",
      function: { name, ...(description && { description }), ...(parameters && { parameters }) },
    };
  });
  const warnings =
    strict.length > 0
      ? [
          `strict holds where tool_choice is "required" or a name: ${strict.join(", ")} may be called with other arguments`,
        ]
      : [];
  return { tools, warnings };
}

/** Which of the tools may be called, and which must. */
function chosen(choice: ResponseBody["tool_choice"], tools: readonly Tool[]): Pick<ChatBody, "tools" | "tool_choice"> {
  const all = { tools: [...tools] };
  if (choice === null || choice === undefined) return all;
  if (choice === "none" || choice === "auto" || choice === "required") return { ...all, tool_choice: choice };
  if (typeof choice === "object" && choice.type === "function" && typeof choice.name === "string")
    return { ...all, tool_choice: { type: "function", function: { name: choice.name } } };
  if (typeof choice === "object" && choice.type === "allowed_tools" && Array.isArray(choice.tools)) {
    const names = (choice.tools as { name?: unknown }[]).map(({ name }) => name);
    const allowed = tools.filter((tool) => names.includes(tool.function.name));
    return { tools: allowed, tool_choice: choice.mode === "required" ? "required" : "auto" };
  }
  throw refused("tool_choice", choice, "none, auto, required, a function's name or allowed_tools");
}

function formatOf(format: NonNullable<ResponseBody["text"]>["format"]): ChatBody["response_format"] {
  if (!format || format.type === "text") return undefined;
  if (format.type === "json_object") return { type: "json_object" };
  checkSchema(format.schema, "text.format.schema");
  return { type: "json_schema", json_schema: { schema: format.schema as Record<string, unknown> | boolean } };
}

/** Messages of a conversation's items: calls belong to the assistant's message before them, thinking to the one behind it. */
function messagesOf(items: readonly Item[]): Message[] {
  const messages: Message[] = [];
  const calls = new Set<string>();
  const assistant = (): Message => {
    const last = messages.at(-1);
    if (last?.role === "assistant") return last;
    const message: Message = { role: "assistant", content: "" };
    messages.push(message);
    return message;
  };
  for (const [i, item] of items.entries()) {
    const { type = item.role === undefined ? "nothing" : "message", call_id } = item;
    if (type === "message") {
      const text = textOf(item.content ?? "", `input[${i}].content`);
      const { role = "user" } = item;
      const last = messages.at(-1);
      // what was thought before this was said stands in a message that says nothing yet
      if (role === "assistant" && last?.role === "assistant" && last.content === "" && !last.tool_calls)
        last.content = text;
      else messages.push({ role, content: text });
    } else if (type === "function_call") {
      if (call_id === undefined || item.name === undefined)
        throw refused(`input[${i}]`, item, "call_id, name and arguments");
      calls.add(call_id);
      const message = assistant();
      const call = { id: call_id, type: "function", function: { name: item.name, arguments: item.arguments ?? "{}" } };
      message.tool_calls = [...(message.tool_calls ?? []), call];
    } else if (type === "function_call_output") {
      if (call_id === undefined || !calls.has(call_id))
        throw refused(`input[${i}].call_id`, call_id, "the call_id of a function_call before it");
      messages.push({ role: "tool", tool_call_id: call_id, content: textOf(item.output ?? "", `input[${i}].output`) });
    } else if (type === "reasoning") {
      const parts = Array.isArray(item.content) && item.content.length > 0 ? item.content : (item.summary ?? []);
      messages.push({ role: "assistant", content: "", reasoning_content: parts.map(({ text = "" }) => text).join("") });
    } else throw refused(`input[${i}].type`, type, "message, function_call, function_call_output or reasoning");
  }
  return messages;
}

const TEXTS = new Set(["input_text", "output_text", "text", "refusal"]);
function textOf(content: NonNullable<Item["content"]>, where: string): string {
  if (typeof content === "string") return content;
  return content
    .map(({ type, text, ...rest }) => {
      if (!TEXTS.has(type))
        throw refused(where, type, "input_text: the models served here read no images, audio or files");
      return text ?? String(rest.refusal ?? "");
    })
    .join("");
}
