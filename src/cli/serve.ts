// `irori serve [MODEL…]`: models kept warm behind HTTP until Ctrl-C.
// It does not know routes or lanes.

import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { megabytes } from "../engine/mod.ts";
import {
  announce,
  type Budget,
  DEFAULT_LANES,
  DEFAULT_PORT,
  type HeldModel,
  MOCK_MODELS,
  MockHost,
  NoRoomError,
  PLANNED_CONTEXT,
  ProcessHost,
  planResidency,
  RESERVE_BYTES,
  type ResidencyPlan,
  type RunningServer,
  remotesOf,
  startServer,
} from "../serve/mod.ts";
import { computesOf } from "./attach.ts";
import type { Call, Command } from "./command.ts";
import { keysOf } from "./keys.ts";
import { memoryPlace } from "./memory/open.ts";
import { columns, listenForStop, print, printJson, say } from "./output.ts";
import { showProgress } from "./progress.ts";
import { answerArgs, leaseOf, settingsOf } from "./settings.ts";
import { versionHere } from "./version.ts";
import { watcherArgs, watchersOf } from "./watchers.ts";
import { workFileIn } from "./work-file.ts";

const args = {
  model: {
    type: "positional",
    required: false,
    description: "The model that is the default (without any: those of the preset)",
  },
  port: { type: "string", valueHint: "N", description: `Port (default ${DEFAULT_PORT}; 0: any that is free)` },
  host: { type: "string", valueHint: "ADDRESS", description: "Address to bind (default 127.0.0.1; others want a key)" },
  key: { type: "string", valueHint: "NAME=KEY", description: "A key that callers send; may be given more than once" },
  origin: {
    type: "string",
    valueHint: "URL",
    description: "Origin of pages that may call; may be given more than once",
  },
  check: { type: "boolean", description: "Print what the models would take and whether they fit; start nothing" },
  context: { type: "string", valueHint: "TOKENS", description: "Tokens of a model's answers that room is kept for" },
  budget: {
    type: "string",
    valueHint: "MB",
    description: "Memory that models and answers may take (default: what is free)",
  },
  pin: {
    type: "string",
    valueHint: "MODEL",
    description: "A model that never gives way (default: all that are named)",
  },
  "close-after": {
    type: "string",
    valueHint: "SECONDS",
    description: "Close models that are not pinned and that nobody used for so long",
  },
  ...answerArgs,
  ...watcherArgs,
  fetch: { type: "boolean", description: "Callers may name public addresses to be summarised" },
  memory: {
    type: "string",
    valueHint: "FILE",
    description: "The memory's file, or a postgres:// address (default: memory.db of IRORI_HOME)",
  },
  adapter: {
    type: "string",
    valueHint: "NAME=FOLDER",
    description: "A LoRA adapter that requests may name; more than once",
  },
  vector: {
    type: "string",
    valueHint: "NAME=FILE",
    description: "A safetensors file of vectors to steer with; more than once",
  },
  slots: { type: "string", valueHint: "N", description: `Answers at once (default ${DEFAULT_LANES.slots})` },
} as const satisfies ArgsDef;

export const serve: Command = {
  args,
  rest: { name: "models", description: "Further models to keep open" },
  run: runServe,
};

async function runServe(call: Call): Promise<undefined> {
  const { args } = call;
  if (args.flag("check")) return checkServe(call);
  using stop = listenForStop();
  const pins = args.texts("pin");
  const closeAfter = args.number("close-after", { min: 1 });
  const slots = args.number("slots", { isWhole: true, min: 1, max: 16 }) ?? DEFAULT_LANES.slots;
  const { callers } = settingsOf(call).settings;
  const keys = keysOf({ texts: args.texts("key"), callers, environment: process.env });
  // commands of whoever may read the store call with a key of this run
  const ownKey = keys.length > 0 ? randomBytes(24).toString("base64url") : undefined;
  const { watchers, tell, isLogged } = await watchersOf(args, process.env, versionHere());
  const models = modelsOf(call);
  const isMock = models.some((model) => model.startsWith("mock"));
  using progress = showProgress(args.flag("json"));
  await using server = await startServer({
    host: isMock ? new MockHost() : engineOf(call, slots),
    models,
    hostname: args.text("host"),
    port: args.number("port", { isWhole: true, min: 0, max: 65_535 }),
    keys: ownKey === undefined ? keys : [...keys, { name: "irori", key: ownKey }],
    origins: args.texts("origin"),
    lanes: lanesOf(slots),
    ...roomOf(args),
    ...(pins.length > 0 && { pinned: pins }),
    ...(closeAfter !== undefined && { closeAfterMs: closeAfter * 1000 }),
    // the log has its own line of it
    onLoad: ({ model, cause, ms }) => isLogged || say(`irori: loaded ${model} in ${ms.toFixed(0)} ms (${cause})`),
    onEngine: ({ type, reason, ms }) =>
      type === "lost"
        ? tell("error", `the engine is gone: ${reason}`, { reason })
        : tell("info", `the engine is back after ${ms.toFixed(0)} ms`, { reason, ms: Math.round(ms) }),
    watchers,
    remotes: remotesOf(settingsOf(call).settings.remotes, (variable) => process.env[variable]),
    onRemote: (name, isWell, why) =>
      tell(isWell ? "info" : "warn", `the remote ${name} ${isWell ? "takes batch work" : "gets no work"}: ${why}`, {
        remote: name,
      }),
    version: versionHere(),
    mayFetch: args.flag("fetch"),
    workFile: workFileIn(settingsOf(call).settings.home),
    memory: memoryPlace(call, args.text("memory")),
    onProgress: progress.onProgress,
    signal: stop.signal,
    onError: (requestId, error) =>
      tell("error", `request ${requestId}: ${error instanceof Error ? (error.stack ?? error.message) : error}`, {
        requestId,
      }),
  });
  progress[Symbol.dispose]();
  const { home } = settingsOf(call).settings;
  const url = server.url.replace(/\/\/(0\.0\.0\.0|\[::\])/, "//127.0.0.1");
  using _record = announce(home, {
    url,
    pid: process.pid,
    key: ownKey,
    version: versionHere(),
    computes: computesOf(call),
  });
  if (args.flag("json")) printJson({ url: server.url, pid: process.pid, models: openOf(server) });
  else print(bannerOf(server));
  await stopped(stop.signal);
  tell("info", "stopping: answers that run have 5 s to end");
  return undefined;
}

