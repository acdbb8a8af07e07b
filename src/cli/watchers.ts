// Logs and traces of a server, as options and environment ask for them. It does not know what is in them.
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { LOG_LEVELS, type Log, openLog, openTraces, type Watcher } from "../serve/mod.ts";
import type { Arguments } from "./arguments.ts";
import { say } from "./output.ts";

export const watcherArgs = {
  log: {
    type: "string",
    valueHint: LOG_LEVELS.join("|"),
    description: "Lines of JSON on stderr (default: info where stderr is no terminal; else sentences)",
  },
  "log-with": {
    type: "string",
    valueHint: "path|prompt",
    description: "Tell of requests what logs leave out otherwise; may be repeated",
  },
} as const satisfies ArgsDef;

export interface Watching {
  readonly watchers: readonly Watcher[];
  /** A sentence for a person, or a line of the log. */
  readonly isLogged: boolean;
  readonly tell: (level: Parameters<Log["event"]>[0], message: string, facts?: object) => void;
}

export async function watchersOf(args: Arguments, env: NodeJS.ProcessEnv, version: string): Promise<Watching> {
  const asked = args.texts("log-with").map((name) => {
    if (name === "path" || name === "prompt") return name;
    throw new IroriError("bad-input", { what: "--log-with", got: JSON.stringify(name), wanted: "path or prompt" });
  });
  const said = args.choice("log", LOG_LEVELS);
  const level = said ?? (process.stderr.isTTY ? undefined : "info");
  const log = level === undefined ? undefined : openLog({ level, with: asked, clock: Date.now });
  const traces = await tracesOf(env, version);
  return {
    watchers: [log, traces].filter((each) => each !== undefined),
    isLogged: log !== undefined,
    tell: (at, message, facts = {}) => (log === undefined ? say(`irori: ${message}`) : log.event(at, facts, message)),
  };
}

/** As OpenTelemetry's variables say: nothing of it is loaded where no endpoint is named. */
async function tracesOf(env: NodeJS.ProcessEnv, version: string): Promise<Watcher | undefined> {
  const endpoint = env.OTEL_EXPORTER_OTLP_ENDPOINT;
  if (!endpoint || env.OTEL_SDK_DISABLED === "true") return undefined;
  if (!URL.canParse(endpoint))
    throw new IroriError("bad-input", {
      what: "OTEL_EXPORTER_OTLP_ENDPOINT",
      got: endpoint,
      wanted: "http://HOST:4318",
    });
  const headers = Object.fromEntries(
    (env.OTEL_EXPORTER_OTLP_HEADERS ?? "")
      .split(",")
      .map((pair) => /^\s*([^=]+)=(.*)$/.exec(pair))
      .flatMap((found) => (found ? [[found[1]?.trim() ?? "", decodeURIComponent(found[2] ?? "")]] : [])),
  );
  return openTraces({ endpoint, headers, service: env.OTEL_SERVICE_NAME, version, clock: Date.now });
}
