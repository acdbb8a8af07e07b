// Ollama's API for its clients: generate, chat, embed, and the models of the store. Streams are lines of JSON.
// It does not know lanes or models' insides.
import { z } from "zod";
import type { Sampling } from "../../engine/mod.ts";
import type { AnswerRequest } from "../answers.ts";
import { type ChatAsk, type Choice, type ChoiceEvent, choicesOf, type DoneEvent, wholeChoices } from "../choices.ts";
import type { Format } from "../host.ts";
import { plannedBytes } from "../residency.ts";
import { checkSchema } from "../schema-check.ts";
import { recollected } from "./chat-memory.ts";
import { factsOfError, HttpError, ollamaError } from "./errors.ts";
import { memoryField } from "./memory-fields.ts";
import { ollamaStoreRoutes } from "./ollama-store.ts";
import { bodyOf, type Ctx, laneOf, leavingOf, modelOf, type Serving, servedFields, streamOf } from "./serving.ts";
import { ndjson } from "./stream.ts";

/** Of options, those that say how the model is held: a caller cannot change that, and nothing is loaded again for it. */
const HOLDING = [
  "num_ctx",
  "num_batch",
  "num_gpu",
  "main_gpu",
  "use_mmap",
  "num_thread",
  "num_keep",
  "numa",
  "low_vram",
];

const optionsSchema = z.looseObject({
  temperature: z.number().min(0).max(2).optional(),
  top_k: z.number().int().min(0).optional(),
  top_p: z.number().min(0).max(1).optional(),
  min_p: z.number().min(0).max(1).optional(),
  typical_p: z.number().positive().max(1).optional(),
  repeat_penalty: z.number().positive().max(10).optional(),
  presence_penalty: z.number().min(-2).max(2).optional(),
  frequency_penalty: z.number().min(-2).max(2).optional(),
  seed: z.number().int().optional(),
  num_predict: z.number().int().min(-2).optional(),
  stop: z.union([z.string(), z.array(z.string())]).optional(),
});
const common = {
  model: z.string(),
  stream: z.boolean().optional(),
  format: z.union([z.literal("json"), z.literal(""), z.record(z.string(), z.unknown())]).optional(),
  options: optionsSchema.nullish(),
  keep_alive: z.union([z.string(), z.number()]).optional(),
  think: z.union([z.boolean(), z.string()]).optional(),
  images: z.array(z.string()).nullish(),
  ...servedFields,
};
const generateSchema = z.looseObject({
  ...common,
  prompt: z.string().optional(),
  system: z.string().optional(),
  raw: z.boolean().optional(),
});
const messageSchema = z.looseObject({
  role: z.enum(["system", "user", "assistant", "tool"]),
  content: z.string().optional(),
  images: z.array(z.string()).nullish(),
  thinking: z.string().optional(),
  tool_calls: z.array(z.looseObject({ function: z.looseObject({ name: z.string() }) })).optional(),
});
const chatSchema = z.looseObject({
  ...common,
  messages: z.array(messageSchema),
  ...memoryField,
  tools: z.array(z.looseObject({ function: z.looseObject({ name: z.string() }) })).optional(),
});
const embedSchema = z.looseObject({
  model: z.string(),
  input: z.union([z.string(), z.array(z.string())]),
  dimensions: z.number().int().positive().optional(),
});
const showSchema = z.looseObject({ model: z.string().optional(), name: z.string().optional() });
type Common = z.infer<z.ZodObject<typeof common>>;

