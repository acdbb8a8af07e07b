// What every route has at hand: the answers, the models, and the caller's part of a request that all APIs share.
// It does not know any API's shapes.
import type { Context } from "hono";
import { z } from "zod";
import type { Answers } from "../answers.ts";
import type { Events } from "../events.ts";
import type { Host } from "../host.ts";
import type { Jobs } from "../jobs.ts";
import type { KeptResponses } from "../kept-responses.ts";
import type { Lane } from "../lane-policy.ts";
import type { Lanes } from "../lanes.ts";
import type { ServerLimits } from "../limits.ts";
import type { Memories } from "../memories.ts";
import type { Metrics } from "../metrics.ts";
import type { Remotes } from "../remotes.ts";
import type { Residents } from "../residents.ts";
import type { WorkStore } from "../work/work-store.ts";
import { factsOfError, HttpError, openAiError } from "./errors.ts";
import type { Item } from "./responses-schema.ts";
import { sse } from "./stream.ts";

/** Who calls, as the door found out. */
export interface Caller {
  readonly name: string;
  /** Lanes that it may use; the first where it does not say. */
  readonly lanes: readonly Lane[];
}

export interface Serving {
  readonly host: Host;
  readonly residents: Residents;
  readonly lanes: Lanes;
  readonly answers: Answers;
  readonly remotes: Remotes;
  readonly metrics: Metrics;
  readonly jobs: Jobs;
  /** Finished parts of summaries, and jobs. */
  readonly store: WorkStore;
  /** What /v1/responses goes on from. */
  readonly responses: KeptResponses<Item>;
  readonly memories: Memories;
  readonly events: Events;
  /** Bytes that no file backs which the engine's process took since it had no model: measured now. */
  readonly ownBytes: () => Promise<number>;
  /** Namespaces that a caller's key has; undefined for all. */
  readonly namespacesOf: (caller: string) => readonly string[] | undefined;
  /** Callers may name public addresses to be read. */
  readonly mayFetch: boolean;
  readonly limits: ServerLimits;
  /** Models that are served whatever the store says, the first where a request names none. */
  readonly models: readonly string[];
  readonly version: string;
  /** Milliseconds between heartbeats of a stream on which nothing comes. */
  readonly beatMs: number;
  readonly every: (ms: number, then: () => void) => () => void;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
  /** When it started, by `now`. */
  readonly startedAt: number;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** A whole number from 0 to 2^32 - 1. */
  readonly random: () => number;
  readonly onStreamError: (requestId: string, error: unknown) => void;
  /** A name that nobody else has. */
  readonly unique: () => string;
}

export type Env = {
  Variables: {
    caller: Caller;
    requestId: string;
    /** Called when the answer, streams included, has gone out. */
    leave: (() => void) | undefined;
    /** Of an answer that is a stream: until its end. */
    streamed: Promise<void> | undefined;
  };
};
export type Ctx = Context<Env>;

/** What a caller may say of how a request is served, in any API's body or in headers. */
export const servedFields = {
  lane: z.enum(["interactive", "batch"]).optional(),
  timeout_ms: z.number().int().positive().optional(),
};

/** The lane of a request. Throws where the caller's key does not allow it. */
export function laneOf(c: Ctx, asked: Lane | undefined): Lane {
  const { lanes, name } = c.get("caller");
  const header = c.req.header("x-irori-lane");
  const wanted = asked ?? (header === undefined ? undefined : z.enum(["interactive", "batch"]).parse(header));
  if (wanted === undefined) return lanes[0] as Lane;
  if (lanes.includes(wanted)) return wanted;
  throw new HttpError(
    403,
    "bad-input",
    { what: `the lane of ${name}`, got: wanted, wanted: lanes.join(" or ") },
    "lane",
  );
}

