// The server: a host, residents, lanes and routes put together, bound to an address, and taken down in order.
// It does not know argv or where the engine runs.

import { randomBytes, randomUUID } from "node:crypto";
import type { Server as NodeServer } from "node:http";
import { createAdaptorServer } from "@hono/node-server";
import { IroriError, type OnProgress, seededRandom, unlessAborted } from "../base/mod.ts";
import { idMaker, openInMemory } from "../memory/mod.ts";
import { Answers, type Limits } from "./answers.ts";
import { Events } from "./events.ts";
import type { Host } from "./host.ts";
import { type AppOptions, makeApp, makeInner, type RequestFacts } from "./http/app.ts";
import { isLoopback, type Key } from "./http/door.ts";
import type { Serving } from "./http/serving.ts";
import { type JobAnswer, type JobLimits, Jobs } from "./jobs.ts";
import { KeptResponses } from "./kept-responses.ts";
import { DEFAULT_LANES, type LaneOptions } from "./lane-policy.ts";
import { Lanes } from "./lanes.ts";
import { Memories, type MemoryPlace } from "./memories.ts";
import { Metrics } from "./metrics.ts";
import { type RemoteOptions, Remotes, type RemotesOptions } from "./remotes.ts";
import { PLANNED_CONTEXT, RESERVE_BYTES } from "./residency.ts";
import { type Load, Residents } from "./residents.ts";
import { after, every } from "./timers.ts";
import { type Watcher, watchedByAll } from "./watcher.ts";
import type { Job } from "./work/work-file.ts";
import { openWorkStore } from "./work/work-store.ts";

export interface ServerLimits extends Limits {
  readonly bodyBytes: number;
  /** Choices of one request. */
  readonly choices: number;
  readonly embedTexts: number;
  /** Of one request's captures, as float32. */
  readonly captureBytes: number;
  /** Requests in work, of all callers. */
  readonly openRequests: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  ...{ defaultMaxTokens: 1024, maxTokens: 32_768, promptTokens: 1_000_000 },
  ...{ bodyBytes: 16 * 2 ** 20, choices: 16, embedTexts: 2048, openRequests: 1024 },
  captureBytes: 16 * 2 ** 20,
};

export interface ServerOptions {
  readonly host: Host;
  /** Models that are opened before the server says that it is ready; the first is the default. */
  readonly models: readonly string[];
  /** Default "127.0.0.1". Any other but loopback wants a key. */
  readonly hostname?: string | undefined;
  /** Default 11435; 0 takes any that is free. */
  readonly port?: number | undefined;
  readonly keys?: readonly Key[] | undefined;
  /** Further names that a Host header may say. */
  readonly hosts?: readonly string[] | undefined;
  /** Origins of pages that may call. */
  readonly origins?: readonly string[] | undefined;
  readonly lanes?: Partial<LaneOptions> | undefined;
  readonly limits?: Partial<ServerLimits> | undefined;
  readonly version: string;
  /** The SQLite file of jobs and of finished parts of summaries; its folder must exist. Default: none is kept. */
  readonly workFile?: string | undefined;
  /** Where memories are kept. Default: in this process, until the server ends. */
  readonly memory?: MemoryPlace | undefined;
  /** Callers may name public addresses to be read for summaries. Default: no. */
  readonly mayFetch?: boolean | undefined;
  readonly jobs?: (Partial<JobLimits> & { readonly atOnce?: number }) | undefined;
  /** Milliseconds between heartbeats of a stream on which nothing comes. Default 10,000. */
  readonly beatMs?: number | undefined;
  /** Bytes that all models, their answers and the reserve may take. Default: what is free before the first is opened. */
  readonly budgetBytes?: number | undefined;
  /** Bytes of the budget that no model takes. Default 64 MiB. */
  readonly reserveBytes?: number | undefined;
  /** Tokens of a model's answers together that room is kept for. Default 4,096, or the model's context where that is shorter. */
  readonly plannedContext?: number | undefined;
  /** Models that never give way to others. Default: `models`. */
  readonly pinned?: readonly string[] | undefined;
  /** Milliseconds that requests for a model which is not open wait at most for others, which go on coming, to end. Default 30,000. */
  readonly mostSwitchWaitMs?: number | undefined;
  /** Models that are not pinned close when nobody used them for so many milliseconds. Default: when their room is wanted. */
  readonly closeAfterMs?: number | undefined;
  /** Ends the start. */
  readonly signal?: AbortSignal | undefined;
  readonly onLoad?: ((load: Load) => void) | undefined;
  /** Told when what runs models has died, and when it is back. */
  readonly onEngine?: Host["onEngine"];
  readonly onProgress?: OnProgress | undefined;
  /** Other servers that take batch work (`remotesOf`). */
  readonly remotes?: readonly RemoteOptions[] | undefined;
  readonly onRemote?: RemotesOptions["onChange"];
  /** Logs and traces; they are closed with the server. */
  readonly watchers?: readonly Watcher[] | undefined;
  readonly onError?: AppOptions["onError"];
}