function samplingOf(options: NonNullable<Common["options"]>): Partial<Sampling> {
  const { temperature, top_k, top_p, min_p, typical_p, repeat_penalty, presence_penalty, frequency_penalty } = options;
  const all = {
    ...{ temperature, topK: top_k, topP: top_p === 0 ? Number.MIN_VALUE : top_p, minP: min_p, typicalP: typical_p },
    ...{ repetitionPenalty: repeat_penalty, presencePenalty: presence_penalty, frequencyPenalty: frequency_penalty },
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function formatOf(format: Common["format"]): Format | undefined {
  if (format === undefined || format === "") return undefined;
  if (format === "json") return { kind: "json" };
  checkSchema(format, "format");
  return { kind: "schema", schema: format };
}

async function askOf(
  serving: Serving,
  c: Ctx,
  body: Common,
  prompt: AnswerRequest["prompt"],
  tools: readonly string[] = [],
): Promise<ChatAsk> {
  if (body.images && body.images.length > 0)
    throw new HttpError(400, "unsupported", { what: "images", wanted: "text: the models served here read no images" });
  const options = body.options ?? {};
  const { stop = [], num_predict, seed } = options;
  const held = Object.keys(options).filter((key) => HOLDING.includes(key));
  const warnings = held.map((key) => `${key} is the server's to set and was ignored: nothing is loaded again for it`);
  if (body.keep_alive !== undefined) warnings.push("keep_alive was ignored: what is open stays open");
  const request: AnswerRequest = {
    ...{ model: await modelOf(serving, body.model), prompt, format: formatOf(body.format) },
    ...{
      lane: laneOf(c, body.lane),
      caller: c.get("caller").name,
      requestId: c.get("requestId"),
      startWithinMs: body.timeout_ms,
    },
    seed: seed === undefined ? serving.random() : Math.abs(seed),
    sampling: samplingOf(options),
    // −1 and −2: as many as there is room for
    maxTokens: num_predict === undefined || num_predict > 0 ? num_predict : serving.limits.maxTokens,
    stop: (typeof stop === "string" ? [stop] : stop).filter((text) => text !== ""),
    hasControl: tools.length > 0,
  };
  return { request, tools, isParallel: true, choices: 1, warnings };
}

/** What an answer took, in nanoseconds; a load is one only where a model was loaded. */
function tookOf({ about, timings, promptTokens, ids, reusedTokens, memory }: DoneEvent) {
  const nanoseconds = (ms: number) => Math.round(ms * 1e6);
  const loadMs = about.load?.ms ?? 0;
  return {
    total_duration: nanoseconds(about.waitedMs + loadMs + timings.prefillMs + timings.decodeMs),
    load_duration: nanoseconds(loadMs),
    prompt_eval_count: promptTokens,
    prompt_eval_duration: nanoseconds(timings.prefillMs),
    eval_count: ids.length,
    eval_duration: nanoseconds(timings.decodeMs),
    irori: { lane: about.lane, queue_ms: about.waitedMs, reused_tokens: reusedTokens, ...(memory && { memory }) },
  };
}

interface Shape {
  /** A record of text, thinking or calls. */
  readonly part: (part: {
    readonly text?: string;
    readonly thinking?: string;
    readonly calls?: readonly object[];
  }) => object;
}

async function answered(serving: Serving, c: Ctx, ask: ChatAsk, isStream: boolean, shape: Shape): Promise<Response> {
  const leaving = leavingOf(c);
  const events = choicesOf(serving.answers, ask, leaving);
  const { model } = ask.request;
  const head = () => ({ model, created_at: new Date(serving.clock()).toISOString() });
  const endOf = (end: DoneEvent, part: object) => ({
    ...{ ...head(), ...part, done: true, done_reason: end.stop === "stop" ? "stop" : "length" },
    ...tookOf(end),
    ...(ask.warnings.length + end.about.warnings.length > 0 && { warnings: [...ask.warnings, ...end.about.warnings] }),
  });
  if (!isStream) {
    const [choice] = await wholeChoices(events);
    const { text, reasoning, calls, end } = choice as Choice;
    return c.json(
      endOf(end, shape.part({ text, ...(reasoning !== "" && { thinking: reasoning }), ...callsOf(calls) })),
    );
  }
  async function* chunks(from: AsyncGenerator<readonly [ChoiceEvent, number], void>): AsyncGenerator<unknown, void> {
    const calls: { name: string; arguments: string }[] = [];
    for await (const [event] of from) {
      if (event.type === "parts")
        for (const part of event.parts) {
          if (part.kind === "text") yield { ...head(), ...shape.part({ text: part.text }), done: false };
          else if (part.kind === "reasoning") yield { ...head(), ...shape.part({ thinking: part.text }), done: false };
          else if (part.kind === "call") calls[part.index] = { name: part.name, arguments: "" };
          else (calls[part.index] as { arguments: string }).arguments += part.text;
        }
      else if (event.type === "done") {
        if (calls.length > 0) yield { ...head(), ...shape.part(callsOf(calls)), done: false };
        yield endOf(event.end, shape.part({}));
      }
    }
  }
  const errorOf = (error: unknown) => ollamaError(factsOfError(error));
  return streamOf(serving, c, { events, leaving, chunks, as: ndjson, errorOf });
}

/** Ollama's calls have their arguments as objects; what a model left incomplete stays a text. */
function callsOf(calls: readonly { readonly name: string; readonly arguments: string }[]) {
  if (calls.length === 0) return {};
  const parsed = (text: string): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  };
  return { calls: calls.map((call) => ({ function: { name: call.name, arguments: parsed(call.arguments) } })) };
}

async function postGenerate(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, generateSchema);
  const text = body.prompt ?? "";
  if (text === "") return loaded(serving, c, body.model, { response: "" });
  const system = body.system === undefined ? [] : [{ role: "system", content: body.system }];
  const prompt = body.raw ? { text } : { messages: [...system, { role: "user", content: text }] };
  const ask = await askOf(serving, c, body, prompt);
  return answered(serving, c, ask, body.stream !== false, {
    part: ({ text = "", thinking }) => ({ response: text, ...(thinking && { thinking }) }),
  });
}

