// The server: its parts and routes behind an address, from the first model that opens to the last answer that goes out.
// It does not know argv or where the engine runs.

import type { Server as NodeServer } from "node:http";
import { createAdaptorServer } from "@hono/node-server";
import { IroriError, unlessAborted } from "../base/mod.ts";
import type { Answers } from "./answers.ts";
import { assemble, type ServerOptions } from "./assembly.ts";
import { makeApp, makeInner, type RequestFacts } from "./http/app.ts";
import { isLoopback } from "./http/door.ts";
import type { Serving } from "./http/serving.ts";
import type { JobAnswer } from "./jobs.ts";
import type { Job } from "./work/work-file.ts";

/** 11434 is Ollama's. */
export const DEFAULT_PORT = 11435;

export interface RunningServer extends AsyncDisposable {
  readonly url: string;
  readonly serving: Serving;
}

/** Opens the models, then the door. Disposing of it lets what runs end, for so long as the process that holds it has patience. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { hostname = "127.0.0.1", port = DEFAULT_PORT, keys = [], watchers = [], onError } = options;
  if (!isLoopback(hostname) && keys.length === 0)
    throw new IroriError("bad-input", {
      what: `binding ${hostname} lets other machines in, and there is no key`,
      next: "set a key (IRORI_KEYS or --key NAME=KEY), or bind 127.0.0.1",
    });
  const assembly = await assemble(options, (job, signal) => answered(inner, job, signal));
  const { serving } = assembly;
  const { limits, residents, now } = serving;
  const onRequest = (facts: RequestFacts) => {
    for (const watcher of watchers) watcher.request(facts);
  };
  const inner = makeInner(serving, onRequest);
  const { hosts = [], origins = [] } = options;
  const app = makeApp(serving, {
    door: { hostname, keys, hosts, origins, mostOpen: limits.openRequests, now },
    ...{ bodyBytes: limits.bodyBytes, onRequest, onError },
  });
  const server = createAdaptorServer({ fetch: app.fetch }) as NodeServer;
  server.requestTimeout = 60_000; // of the request's own bytes: a slow sender
  server.headersTimeout = 10_000;
  const end = async (patienceMs: number) => {
    await assembly.stopWork();
    await close(server, serving.answers, patienceMs);
    await assembly[Symbol.asyncDispose]();
  };
  try {
    const bound = await listen(server, hostname, port);
    // who asks meanwhile waits for the same loads; /health/ready says so
    for (const model of options.models)
      (await unlessAborted(residents.use(model), options.signal, `opening ${model}`))[Symbol.dispose]();
    return {
      url: `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${bound}`,
      serving,
      [Symbol.asyncDispose]: () => end(options.patienceMs ?? 5000),
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

/** Time in which those who wait are told that no more comes. */
const TELLING_MS = 500;

/** No new connections; those that wait for an answer get it for a while, then they are told that none comes, and all are closed. */
async function close(server: NodeServer, answers: Answers, patienceMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeIdleConnections();
  const timers = [
    setTimeout(() => answers.fail(new StoppingError()), patienceMs),
    setTimeout(() => server.closeAllConnections(), patienceMs + TELLING_MS),
  ];
  await promise;
  for (const timer of timers) clearTimeout(timer);
}

/** What is told of answers that a server which stops did not wait for. */
class StoppingError extends IroriError {
  constructor() {
    super("busy", { what: "the server is stopping", next: "try again when it is back" });
  }
}