/** A model that may be asked for: one that is served, or one of the store. */
export async function modelOf({ models, host }: Serving, asked: string | undefined): Promise<string> {
  const wanted = asked ?? models[0];
  if (wanted === undefined) throw new HttpError(400, "bad-input", { what: "model is missing" }, "model");
  const plain = wanted.replace(/:latest$/, "");
  if (models.includes(plain)) return plain;
  const stored = await host.stored();
  const found = stored.find(({ name }) => name === plain);
  if (found) return found.name;
  const all = [...new Set([...models, ...stored.map(({ name }) => name)])];
  throw new HttpError(
    404,
    "not-found",
    {
      what: `there is no model ${JSON.stringify(wanted)} here`,
      wanted: all.join(", ") || "none is stored",
      next: "`irori pull` fetches others",
    },
    "model",
  );
}

/** Aborts when the client has left, or when whoever holds it says so. */
export function leavingOf(c: Ctx): AbortController {
  const controller = new AbortController();
  const { signal } = c.req.raw;
  const leave = () => controller.abort();
  if (signal.aborted) leave();
  else signal.addEventListener("abort", leave, { once: true });
  // the runtime keeps a request's signal as long as the request: a listener that is left there would keep the request in turn
  controller.signal.addEventListener("abort", () => signal.removeEventListener("abort", leave), { once: true });
  return controller;
}

/** Fields of a body that its schema does not know: they are named in the answer, not obeyed. */
export const unknownFields = (body: object, schema: z.ZodObject): string[] =>
  Object.keys(body).filter((key) => !Object.hasOwn(schema.shape, key));

interface Streamed<T> {
  readonly events: AsyncGenerator<readonly [T, number], void>;
  readonly leaving: AbortController;
  /** What the reader gets of the events. */
  readonly chunks: (events: AsyncGenerator<readonly [T, number], void>) => AsyncGenerator<unknown, void>;
  /** "sse" where it does not say. */
  readonly as?: typeof sse;
  readonly errorOf?: (error: unknown) => unknown;
}

/**
 * A stream of what comes of events. What fails before the first of them is thrown, so that it has a status; what fails later is
 * the stream's last record.
 */
export async function streamOf<T extends { readonly type: string }>(
  serving: Serving,
  c: Ctx,
  streamed: Streamed<T>,
): Promise<Response> {
  const { events, leaving, chunks, as = sse, errorOf = (error) => openAiError(factsOfError(error)) } = streamed;
  let position: (() => number) | undefined;
  const first = await events.next();
  async function* watched(): AsyncGenerator<readonly [T, number], void> {
    try {
      for (let next = first; !next.done; next = await events.next()) {
        const [event] = next.value;
        if (event.type === "queued") ({ position } = event as unknown as { position: () => number });
        else if (event.type === "started") position = undefined;
        yield next.value;
      }
    } finally {
      await events.return();
    }
  }
  const text = () => {
    const place = position?.() ?? 0;
    return place > 0 ? `waiting, position ${place}` : "working";
  };
  return as(chunks(watched()), {
    beat: { everyMs: serving.beatMs, text },
    onError: (error) => {
      serving.onStreamError(c.get("requestId"), error);
      return errorOf(error);
    },
    onLeft: () => leaving.abort(),
    onEnd: streamsTo(c),
    every: serving.every,
    headers: { "x-request-id": c.get("requestId") },
  });
}

/** The answer is a stream; gives what its end is told to. */
export function streamsTo(c: Ctx): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  c.set("streamed", promise);
  return resolve;
}

/** A JSON body against a schema; keys that nobody knows stay. */
export async function bodyOf<T extends z.ZodObject>(c: Ctx, schema: T): Promise<z.infer<T>> {
  let body: unknown;
  try {
    body = await c.req.json();
  } catch (cause) {
    throw new HttpError(400, "bad-input", {
      what: "the body is no JSON",
      got: cause instanceof Error ? cause.message : "",
      cause,
    });
  }
  return schema.parse(body);
}
