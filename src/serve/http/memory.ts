// /irori/memory: remember, recall, ask, forget, why, what there is. It does not know how anything is remembered or found.
import { z } from "zod";
import type { MemoryAnswer, Recall, Remembered, Spike, Why } from "../../memory/mod.ts";
import { answersAsWriter } from "../memories.ts";
import type { Route } from "./app.ts";
import { episodeOf, iso, memoryOf, placeFields } from "./memory-fields.ts";
import { bodyOf, type Ctx, laneOf, leavingOf, modelOf, type Serving, servedFields } from "./serving.ts";

const MOST_AT_ONCE = 1_000;
const moment = z.union([z.iso.datetime({ offset: true }), z.iso.date()]);
const momentOf = (text: string | undefined): number | undefined => (text === undefined ? undefined : Date.parse(text));
const scalar = z.union([z.string(), z.number(), z.boolean()]);
const metadata = z.record(z.string().min(1), scalar).optional();

const text = z.string().min(1);
const rememberBody = z.strictObject({
  ...placeFields,
  text: text.optional(),
  texts: z.array(text).min(1).max(MOST_AT_ONCE).optional(),
  messages: z
    .array(z.object({ role: z.string().min(1).max(200), content: z.string() }))
    .min(1)
    .max(MOST_AT_ONCE)
    .optional(),
  /** The same again adds nothing. Of one text only. */
  key: z.string().min(1).max(200).optional(),
  metadata,
  source: z.string().min(1).max(1000).optional(),
  said_at: moment.optional(),
  ttl_seconds: z.number().positive().max(1e10).optional(),
  /** Whether what is new is judged for what it restructures. Default: the setting, true. */
  insight: z.boolean().optional(),
});
const askedFields = {
  ...placeFields,
  count: z.number().int().min(1).max(100).optional(),
  metadata,
  as_of: moment.optional(),
  valid_at: moment.optional(),
};
const recallBody = z.strictObject({ ...askedFields, query: text, least: z.number().min(-1).max(1).optional() });
const askBody = z.strictObject({
  ...askedFields,
  question: text,
  /** Who writes the answer. Default: as the settings say, else sentences of what is remembered. */
  model: z.string().optional(),
  cycles: z.number().int().min(1).max(10).optional(),
  ...servedFields,
});
const forgetBody = z.strictObject({
  ...placeFields,
  ids: z.array(z.string().min(1).max(200)).min(1).max(MOST_AT_ONCE).optional(),
  about: text.optional(),
  source: text.optional(),
  /** Only tells what would be forgotten. */
  dry_run: z.boolean().optional(),
});

export const memoryRoutes: readonly Route[] = [
  { method: "POST", path: "/irori/memory/remember", body: rememberBody, serve: postRemember },
  { method: "POST", path: "/irori/memory/recall", body: recallBody, serve: postRecall },
  { method: "POST", path: "/irori/memory/ask", body: askBody, serve: postAsk },
  { method: "POST", path: "/irori/memory/forget", body: forgetBody, serve: postForget },
  { method: "GET", path: "/irori/memory/why/:id", serve: getWhy },
  { method: "GET", path: "/irori/memory/insights", serve: getInsights },
  { method: "GET", path: "/irori/memory", serve: getStats },
];

async function postRemember(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, rememberBody);
  const given = [body.text, body.texts, body.messages].filter((each) => each !== undefined).length;
  const refine = rememberBody.refine(() => given === 1, { message: "one of text, texts and messages", path: ["text"] });
  refine.parse(body);
  const memory = await memoryOf(serving, c, body.namespace);
  const { user, agent, thread, key, metadata: about, source, said_at, ttl_seconds, insight } = body;
  const options = {
    ...{ user, agent, thread, key, insight, metadata: about, saidAt: momentOf(said_at) },
    ttlMs: ttl_seconds === undefined ? undefined : ttl_seconds * 1000,
    signal: leavingOf(c).signal,
    ...(source !== undefined && { source: { uri: source } }),
  };
  const told = body.text === undefined ? (body.texts ?? []) : [body.text];
  const remembered = body.messages
    ? await memory.rememberChat(body.messages, options)
    : await memory.remember(told, options);
  return c.json({ namespace: memory.namespace, remembered: remembered.map(rememberedOf) });
}

