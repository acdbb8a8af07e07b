// /irori/jobs: submit, poll, cancel. A job is a request to one of the other routes, in the words of OpenAI's batches.
// It does not know how jobs are kept or done.
import { z } from "zod";
import type { Job } from "../work/work-file.ts";
import type { Route } from "./app.ts";
import { HttpError } from "./errors.ts";
import { bodyOf, type Ctx, type Serving } from "./serving.ts";

/** Routes that a job may ask. */
const URLS = [
  ...["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/irori/summaries"],
  ...["/api/chat", "/api/generate", "/api/embed"],
] as const;
const MOST_AT_ONCE = 1_000;
const MOST_WAIT_MS = 60_000;

const key = z.string().min(1).max(256);
const asked = z.object({
  url: z.enum(URLS),
  body: z.record(z.string(), z.unknown()),
  /** Submitted twice under one key, it is one job. */
  idempotency_key: key.optional(),
  /** OpenAI's name for it; comes back with the job. */
  custom_id: key.optional(),
  method: z.literal("POST").optional(),
});
const list = z.object({ jobs: z.array(asked).min(1).max(MOST_AT_ONCE) });
const jobBody = z.union([asked, list]);

export const jobRoutes: readonly Route[] = [
  { method: "POST", path: "/irori/jobs", serve: postJobs, body: jobBody },
  { method: "GET", path: "/irori/jobs", serve: getJobs },
  { method: "GET", path: "/irori/jobs/:id", serve: getJob },
  { method: "POST", path: "/irori/jobs/:id/cancel", serve: cancelJob },
  { method: "DELETE", path: "/irori/jobs/:id", serve: deleteJob },
];

async function postJobs(serving: Serving, c: Ctx): Promise<Response> {
  mayUseBatch(c);
  const given = await bodyOf(c, z.looseObject({}));
  if ("jobs" in given) {
    const body = list.parse(given);
    // each by itself: one that cannot be taken does not stop the others
    const jobs = await Promise.all(
      body.jobs.map((one) => submitted(serving, c, one, one.idempotency_key ?? one.custom_id)),
    );
    return c.json({ object: "list", data: jobs.map(({ job }) => job) }, 202);
  }
  const body = asked.parse(given);
  const header = c.req.header("idempotency-key");
  const { job, isNew } = await submitted(serving, c, body, body.idempotency_key ?? (header && key.parse(header)));
  return c.json(job, isNew ? 202 : 200);
}

async function submitted(serving: Serving, c: Ctx, one: z.infer<typeof asked>, name: string | undefined) {
  if (one.body.stream === true)
    throw new HttpError(
      400,
      "bad-input",
      { what: "body.stream", got: "true", wanted: "false: a job is answered whole" },
      "body.stream",
    );
  if (one.body.lane === "interactive")
    throw new HttpError(
      400,
      "bad-input",
      { what: "body.lane", got: "interactive", wanted: "batch: jobs have all night" },
      "body.lane",
    );
  const { url } = one;
  // Ollama's routes stream where nothing is said
  const body = JSON.stringify({
    ...one.body,
    ...(url.startsWith("/api/") && url !== "/api/embed" && { stream: false }),
  });
  const { job, isNew } = await serving.jobs.submit({ caller: c.get("caller").name, key: name ?? null, url, body });
  return { job: { ...told(serving, job), ...(one.custom_id && { custom_id: one.custom_id }) }, isNew };
}

function mayUseBatch(c: Ctx): void {
  const { lanes, name } = c.get("caller");
  if (!lanes.includes("batch"))
    throw new HttpError(403, "bad-input", { what: `the key ${name}`, got: "a job", wanted: lanes.join(" or ") });
}

async function getJobs({ jobs, ...serving }: Serving, c: Ctx): Promise<Response> {
  const { status, limit } = z
    .object({
      status: z.enum(["queued", "running", "done", "failed", "cancelled"]).optional(),
      limit: z.coerce.number().int().min(1).max(1000).default(100),
    })
    .parse(c.req.query());
  const found = await jobs.list(c.get("caller").name, status, limit);
  return c.json({ object: "list", data: found.map((job) => told({ ...serving, jobs }, job)) });
}

async function getJob(serving: Serving, c: Ctx): Promise<Response> {
  const { wait_ms } = z
    .object({ wait_ms: z.coerce.number().int().min(0).max(MOST_WAIT_MS).default(0) })
    .parse(c.req.query());
  const job = await serving.jobs.get(idOf(c), c.get("caller").name, wait_ms, c.req.raw.signal);
  return c.json(told(serving, job));
}

async function cancelJob(serving: Serving, c: Ctx): Promise<Response> {
  return c.json(told(serving, await serving.jobs.cancel(idOf(c), c.get("caller").name)));
}

async function deleteJob(serving: Serving, c: Ctx): Promise<Response> {
  await serving.jobs.remove(idOf(c), c.get("caller").name);
  return c.json({ id: idOf(c), object: "job", deleted: true });
}

const idOf = (c: Ctx): string => c.req.param("id") ?? "";
const seconds = (ms: number | null): number | null => (ms === null ? null : ms / 1000);

function told({ jobs }: Pick<Serving, "jobs">, job: Job) {
  const { id, url, status, attempts, createdAt, startedAt, endedAt, answerStatus, answer } = job;
  const progress = status === "running" ? jobs.noted(id) : undefined;
  return {
    ...{ id, object: "job", url, status, attempts },
    ...{ created_at: seconds(createdAt), started_at: seconds(startedAt), ended_at: seconds(endedAt) },
    ...(progress !== undefined && { progress }),
    ...(answer !== null && { response: { status_code: answerStatus, body: JSON.parse(answer) as unknown } }),
  };
}