/** The models that are named, else those of the settings (`--preset`): mocks and hashed vectors where those have no model. */
function modelsOf(call: Call): readonly string[] {
  const named = [call.args.positional("model"), ...call.args.rest].filter((model) => model !== undefined);
  if (named.length > 0) return named;
  const { models, settings } = settingsOf(call);
  if (settings.generator.startsWith("mock")) return MOCK_MODELS;
  return models.map(({ model }) => model);
}

const engineOf = (call: Call, rows: number): ProcessHost =>
  new ProcessHost({
    ...{ settings: settingsOf(call).settings, rows, lease: leaseOf(call) },
    inside: { adapters: namedPaths(call.args, "adapter"), vectors: namedPaths(call.args, "vector") },
  });

const roomOf = (args: Call["args"]) => {
  const budget = args.number("budget", { min: 1 });
  return {
    budgetBytes: budget === undefined ? undefined : budget * 1e6,
    plannedContext: args.number("context", { isWhole: true, min: 1 }),
  };
};

/** The plan of every model that is named, one after another, as the server would make it. */
async function checkServe(call: Call): Promise<undefined> {
  const { args } = call;
  const models = modelsOf(call);
  const { budgetBytes, plannedContext = PLANNED_CONTEXT } = roomOf(args);
  await using host = new ProcessHost({ settings: settingsOf(call).settings, rows: 1, lease: leaseOf(call) });
  const budget = { bytes: budgetBytes ?? (await host.memory()).freeBytes, reserveBytes: RESERVE_BYTES };
  const held: HeldModel[] = [];
  const plans: ResidencyPlan[] = [];
  for (const model of models) {
    const facts = await host.measure(model);
    const plan = planResidency({ held }, { facts, context: Math.min(plannedContext, facts.context) }, budget);
    plans.push(plan);
    held.push({ model, bytes: plan.neededBytes, isPinned: true, users: 0, idleMs: 0, loadMs: 0 });
  }
  const refused = plans.find(({ verdict }) => verdict.type === "refused");
  if (args.flag("json")) printJson({ budget, plans, fits: refused === undefined });
  else print(checkText(plans, budget));
  if (refused !== undefined) throw new NoRoomError(refused, budget);
  return undefined;
}

function checkText(plans: readonly ResidencyPlan[], { bytes, reserveBytes }: Budget): string {
  const rows = plans.flatMap(({ model, items }) =>
    items.map((item) => [model, item.name, megabytes(item.bytes), item.isMapped ? "mapped" : "own"]),
  );
  const all = plans.reduce((sum, { neededBytes }) => sum + neededBytes, 0);
  return `${columns([["MODEL", "WHAT", "BYTES", ""], ...rows], [2])}
together ${megabytes(all)} of ${megabytes(bytes)}, of which ${megabytes(reserveBytes)} are kept back
`;
}

/** `NAME=PATH`, as often as it is given. */
function namedPaths(args: Call["args"], option: "adapter" | "vector"): Record<string, string> {
  const pairs = args.texts(option).map((text) => {
    const found = /^([\w.-]+)=(.+)$/.exec(text);
    if (found !== null) return [found[1] as string, resolve(found[2] as string)] as const;
    throw new IroriError("bad-input", { what: `--${option}`, got: JSON.stringify(text), wanted: "NAME=PATH" });
  });
  return Object.fromEntries(pairs);
}

/** Reserved slots for few and for many. */
const lanesOf = (slots: number) => ({
  slots,
  reserved: { interactive: Math.min(2, slots - 1), batch: slots > 3 ? 1 : 0 },
});

const openOf = ({ serving }: RunningServer) =>
  serving.residents
    .open()
    .map(({ model, facts }) => ({ model, context: facts.context, weightBytes: facts.weightBytes, kv: facts.kv }));

/** The plan of what is open, where it is, and a line to try. */
function bannerOf({ url, serving }: RunningServer): string {
  const { slots } = serving.lanes.state();
  const lines = serving.residents.open().map(({ model, facts, items }) => {
    const parts = items.map(({ name, bytes, isMapped }) => `${name} ${megabytes(bytes)}${isMapped ? " mapped" : ""}`);
    const all = items.reduce((sum, { bytes }) => sum + bytes, 0);
    return `${model}  ${parts.join(" + ")} = ${megabytes(all)}; context ${facts.context.toLocaleString("en")}\n`;
  });
  const [first] = serving.models;
  const body = JSON.stringify({ model: first ?? "MODEL", messages: [{ role: "user", content: "Hello" }] });
  return `${lines.join("")}${slots} answers at once
OpenAI   ${url}/v1
Ollama   ${url}
Routes   ${url}/openapi.json
Metrics  ${url}/metrics
curl ${url}/v1/chat/completions -H 'content-type: application/json' -d '${body}'
Ctrl-C stops (\`irori stop\` from elsewhere, \`irori top\` looks on)
`;
}

function stopped(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  signal.addEventListener("abort", () => resolve(), { once: true });
  process.once("SIGTERM", () => resolve());
  return promise;
}
