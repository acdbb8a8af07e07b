// /v1/responses: OpenAI's Responses API, whole and streamed, and the responses that are kept for whoever goes on from them.
// It does not know how items become prompts or how an answer becomes items.
import { type ChoiceEvent, choicesOf, type DoneEvent } from "../choices.ts";
import type { Route } from "./app.ts";
import { chatOf } from "./chat-ask.ts";
import { factsOfError, HttpError } from "./errors.ts";
import { aboutOf, usageOf } from "./openai-answer.ts";
import { ResponseOutput } from "./responses-output.ts";
import { chatBodyOf, checkServed } from "./responses-request.ts";
import { type Item, type ResponseBody, responseSchema } from "./responses-schema.ts";
import { bodyOf, type Ctx, leavingOf, type Serving, streamOf } from "./serving.ts";
import { namedSse } from "./stream.ts";

export const responseRoutes: readonly Route[] = [
  { method: "POST", path: "/v1/responses", body: responseSchema, serve: postResponses },
  { method: "GET", path: "/v1/responses/:id", serve: getResponse },
  { method: "DELETE", path: "/v1/responses/:id", serve: deleteResponse },
  { method: "GET", path: "/v1/responses/:id/input_items", serve: getInputItems },
];

async function postResponses(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, responseSchema);
  checkServed(body);
  const items = conversationOf(serving, c, body);
  const { body: chat, warnings } = chatBodyOf(body, items);
  const ask = await chatOf(serving, c, chat);
  const caller = c.get("caller").name;
  const making = new Making(serving, {
    ...{ body, items, caller, model: ask.request.model, warnings: [...warnings, ...ask.warnings] },
  });
  const leaving = leavingOf(c);
  const events = choicesOf(serving.answers, ask, leaving);
  if (body.stream) {
    const onFailed = (error: unknown) => serving.onStreamError(c.get("requestId"), error);
    return streamOf(serving, c, {
      ...{ events, leaving, as: namedSse },
      chunks: (from) => numbered(told(from, making, onFailed)),
    });
  }
  for await (const [event] of events) making.take(event);
  return c.json(making.response());
}

interface Asked {
  readonly body: ResponseBody;
  /** The whole conversation. */
  readonly items: readonly Item[];
  readonly caller: string;
  readonly model: string;
  readonly warnings: readonly string[];
}

/** One response while it is made. */
class Making {
  readonly #serving: Serving;
  readonly #asked: Asked;
  readonly #output: ResponseOutput;
  readonly #id: string;
  readonly #createdAt: number;
  #end: DoneEvent | undefined;
  #notKept: string | undefined;

  constructor(serving: Serving, asked: Asked) {
    this.#serving = serving;
    this.#asked = asked;
    const unique = () => serving.unique().replaceAll("-", "");
    this.#output = new ResponseOutput(unique);
    this.#id = `resp_${unique()}`;
    this.#createdAt = Math.floor(serving.clock() / 1000);
  }

  /** The events that tell of it. */
  take(event: ChoiceEvent) {
    if (event.type === "parts") return this.#output.push(event.parts, event.chance);
    if (event.type !== "done") return [];
    this.#end = event.end;
    const events = this.#output.end(event.end.stop === "stop" || event.calls > 0);
    this.#keep();
    return events;
  }