async function postChat(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, chatSchema);
  if (body.messages.length === 0)
    return loaded(serving, c, body.model, { message: { role: "assistant", content: "" } });
  const messages = body.messages.map(({ images, content = "", ...message }) => {
    if (images && images.length > 0)
      throw new HttpError(400, "unsupported", {
        what: "images",
        wanted: "text: the models served here read no images",
      });
    return { ...message, content };
  });
  const tools = body.tools ?? [];
  const model = await modelOf(serving, body.model);
  const memory = await recollected(serving, c, { model, memory: body.memory }, messages);
  const prompt = {
    messages: memory?.messages ?? messages,
    ...(tools.length > 0 && { tools }),
    ...(typeof body.think === "boolean" && { values: { enable_thinking: body.think } }),
  };
  const ask = await askOf(
    serving,
    c,
    body,
    prompt,
    tools.map((tool) => tool.function.name),
  );
  return answered(serving, c, { ...ask, onAnswered: memory?.onAnswered }, body.stream !== false, {
    part: ({ text = "", thinking, calls }) => ({
      message: { role: "assistant", content: text, ...(thinking && { thinking }), ...(calls && { tool_calls: calls }) },
    }),
  });
}

/** An empty prompt asks for the model to be open, no more. */
async function loaded(serving: Serving, c: Ctx, asked: string, part: object): Promise<Response> {
  const model = await modelOf(serving, asked);
  (await serving.residents.use(model, undefined, "asked"))[Symbol.dispose]();
  return c.json({
    model,
    created_at: new Date(serving.clock()).toISOString(),
    ...part,
    done: true,
    done_reason: "load",
  });
}

async function postEmbed(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, embedSchema);
  const model = await modelOf(serving, body.model);
  const { signal } = leavingOf(c);
  using resident = await serving.residents.use(model, signal);
  const texts = typeof body.input === "string" ? [body.input] : body.input;
  const { dimensions } = body;
  const read = await serving.host.embed(model, texts, { signal, ...(dimensions && { dimensions }) });
  const count = read.tokens.reduce((sum, tokens) => sum + tokens, 0);
  const loadMs = resident.load?.ms ?? 0;
  return c.json({
    model,
    embeddings: read.vectors.map((vector) => [...vector]),
    prompt_eval_count: count,
    load_duration: Math.round(loadMs * 1e6),
  });
}

async function getTags({ host }: Serving, c: Ctx): Promise<Response> {
  const models = (await host.stored()).map(({ name, bytes, sha256, pulledAt }) => ({
    ...{ name, model: name, size: bytes, digest: sha256, modified_at: new Date(pulledAt).toISOString() },
    details: { format: "gguf", family: "", parameter_size: "", quantization_level: "" },
  }));
  return c.json({ models });
}

/** Sizes are measured: what is mapped, and what the engine's process took since it had no model, shared out as the plans say. */
async function getPs({ residents, ownBytes }: Serving, c: Ctx): Promise<Response> {
  const open = residents.open();
  const planned = open.map(({ items }) => plannedBytes(items));
  const allOwn = planned.reduce((sum, { own }) => sum + own, 0);
  const measured = await ownBytes();
  const models = open.map(({ model, facts, users }, i) => ({
    ...{ name: model, model, size_vram: 0, planned_bytes: (planned[i]?.mapped ?? 0) + (planned[i]?.own ?? 0) },
    size: Math.round((planned[i]?.mapped ?? 0) + (measured * (planned[i]?.own ?? 0)) / Math.max(1, allOwn)),
    details: {
      format: "gguf",
      family: facts.family,
      parameter_size: String(facts.parameters),
      quantization_level: facts.form,
    },
    ...{ context_length: facts.context, requests: users },
  }));
  return c.json({ models });
}

async function postShow(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, showSchema);
  const model = await modelOf(serving, body.model ?? body.name);
  using resident = await serving.residents.use(model);
  const { family, context, chatTemplate, parameters, form, hiddenSize, isDecoder } = resident.facts;
  return c.json({
    template: chatTemplate ?? "",
    details: { format: "gguf", family, parameter_size: String(parameters), quantization_level: form },
    model_info: {
      ...{ "general.architecture": family, "general.parameter_count": parameters },
      ...{ [`${family}.context_length`]: context, [`${family}.embedding_length`]: hiddenSize },
    },
    capabilities: [isDecoder ? "completion" : "embedding", ...(chatTemplate?.includes("tools") ? ["tools"] : [])],
  });
}

export const ollamaRoutes = [
  { method: "POST", path: "/api/generate", body: generateSchema, serve: postGenerate },
  { method: "POST", path: "/api/chat", body: chatSchema, serve: postChat },
  { method: "POST", path: "/api/embed", body: embedSchema, serve: postEmbed },
  { method: "GET", path: "/api/tags", serve: getTags },
  { method: "GET", path: "/api/ps", serve: getPs },
  { method: "POST", path: "/api/show", body: showSchema, serve: postShow },
  { method: "GET", path: "/api/version", serve: async ({ version }: Serving, c: Ctx) => c.json({ version }) },
  ...ollamaStoreRoutes,
] as const;