/** This process among all that ever held jobs. */
const RUN = randomUUID();

/** Milliseconds between two pictures of the lanes for those who listen. */
const LANES_MS = 500;

/** 11434 is Ollama's. */
export const DEFAULT_PORT = 11435;

export interface RunningServer extends AsyncDisposable {
  readonly url: string;
  readonly serving: Serving;
}

/** Opens the models, then the door. Disposing of it lets what runs end, for so long as the process that holds it has patience. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { host, hostname = "127.0.0.1", port = DEFAULT_PORT, keys = [] } = options;
  if (!isLoopback(hostname) && keys.length === 0)
    throw new IroriError("bad-input", {
      what: `binding ${hostname} lets other machines in, and there is no key`,
      next: "set a key (IRORI_KEYS or --key NAME=KEY), or bind 127.0.0.1",
    });
  const now = () => performance.now();
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const metrics = new Metrics();
  const events = new Events({ run: RUN.slice(0, 8), clock: Date.now });
  host.onEngine = (change) => {
    const { type: state, reason, ms } = change;
    events.tell({ type: "engine", state, reason, ms: Math.round(ms) });
    options.onEngine?.(change);
  };
  const { watchers = [] } = options;
  const onRequest = (facts: RequestFacts) => {
    for (const watcher of watchers) watcher.request(facts);
  };
  const onLoad = (load: Load) => {
    metrics.loaded(load);
    for (const watcher of watchers) watcher.loaded?.(load);
    events.tell({ type: "load", ...load, ms: Math.round(load.ms) });
    options.onLoad?.(load);
  };
  let bareBytes: number | undefined;
  const ownBytes = async () => {
    const { privateBytes } = await host.memory();
    return Math.max(0, privateBytes - (bareBytes ?? privateBytes));
  };
  const residents = new Residents({
    host,
    now,
    onLoad,
    onUnload: (unload) => events.tell({ type: "unload", ...unload }),
    onProgress: options.onProgress,
    after,
    context: options.plannedContext ?? PLANNED_CONTEXT,
    pinned: options.pinned ?? options.models,
    mostSwitchWaitMs: options.mostSwitchWaitMs ?? 30_000,
    closeAfterMs: options.closeAfterMs,
    budget: async () => {
      const { freeBytes, privateBytes } = await host.memory();
      bareBytes = privateBytes; // asked before the first model is opened
      return { bytes: options.budgetBytes ?? freeBytes, reserveBytes: options.reserveBytes ?? RESERVE_BYTES };
    },
  });
  const lanes = new Lanes({
    policy: { ...DEFAULT_LANES, ...options.lanes },
    now,
    after,
    onEffect: (effect) => {
      metrics.effect(effect);
      isMoved = true;
    },
  });
  let isMoved = false;
  const stopShowing = every(LANES_MS, () => {
    if (isMoved && events.listeners > 0) events.show({ type: "lanes", ...lanes.state() });
    isMoved = false;
  });
  metrics.read(lanes, () => host.memory());
  metrics.readPlans(() => residents.open().map(({ model, items }) => ({ model, items })), ownBytes);
  const remotes = new Remotes({ remotes: options.remotes ?? [], now, every, onChange: options.onRemote });
  metrics.readRemotes(remotes);
  const answers = new Answers({
    host,
    residents,
    lanes,
    remotes,
    limits,
    now,
    watch: watchedByAll([metrics, ...watchers].map(({ watch }) => watch)),
  });
  const onError = options.onError ?? (() => undefined);
  const store = await openWorkStore(options.workFile ?? ":memory:");
  const jobs = new Jobs({
    ...{
      store,
      clock: Date.now,
      every,
      unique: randomUUID,
      owner: { pid: process.pid, run: RUN },
      limits: options.jobs,
    },
    atOnce: options.jobs?.atOnce ?? lanes.state().slots,
    work: (job, signal) => answered(inner, job, signal),
    onError: (id, error) => onError(id, error),
    onEnd: (status) => metrics.jobEnded(status),
    onChange: ({ id, caller, url, status, progress }) =>
      events.tell({ type: "job", id, caller, url, status, ...(progress !== undefined && { progress }) }),
  });
  const random = seededRandom(randomBytes(6).readUIntLE(0, 6));
  const inMemory: MemoryPlace = {
    known: async () => undefined,
    open: async (embedder) => openInMemory({ embedder, newId: idMaker(random) }),
  };
  const memories = new Memories({ host, residents, clock: Date.now, random, place: options.memory ?? inMemory });
  const serving: Serving = {
    ...{
      host,
      residents,
      lanes,
      answers,
      remotes,
      metrics,
      limits,
      jobs,
      store,
      models: options.models,
      version: options.version,
    },
    ...{ beatMs: options.beatMs ?? 10_000, every, now, startedAt: now(), clock: Date.now, unique: randomUUID },
    ...{ mayFetch: options.mayFetch ?? false, responses: new KeptResponses(), memories, events, ownBytes },
    namespacesOf: (caller) => keys.find(({ name }) => name === caller)?.namespaces,
    random: () => randomBytes(4).readUInt32LE(),
    onStreamError: onError,
  };
  const inner = makeInner(serving, onRequest);
  const app = makeApp(serving, {
    door: {
      hostname,
      keys,
      hosts: options.hosts ?? [],
      origins: options.origins ?? [],
      mostOpen: limits.openRequests,
      now,
    },
    ...{ bodyBytes: limits.bodyBytes, onRequest, onError },
  });
  const server = createAdaptorServer({ fetch: app.fetch }) as NodeServer;
  server.requestTimeout = 60_000; // of the request's own bytes: a slow sender
  server.headersTimeout = 10_000;
  const end = async (patienceMs?: number) => {
    stopShowing();
    events.close(); // those who listen would listen on
    await close(server, patienceMs);
    await jobs[Symbol.asyncDispose]();
    await remotes[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
    await memories[Symbol.asyncDispose]();
    await host[Symbol.asyncDispose]();
    for (const watcher of watchers) await watcher[Symbol.asyncDispose]();
  };
  try {
    const bound = await listen(server, hostname, port);
    // who asks meanwhile waits for the same loads; /health/ready says so
    for (const model of options.models)
      (await unlessAborted(residents.use(model), options.signal, `opening ${model}`))[Symbol.dispose]();
    return {
      url: `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${bound}`,
      serving,
      [Symbol.asyncDispose]: () => end(),
    };
  } catch (error) {
    await end(0);
    throw error;
  }
}

/** A job's request, through the routes. */
async function answered(
  inner: ReturnType<typeof makeInner>,
  { id, caller, url, body }: Job,
  signal: AbortSignal,
): Promise<JobAnswer> {
  const headers = { "content-type": "application/json", "x-irori-caller": caller, "x-request-id": id };
  const response = await inner.fetch(new Request(`http://job${url}`, { method: "POST", body, headers, signal }));
  return { status: response.status, body: await response.text() };
}

function listen(server: NodeServer, hostname: string, port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.once("error", (error: NodeJS.ErrnoException) => {
    const isTaken = error.code === "EADDRINUSE";
    const next = isTaken ? "stop what runs there (`irori stop`), or take another --port" : undefined;
    reject(new IroriError("io", { what: `${hostname}:${port} cannot be bound`, got: error.code, next, cause: error }));
  });
  server.listen(port, hostname, () => {
    const address = server.address();
    resolve(typeof address === "object" && address !== null ? address.port : port);
  });
  return promise;
}

/** No new connections; those that wait for an answer get it for a while, then all are closed. */
async function close(server: NodeServer, patienceMs = 5000): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), patienceMs);
  await promise;
  clearTimeout(timer);
}
