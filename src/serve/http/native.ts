// The native routes that other processes of this machine use: an answer as the engine tells it, vectors as they are, who serves.
// It does not know chats' parts, tools or other APIs.
import { setTimeout as wait } from "node:timers/promises";
import { z } from "zod";
import type { AnswerEvent, AnswerRequest } from "../answers.ts";
import type { Route } from "./app.ts";
import { bodyOf, type Ctx, laneOf, leavingOf, modelOf, type Serving, servedFields, streamOf } from "./serving.ts";
import { ndjson } from "./stream.ts";

const finite = z.number();
const samplingSchema = z.strictObject({
  temperature: finite.min(0).optional(),
  topK: z.int().min(0).optional(),
  topP: finite.positive().max(1).optional(),
  minP: finite.min(0).max(1).optional(),
  typicalP: finite.positive().max(1).optional(),
  repetitionPenalty: finite.positive().optional(),
  frequencyPenalty: finite.optional(),
  presencePenalty: finite.optional(),
  /** By token id; null bans one. */
  logitBias: z.record(z.string().regex(/^\d+$/), finite.nullable()).optional(),
});
const promptSchema = z.union([
  z.strictObject({ text: z.string(), control: z.boolean().optional() }),
  z.strictObject({ messages: z.array(z.looseObject({ role: z.string(), content: z.string() })).min(1) }),
  z.strictObject({ ids: z.array(z.int().min(0)).min(1) }),
]);
export const generateBody = z.strictObject({
  model: z.string().optional(),
  prompt: promptSchema,
  seed: z.int().min(0).optional(),
  sampling: samplingSchema.optional(),
  maxTokens: z.int().min(1).optional(),
  minTokens: z.int().min(0).optional(),
  stop: z.array(z.string().min(1)).max(16).optional(),
  ignoreEos: z.boolean().optional(),
  logprobs: z.int().min(0).max(64).optional(),
  ...servedFields,
});
export type GenerateBody = z.infer<typeof generateBody>;

export const embedBody = z.strictObject({
  model: z.string().optional(),
  texts: z.array(z.string()).min(1),
  prompt: z.string().optional(),
  pooling: z.enum(["mean", "cls", "last", "max"]).optional(),
  dimensions: z.int().min(1).optional(),
  maxTokens: z.int().min(1).optional(),
  long: z.enum(["cut", "windows"]).optional(),
});
export type EmbedBody = z.infer<typeof embedBody>;

export const nativeRoutes: readonly Route[] = [
  { method: "POST", path: "/irori/generate", body: generateBody, serve: postGenerate },
  { method: "POST", path: "/irori/embed", body: embedBody, serve: postEmbed },
  {
    ...{ method: "GET", path: "/irori/server" },
    serve: async (serving, c) => c.json(await whoServes(serving)),
  },
];

/** Milliseconds that the engine has to tell of its store: who asks who serves is answered whatever the engine does. */
const STORED_MS = 250;

/** Who serves, and what: enough to know that an address belongs to a record. */
async function whoServes({ version, models, residents, host }: Serving) {
  const stored = host.stored().catch(() => []); // it is not there just now
  const known = await Promise.race([stored, wait(STORED_MS, [], { ref: false })]);
  return {
    ...{ pid: process.pid, version },
    models: [...new Set([...models, ...known.map(({ name }) => name)])],
    open: residents.open().map(({ model }) => model),
  };
}
export type ServerFacts = Awaited<ReturnType<typeof whoServes>>;

/** Lines of JSON: "started", a "token" each, and the whole answer as "end". */
async function postGenerate(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, generateBody);
  const { logitBias, ...sampling } = body.sampling ?? {};
  const request: AnswerRequest = {
    ...{ model: await modelOf(serving, body.model), prompt: body.prompt, lane: laneOf(c, body.lane) },
    ...{ caller: c.get("caller").name, requestId: c.get("requestId"), seed: body.seed ?? serving.random() },
    sampling: {
      ...(sampling as AnswerRequest["sampling"]),
      ...(logitBias && {
        logitBias: Object.fromEntries(Object.entries(logitBias).map(([id, by]) => [id, by ?? -Infinity])),
      }),
    },
    ...{ maxTokens: body.maxTokens, minTokens: body.minTokens, stop: body.stop, ignoreEos: body.ignoreEos },
    ...{ logprobs: body.logprobs, startWithinMs: body.timeout_ms },
  };
  const leaving = leavingOf(c);
  async function* answer(): AsyncGenerator<readonly [AnswerEvent, number], void> {
    for await (const event of serving.answers.answer(request, leaving.signal)) yield [event, 0];
  }
  return streamOf(serving, c, { events: answer(), leaving, chunks: toldOf, as: ndjson });
}

async function* toldOf(events: AsyncGenerator<readonly [AnswerEvent, number], void>): AsyncGenerator<unknown, void> {
  for await (const [event] of events) {
    if (event.type === "loading" || event.type === "queued") continue;
    if (event.type === "started") yield { type: "started", promptTokens: event.promptTokens };
    else yield event;
  }
}

async function postEmbed(serving: Serving, c: Ctx): Promise<Response> {
  const { model: asked, texts, ...options } = await bodyOf(c, embedBody);
  const model = await modelOf(serving, asked);
  const { signal } = leavingOf(c);
  using _resident = await serving.residents.use(model, signal);
  const { vectors, ...rest } = await serving.host.embed(model, texts, { ...options, signal });
  return c.json({ ...rest, vectors: vectors.map((vector) => [...vector]) });
}
