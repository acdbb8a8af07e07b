// Structured logs: a line of JSON for every request when it has ended, and for what else happens. The only file that imports pino.
// No path, prompt or key is in them unless asked for: the route stands for the path, the caller's name for the key.
import { type DestinationStream, pino } from "pino";
import type { RequestFacts } from "./http/app.ts";
import { Collected, type Watcher } from "./watcher.ts";

export const LOG_LEVELS = ["silent", "error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogOptions {
  readonly level: LogLevel;
  /** Where lines go. Default: stderr. */
  readonly to?: DestinationStream | undefined;
  /** What of a request is told besides: the path as it was called, its prompts. */
  readonly with?: readonly ("path" | "prompt")[] | undefined;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}

export interface Log extends Watcher {
  event(level: Exclude<LogLevel, "silent">, facts: object, message: string): void;
}

export function openLog({ level, to, with: asked = [], clock }: LogOptions): Log {
  const options = { level, base: null, timestamp: () => `,"time":${clock()}` };
  const logger = pino(options, to ?? pino.destination({ dest: 2, sync: true }));
  const collected = new Collected(clock, asked.includes("prompt"));
  return {
    watch: collected.watch,
    request(facts) {
      const { requestId, method, route, status, ms, caller, path } = facts;
      const answers = collected.take(requestId).map(({ endedAt: _, ...answer }) => rounded(answer));
      const said = { requestId, method, route, status, ms: round(ms), caller, ...(asked.includes("path") && { path }) };
      const told =
        answers.length === 1 ? { ...said, ...answers[0] } : { ...said, ...(answers.length > 0 && { answers }) };
      logger[levelOf(facts)](told, "request");
    },
    loaded: ({ model, cause, ms }) => logger.info({ model, cause, ms: round(ms) }, "model loaded"),
    event: (at, facts, message) => logger[at](facts, message),
    async [Symbol.asyncDispose]() {
      logger.flush();
    },
  };
}

/** The server's own failures are errors; being full or without an engine for a moment is a warning; what callers do wrong is neither. */
const levelOf = ({ status, route }: RequestFacts): "error" | "warn" | "info" | "debug" => {
  if (status === 503 || status === 429) return "warn";
  if (status >= 500 && status !== 501) return "error";
  return route.startsWith("/health") || route === "/metrics" ? "debug" : "info";
};

const round = (ms: number): number => Math.round(ms * 10) / 10;
const rounded = (facts: object): object =>
  Object.fromEntries(
    Object.entries(facts).map(([key, value]) => [key, typeof value === "number" ? round(value) : value]),
  );
