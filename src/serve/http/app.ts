// All routes of the server as one list, and what stands around each: the door, request ids, sizes, errors, the log.
// It does not know what a route does.
import { Hono, type MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import type { z } from "zod";
import { type DoorOptions, door } from "./door.ts";
import { type ErrorFacts, factsOfError, HttpError, ollamaError, openAiError } from "./errors.ts";
import { eventRoutes } from "./events.ts";
import { insideRoutes } from "./inside.ts";
import { jobRoutes } from "./jobs.ts";
import { memoryRoutes } from "./memory.ts";
import { nativeRoutes } from "./native.ts";
import { ollamaRoutes } from "./ollama.ts";
import { postChat } from "./openai-chat.ts";
import { postCompletions } from "./openai-completions.ts";
import { getModel, getModels, postEmbeddings } from "./openai-embeddings.ts";
import { chatSchema, completionSchema, embeddingSchema } from "./openai-schema.ts";
import { openApiOf } from "./openapi.ts";
import { responseRoutes } from "./responses.ts";
import type { Ctx, Env, Serving } from "./serving.ts";
import { summaryRoutes } from "./summaries.ts";

export interface Route {
  readonly method: "GET" | "POST" | "DELETE" | "PUT" | "HEAD";
  readonly path: string;
  /** What its body must be: checked by the route, told in /openapi.json. */
  readonly body?: z.ZodType;
  readonly serve: (serving: Serving, c: Ctx) => Promise<Response>;
}

const routes: readonly Route[] = [
  { method: "POST", path: "/v1/chat/completions", body: chatSchema, serve: postChat },
  { method: "POST", path: "/v1/completions", body: completionSchema, serve: postCompletions },
  { method: "POST", path: "/v1/embeddings", body: embeddingSchema, serve: postEmbeddings },
  { method: "GET", path: "/v1/models", serve: getModels },
  { method: "GET", path: "/v1/models/:model", serve: getModel },
  ...responseRoutes,
  ...ollamaRoutes,
  ...jobRoutes,
  ...summaryRoutes,
  ...memoryRoutes,
  ...insideRoutes,
  ...eventRoutes,
  ...nativeRoutes,
  { method: "GET", path: "/", serve: async (_, c) => c.text("Irori is running") },
  { method: "GET", path: "/health/live", serve: async (_, c) => c.json({ status: "ok" }) },
  { method: "GET", path: "/health/ready", serve: getReady },
  {
    ...{ method: "GET", path: "/metrics" },
    serve: async ({ metrics }, c) => c.body(await metrics.text(), 200, { "content-type": metrics.contentType }),
  },
  { method: "GET", path: "/openapi.json", serve: async ({ version }, c) => c.json(openApiOf(routes, version)) },
  { method: "GET", path: "/irori/lanes", serve: async ({ lanes }, c) => c.json(lanes.state()) },
  { method: "GET", path: "/irori/status", serve: async (serving, c) => c.json(await statusOf(serving)) },
];

/** The routes without the door, for jobs: whoever asks was let in when the job was submitted, and is told of by a header. */
export function makeInner(serving: Serving, onRequest: AppOptions["onRequest"]): Hono<Env> {
  const app = new Hono<Env>();
  app.use(async (c, next) => {
    const start = serving.now();
    c.set("requestId", c.req.header("x-request-id") ?? serving.unique());
    c.set("caller", { name: c.req.header("x-irori-caller") ?? "anonymous", lanes: ["batch"] });
    await next();
    onRequest?.({ ...factsOf(c), ms: serving.now() - start });
  });
  serveRoutes(app, serving);
  app.onError((error, c) => {
    const facts = factsOfError(error);
    if (facts.status >= 500) serving.onStreamError(c.get("requestId"), error);
    return told(c, facts);
  });
  return app;
}

export interface AppOptions {
  readonly door: DoorOptions;
  readonly bodyBytes: number;
  /** Told of every request when its answer has gone out. */
  readonly onRequest?: ((request: RequestFacts) => void) | undefined;
  readonly onError?: ((requestId: string, error: unknown) => void) | undefined;
}

export interface RequestFacts {
  readonly requestId: string;
  readonly method: string;
  /** The route's, not what was called: nothing of a caller is in it. */
  readonly route: string;
  readonly status: number;
  readonly ms: number;
  readonly caller: string;
  /** As it was called: told to logs that were asked for it. */
  readonly path: string;
  /** Of W3C's trace context, where the caller sent it. */
  readonly traceparent?: string | undefined;
}

export function makeApp(serving: Serving, options: AppOptions): Hono<Env> {
  const app = new Hono<Env>();
  app.use(async (c, next) => {
    const start = serving.now();
    const given = c.req.header("x-request-id");
    const requestId = given !== undefined && /^[\w.-]{1,64}$/.test(given) ? given : serving.unique();
    c.set("requestId", requestId);
    c.header("x-request-id", requestId);
    await next();
    const told = factsOf(c);
    const gone = () => {
      c.get("leave")?.();
      options.onRequest?.({ ...told, ms: serving.now() - start });
    };
    const streamed = c.get("streamed");
    if (streamed === undefined) gone();
    else void streamed.then(gone);
  });
  app.use(door(options.door));
  app.use(limitOf(options.bodyBytes));
  serveRoutes(app, serving);
  app.onError((error, c) => {
    const facts = factsOfError(error);
    if (facts.status >= 500) options.onError?.(c.get("requestId"), error);
    return told(c, facts);
  });
  return app;
}

/** Bodies of so many bytes at most. Node reads no more than was announced: only what comes in unannounced pieces is counted. */
function limitOf(bytes: number): MiddlewareHandler<Env> {
  const tooLong = (): never => {
    throw new HttpError(413, "bad-input", { what: "the body is too long", wanted: `at most ${bytes} bytes` });
  };
  const counted = bodyLimit({ maxSize: bytes, onError: tooLong });
  return async (c, next) => {
    if (c.req.header("transfer-encoding") !== undefined) return counted(c, next);
    return Number(c.req.header("content-length") ?? 0) > bytes ? tooLong() : next();
  };
}

const factsOf = (c: Ctx): Omit<RequestFacts, "ms"> => ({
  ...{ requestId: c.get("requestId"), method: c.req.method, route: c.req.routePath, status: c.res.status },
  ...{ caller: c.get("caller")?.name ?? "refused", path: c.req.path, traceparent: c.req.header("traceparent") },
});

/** Every route; another method of its path is a 405 that names those there are, another path a 404. */
function serveRoutes(app: Hono<Env>, serving: Serving): void {
  for (const { method, path, serve } of routes) app.on(method, path, (c) => serve(serving, c));
  for (const [path, of] of Map.groupBy(routes, (route) => route.path))
    app.all(path, (c) => {
      const methods = of.flatMap(({ method }) => (method === "GET" ? ["GET", "HEAD"] : [method])).join(", ");
      c.header("allow", methods);
      const what = `there is no ${c.req.method} ${c.req.path} here`;
      return told(c, factsOfError(new HttpError(405, "unsupported", { what, wanted: methods })));
    });
  app.notFound((c) => {
    const what = `there is no ${c.req.method} ${c.req.path} here`;
    return told(c, factsOfError(new HttpError(404, "not-found", { what, next: "docs/serve.md lists what there is" })));
  });
}

/** Ready where every model that is served is open and warm. */
async function getReady({ models, residents }: Serving, c: Ctx): Promise<Response> {
  const missing = models.filter((model) => !residents.isOpen(model));
  return c.json({ status: missing.length === 0 ? "ready" : "loading", missing }, missing.length === 0 ? 200 : 503);
}

/** Lanes, models and memory, as `irori ps` shows them. */
async function statusOf({ residents, lanes, host, version, jobs, metrics, remotes, now, startedAt }: Serving) {
  const models = residents.open().map(({ model, facts, users, idleMs, isPinned, items, load }) => ({
    ...{ model, requests: users, idle_ms: Math.round(idleMs), context: facts.context, weight_bytes: facts.weightBytes },
    ...{ pinned: isPinned, plan: items, ...(load && { load: { cause: load.cause, ms: Math.round(load.ms) } }) },
  }));
  return {
    version,
    uptime_s: Math.round((now() - startedAt) / 1000),
    totals: metrics.totals,
    lanes: lanes.state(),
    models,
    loads: residents.loads(),
    memory: await host.memory(),
    jobs: await jobs.counts(),
    remotes: remotes.state(),
  };
}
export type ServerStatus = Awaited<ReturnType<typeof statusOf>>;

function told(c: Ctx, facts: ErrorFacts): Response {
  const { status, retryAfter } = facts;
  if (retryAfter !== undefined) c.header("retry-after", String(retryAfter));
  const body = c.req.path.startsWith("/api/") ? ollamaError(facts) : openAiError(facts);
  return c.json(body, status as 400);
}