  #keep(): void {
    const { body, items, caller } = this.#asked;
    if (body.store === false) return;
    const { responses } = this.#serving;
    // items come back with the conversation as they were told
    const output = this.#output.items as unknown as readonly Item[];
    if (!responses.keep(this.#id, { caller, response: this.response(), input: items, output }))
      this.#notKept = `the response is not kept: it and its conversation are longer than ${responses.mostBytes} bytes`;
  }

  get status(): "in_progress" | "completed" | "incomplete" {
    if (this.#end === undefined) return "in_progress";
    return this.#output.items.at(-1)?.status === "incomplete" ? "incomplete" : "completed";
  }

  response(failure?: { readonly code: string; readonly message: string }): object {
    const { body, model, warnings } = this.#asked;
    const end = this.#end;
    const status = failure ? "failed" : this.status;
    const told = this.#notKept === undefined ? warnings : [...warnings, this.#notKept];
    return {
      ...{ id: this.#id, object: "response", created_at: this.#createdAt, status, background: false },
      completed_at: status === "completed" ? Math.floor(this.#serving.clock() / 1000) : null,
      error: failure ?? null,
      // no room is told in `irori`: OpenAI has no word for it
      incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
      instructions: body.instructions ?? null,
      max_output_tokens: body.max_output_tokens ?? null,
      model,
      output: structuredClone(this.#output.items),
      parallel_tool_calls: body.parallel_tool_calls !== false,
      previous_response_id: body.previous_response_id ?? null,
      reasoning: { effort: body.reasoning?.effort ?? null, summary: null },
      ...{ store: body.store !== false, temperature: body.temperature ?? 1, top_p: body.top_p ?? 1 },
      ...{ text: body.text ?? { format: { type: "text" } }, tool_choice: body.tool_choice ?? "auto" },
      ...{ tools: body.tools ?? [], top_logprobs: body.top_logprobs ?? 0, truncation: "disabled" },
      usage: end ? responseUsage(end) : null,
      ...{ user: body.user ?? null, metadata: body.metadata ?? {} },
      ...(end && { irori: aboutOf([end], told) }),
    };
  }
}

function responseUsage(end: DoneEvent) {
  const usage = usageOf([end]);
  return {
    input_tokens: usage.prompt_tokens,
    input_tokens_details: usage.prompt_tokens_details,
    output_tokens: usage.completion_tokens,
    output_tokens_details: usage.completion_tokens_details,
    total_tokens: usage.total_tokens,
  };
}

type Events = AsyncGenerator<readonly [ChoiceEvent, number], void>;
type Told = { readonly type: string };

/** What fails is told twice, as OpenAI does: as an error, and as the end of the response. */
async function* told(from: Events, making: Making, onFailed: (error: unknown) => void): AsyncGenerator<Told, void> {
  yield { type: "response.created", response: making.response() } as Told;
  yield { type: "response.in_progress", response: making.response() } as Told;
  try {
    for await (const [event] of from) yield* making.take(event);
  } catch (error) {
    onFailed(error);
    const { code, message, param = null } = factsOfError(error);
    yield { type: "error", code, message, param } as Told;
    yield { type: "response.failed", response: making.response({ code, message }) } as Told;
    return;
  }
  yield { type: `response.${making.status}`, response: making.response() } as Told;
}

async function* numbered(events: AsyncGenerator<Told, void>): AsyncGenerator<Told, void> {
  let sequence_number = 0;
  for await (const event of events) yield { ...event, sequence_number: sequence_number++ } as Told;
}

/** All items before the answer: those of the response that is gone on from, and the new ones. */
function conversationOf(serving: Serving, c: Ctx, { input, previous_response_id: id }: ResponseBody): readonly Item[] {
  const own: readonly Item[] = typeof input === "string" ? [{ type: "message", role: "user", content: input }] : input;
  const before = id === null || id === undefined ? [] : earlier(serving, c, id);
  return [...before, ...own.map((item, i) => (item.type === "item_reference" ? referred(before, item, i) : item))];
}

function earlier({ responses }: Serving, c: Ctx, id: string): readonly Item[] {
  const kept = responses.get(id, c.get("caller").name);
  if (kept) return [...kept.input, ...kept.output];
  throw new HttpError(400, "not-found", gone(responses, id), "previous_response_id");
}
const gone = ({ most, mostBytes }: Serving["responses"], id: string) => ({
  what: `there is no response ${JSON.stringify(id)} here`,
  wanted: `one of the last ${most} that were stored, ${mostBytes} bytes at most, since the server started`,
  next: "send the conversation as input items",
});

function referred(before: readonly Item[], { id }: Item, i: number): Item {
  const found = before.find((item) => item.id === id);
  if (found) return found;
  throw new HttpError(
    400,
    "not-found",
    {
      what: `input[${i}] refers to ${JSON.stringify(id)}`,
      wanted: "an item of the response that previous_response_id names",
      next: "send the item itself",
    },
    `input[${i}].id`,
  );
}

function kept({ responses }: Serving, c: Ctx) {
  const id = c.req.param("id") ?? "";
  const found = responses.get(id, c.get("caller").name);
  if (found) return { id, ...found };
  throw new HttpError(404, "not-found", gone(responses, id), "response_id");
}

async function getResponse(serving: Serving, c: Ctx): Promise<Response> {
  const { response } = kept(serving, c);
  if (c.req.query("stream") === "true")
    throw new HttpError(
      400,
      "unsupported",
      { what: "stream", got: "true", wanted: "false: a response that is kept is whole" },
      "stream",
    );
  return c.json(response);
}

async function deleteResponse(serving: Serving, c: Ctx): Promise<Response> {
  const { id, caller } = kept(serving, c);
  serving.responses.remove(id, caller);
  return c.json({ id, object: "response", deleted: true });
}

/** What was asked, newest first, as OpenAI lists it. */
async function getInputItems(serving: Serving, c: Ctx): Promise<Response> {
  const { id, input } = kept(serving, c);
  const data = input.map((item, i) => {
    const type = item.type ?? "message";
    const content = typeof item.content === "string" ? [{ type: "input_text", text: item.content }] : item.content;
    return { id: `${id}_${i}`, ...item, type, ...(type === "message" && { content }) };
  });
  if (c.req.query("order") !== "asc") data.reverse();
  return c.json({
    ...{ object: "list", data, has_more: false },
    ...{ first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null },
  });
}