async function postRecall(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, recallBody);
  const memory = await memoryOf(serving, c, body.namespace);
  const recall = await memory.recall(body.query, {
    ...optionsOf(body),
    least: body.least,
    signal: leavingOf(c).signal,
  });
  return c.json({ namespace: memory.namespace, ...recallOf(recall) });
}

async function postAsk(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, askBody);
  const lane = laneOf(c, body.lane);
  const caller = c.get("caller").name;
  const named = body.model ?? serving.memories.writer;
  const model = named && (await modelOf(serving, named));
  const asked = { lane, caller, startWithinMs: body.timeout_ms };
  const writer = model ? answersAsWriter(serving.answers, { model, ...asked }) : undefined;
  const memory = await memoryOf(serving, c, body.namespace, writer);
  const { signal } = leavingOf(c);
  const answer = await memory.ask(body.question, { ...optionsOf(body), cycles: body.cycles, signal });
  return c.json({ namespace: memory.namespace, ...answerOf(answer) });
}

const optionsOf = ({
  user,
  agent,
  thread,
  count,
  metadata: about,
  as_of,
  valid_at,
}: z.infer<typeof optionsSchema>) => ({
  ...{ user, agent, thread, count, metadata: about, asOf: momentOf(as_of), validAt: momentOf(valid_at) },
});
const optionsSchema = z.object(askedFields);

async function postForget(serving: Serving, c: Ctx): Promise<Response> {
  const { namespace, source: uri, dry_run: dryRun = false, ...what } = await bodyOf(c, forgetBody);
  const memory = await memoryOf(serving, c, namespace);
  const { episodes, questions, ids } = await memory.forget({ ...what, uri }, { dryRun });
  return c.json({ namespace: memory.namespace, episodes, questions, ids, dry_run: dryRun });
}

async function getWhy(serving: Serving, c: Ctx): Promise<Response> {
  const memory = await memoryOf(serving, c, c.req.query("namespace"));
  return c.json({ namespace: memory.namespace, ...whyOf(await memory.why(c.req.param("id") ?? "")) });
}

async function getInsights(serving: Serving, c: Ctx): Promise<Response> {
  const { limit, after } = z
    .object({ limit: z.coerce.number().int().min(1).max(100).default(20), after: z.string().optional() })
    .parse({ limit: c.req.query("limit"), after: c.req.query("after") });
  const memory = await memoryOf(serving, c, c.req.query("namespace"));
  const { items, next } = await memory.insights({ limit, after });
  return c.json({ object: "list", data: items.map(insightOf), next: next ?? null });
}

async function getStats(serving: Serving, c: Ctx): Promise<Response> {
  const memory = await memoryOf(serving, c, c.req.query("namespace"));
  const { namespace, episodes, concepts, links } = await memory.stats();
  return c.json({ namespace, episodes, concepts, links, embedder: memory.parts.embedder.id });
}

function rememberedOf({ id, as, text: said, contradicts, spike }: Remembered) {
  return { id, as, text: said, ...(contradicts && { contradicts }), ...(spike && { insight: insightOf(spike) }) };
}
function insightOf({ id, at, episodeId, judgement: { gauge, exchange, placement } }: Spike) {
  return { id, at: iso(at), episode: episodeId, f: gauge.f, p: Math.max(exchange.p, placement?.p ?? 0) };
}
function recallOf({ query, recalled, alike }: Recall) {
  const found = recalled.map(({ episode, ...how }) => ({ ...how, episode: episodeOf(episode) }));
  return { query, recalled: found, alike };
}
function answerOf(answer: MemoryAnswer) {
  const { question, text: said, isAbstained, sentences, unsupported, contradictions, writer, recall } = answer;
  const cited = new Set(sentences.flatMap(({ citations }) => citations.map(({ id }) => id)));
  const sources = recall.recalled.map(({ episode }) => episode).filter(({ id }) => cited.has(id));
  return {
    ...{ question, text: said, abstained: isAbstained, sentences, unsupported, contradictions, writer },
    sources: sources.map(episodeOf),
  };
}
function whyOf({ spike, isSame, text: said, joins, removed }: Why) {
  const { gauge, weakest, exchange, placement, falseAlarmRate } = spike.judgement;
  return {
    ...{ insight: insightOf(spike), text: said ?? null, is_same: isSame, joins, removed, gauge, weakest },
    exchange: { p: exchange.p, draws: exchange.draws.length },
    ...(placement && { placement }),
    false_alarm_rate: falseAlarmRate,
  };
}
