// POST /irori/summaries: texts of any length, one or many, whole or with progress as a stream. It does not know how summaries are made.

import { setTimeout as wait } from "node:timers/promises";
import { z } from "zod";
import { IroriError, type ProgressEvent } from "../../base/mod.ts";
import { answersWriter, keptIn } from "../summaries/answers-writer.ts";
import { fetchText } from "../summaries/fetch-text.ts";
import type { Summary } from "../summaries/report.ts";
import { type SummarizeOptions, summarize } from "../summaries/summarize.ts";
import { type Document, summarizeMany } from "../summaries/summarize-many.ts";
import { told } from "../told.ts";
import type { Route } from "./app.ts";
import { HttpError } from "./errors.ts";
import { bodyOf, type Ctx, laneOf, leavingOf, modelOf, type Serving, streamOf, unknownFields } from "./serving.ts";

const MOST_DOCUMENTS = 50;
const text = z.string().min(1);

const summaryBody = z.looseObject({
  model: z.string().optional(),
  text: text.optional(),
  /** Only where the server was told that it may fetch. */
  url: z.url({ protocol: /^https?$/ }).optional(),
  documents: z
    .array(z.object({ id: z.string().min(1).max(256), text }))
    .min(1)
    .max(MOST_DOCUMENTS)
    .optional(),
  /** "en", "ja" or another code; default: the text's own. */
  language: z
    .string()
    .regex(/^[a-z]{2,3}(-\w+)*$/)
    .optional(),
  bullets: z.number().int().min(1).max(30).optional(),
  chunk_tokens: z.number().int().min(64).optional(),
  lane: z.enum(["interactive", "batch"]).optional(),
  stream: z.boolean().optional(),
});
type SummaryBody = z.infer<typeof summaryBody>;

export const summaryRoutes: readonly Route[] = [
  { method: "POST", path: "/irori/summaries", serve: postSummaries, body: summaryBody },
];

type Event =
  | { readonly type: "progress"; readonly progress: ProgressEvent }
  | { readonly type: "result"; readonly value: object };

/** What a stream of one summary tells. */
export type SummaryEvent = Extract<Event, { type: "progress" }> | (Summary & { readonly type: "summary" });

async function postSummaries(serving: Serving, c: Ctx): Promise<Response> {
  const body = await bodyOf(c, summaryBody);
  const leaving = leavingOf(c);
  const given = [body.text, body.url, body.documents].filter((each) => each !== undefined).length;
  if (given !== 1)
    throw new HttpError(400, "bad-input", {
      what: "text, url and documents",
      got: `${given} of them`,
      wanted: "one of them",
    });
  const model = await modelOf(serving, body.model);
  // batch, where the caller does not ask otherwise and may use it
  const lanes = c.get("caller").lanes;
  const lane = laneOf(c, body.lane ?? (lanes.includes("batch") ? "batch" : undefined));
  const warnings = unknownFields(body, summaryBody).map((key) => `${key} is not known here and was ignored`);
  const events = made(serving, c, { body, model, lane, warnings, signal: leaving.signal });
  if (body.stream)
    return streamOf(serving, c, {
      events,
      leaving,
      async *chunks(from) {
        for await (const [event] of from) yield event.type === "progress" ? event : { type: "summary", ...event.value };
        yield "[DONE]";
      },
    });
  const job = c.req.header("x-request-id") ?? "";
  for await (const [event] of events)
    if (event.type === "progress") serving.jobs.note(job, event.progress);
    else return c.json(event.value);
  throw new IroriError("io", { what: "the summary ended without a result" });
}

interface Made {
  readonly body: SummaryBody;
  readonly model: string;
  readonly lane: "interactive" | "batch";
  readonly warnings: readonly string[];
  readonly signal: AbortSignal;
}

/** Progress as it comes, then the result. */
async function* made(serving: Serving, c: Ctx, given: Made): AsyncGenerator<readonly [Event, number], void> {
  const events = told<Event>(given.signal, async (tell, signal) => {
    const onProgress = (progress: ProgressEvent): void => tell({ type: "progress", progress });
    tell({ type: "result", value: await result(serving, c, { ...given, signal }, onProgress) });
  });
  for await (const event of events) yield [event, 0];
}

async function result(
  serving: Serving,
  c: Ctx,
  { body, model, lane, warnings, signal }: Made,
  onProgress: (event: ProgressEvent) => void,
) {
  const { host, residents, answers, lanes, store, clock, now } = serving;
  const [caller, requestId] = [c.get("caller").name, c.get("requestId")];
  using writer = await answersWriter({ host, residents, answers, model, lane, caller, requestId }, signal);
  const options: SummarizeOptions = {
    ...{
      writer,
      language: body.language,
      bullets: body.bullets,
      chunkTokens: body.chunk_tokens,
      kept: keptIn(store, clock),
    },
    ...{ atOnce: lanes.state().slots, signal, onProgress, now, wait: (ms) => wait(ms, undefined, { signal }) },
  };
  const about = { model, lane, ...(warnings.length > 0 && { warnings }) };
  if (body.documents !== undefined) {
    const { responses, errors } = await summarizeMany(body.documents as Document[], options);
    return { object: "list", ...about, responses, errors };
  }
  const source = body.url === undefined ? (body.text as string) : await fetched(serving, body.url, signal);
  return { object: "summary", ...about, ...(await summarize(source, options)) };
}

async function fetched({ mayFetch }: Serving, url: string, signal: AbortSignal): Promise<string> {
  if (!mayFetch)
    throw new HttpError(
      403,
      "unsupported",
      { what: "this server fetches no addresses for callers", next: "send the text" },
      "url",
    );
  return (await fetchText(url, { isPublicOnly: true, signal })).text;
}
