// What routes have at hand, made of a server's options, and let go in order.
// It does not know addresses, routes or where the engine runs.
import { randomBytes, randomUUID } from "node:crypto";
import { type OnProgress, seededRandom } from "../base/mod.ts";
import { idMaker, openInMemory } from "../memory/mod.ts";
import { Answers } from "./answers.ts";
import { Events } from "./events.ts";
import type { Host } from "./host.ts";
import type { AppOptions } from "./http/app.ts";
import type { Key } from "./http/door.ts";
import type { Serving } from "./http/serving.ts";
import { type JobLimits, Jobs, type JobsOptions } from "./jobs.ts";
import { KeptResponses } from "./kept-responses.ts";
import { DEFAULT_LANES, type LaneOptions } from "./lane-policy.ts";
import { Lanes, type LanesOptions } from "./lanes.ts";
import { DEFAULT_LIMITS, type ServerLimits } from "./limits.ts";
import { Memories, type MemoryPlace } from "./memories.ts";
import { Metrics } from "./metrics.ts";
import { type RemoteOptions, Remotes, type RemotesOptions } from "./remotes.ts";
import { PLANNED_CONTEXT, RESERVE_BYTES } from "./residency.ts";
import { type Load, Residents } from "./residents.ts";
import { after, every } from "./timers.ts";
import { type Watcher, watchedByAll } from "./watcher.ts";
import { openWorkStore } from "./work/work-store.ts";

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
  /** Milliseconds that answers have to end when the server is stopped. Default 5,000. */
  readonly patienceMs?: number | undefined;
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

const now = (): number => performance.now();

export interface Assembly extends AsyncDisposable {
  readonly serving: Serving;
  /** Ends what would go on by itself: events for those who listen, and jobs, which the next start takes up. */
  readonly stopWork: () => Promise<void>;
}

/** @param work a job's request through the routes */
export async function assemble(options: ServerOptions, work: JobsOptions["work"]): Promise<Assembly> {
  const { host, keys = [], watchers = [], onError = () => undefined } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const metrics = new Metrics();
  const events = new Events({ run: RUN.slice(0, 8), clock: Date.now });
  host.onEngine = (change) => {
    const { type: state, reason, ms } = change;
    events.tell({ type: "engine", state, reason, ms: Math.round(ms) });
    options.onEngine?.(change);
  };
  const { residents, ownBytes } = residentsOf(options, events, metrics);
  const { lanes, stopShowing } = lanesOf(options, events, metrics);
  const remotes = new Remotes({ remotes: options.remotes ?? [], now, every, onChange: options.onRemote });
  metrics.read(lanes, () => host.memory());
  metrics.readPlans(() => residents.open().map(({ model, items }) => ({ model, items })), ownBytes);
  metrics.readRemotes(remotes);
  const watch = watchedByAll([metrics, ...watchers].map((each) => each.watch));
  const answers = new Answers({ host, residents, lanes, remotes, limits, now, watch });
  const store = await openWorkStore(options.workFile ?? ":memory:");
  const jobs = new Jobs({
    ...{ store, clock: Date.now, every, unique: randomUUID, owner: { pid: process.pid, run: RUN } },
    ...{ limits: options.jobs, atOnce: options.jobs?.atOnce ?? lanes.state().slots, work, onError },
    onEnd: (status) => metrics.jobEnded(status),
    onChange: ({ id, caller, url, status, progress }) =>
      events.tell({ type: "job", id, caller, url, status, ...(progress !== undefined && { progress }) }),
  });
  const memories = memoriesOf(options, residents);
  const serving: Serving = {
    ...{ host, residents, lanes, answers, remotes, metrics, limits, jobs, store, memories, events, ownBytes },
    ...{ models: options.models, version: options.version, mayFetch: options.mayFetch ?? false },
    ...{ beatMs: options.beatMs ?? 10_000, every, now, startedAt: now(), clock: Date.now, unique: randomUUID },
    responses: new KeptResponses(),
    namespacesOf: (caller) => keys.find(({ name }) => name === caller)?.namespaces,
    random: () => randomBytes(4).readUInt32LE(),
    onStreamError: onError,
  };
  return {
    serving,
    async stopWork() {
      stopShowing();
      events.close();
      await jobs[Symbol.asyncDispose]();
    },
    async [Symbol.asyncDispose]() {
      for (const part of [remotes, store, memories, host, ...watchers]) await part[Symbol.asyncDispose]();
    },
  };
}

function residentsOf(options: ServerOptions, events: Events, metrics: Metrics) {
  const { host, watchers = [] } = options;
  const onLoad = (load: Load): void => {
    metrics.loaded(load);
    for (const watcher of watchers) watcher.loaded?.(load);
    events.tell({ type: "load", ...load, ms: Math.round(load.ms) });
    options.onLoad?.(load);
  };
  let bareBytes: number | undefined;
  const residents = new Residents({
    ...{ host, now, after, onLoad, onProgress: options.onProgress },
    onUnload: (unload) => events.tell({ type: "unload", ...unload }),
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
  const ownBytes = async (): Promise<number> => {
    const { privateBytes } = await host.memory();
    return Math.max(0, privateBytes - (bareBytes ?? privateBytes));
  };
  return { residents, ownBytes };
}

function lanesOf(options: ServerOptions, events: Events, metrics: Metrics) {
  let isMoved = false;
  const onEffect: LanesOptions["onEffect"] = (effect) => {
    metrics.effect(effect);
    isMoved = true;
  };
  const lanes = new Lanes({ policy: { ...DEFAULT_LANES, ...options.lanes }, now, after, onEffect });
  const stopShowing = every(LANES_MS, () => {
    if (isMoved && events.listeners > 0) events.show({ type: "lanes", ...lanes.state() });
    isMoved = false;
  });
  return { lanes, stopShowing };
}

function memoriesOf({ host, memory }: ServerOptions, residents: Residents): Memories {
  const random = seededRandom(randomBytes(6).readUIntLE(0, 6));
  const inMemory: MemoryPlace = {
    known: async () => undefined,
    open: async (embedder) => openInMemory({ embedder, newId: idMaker(random) }),
  };
  return new Memories({ host, residents, clock: Date.now, random, place: memory ?? inMemory });
}
