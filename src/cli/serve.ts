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
  type Key,
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
import { memoryPlace } from "./memory/open.ts";
import { columns, listenForStop, print, printJson, say } from "./output.ts";
import { showProgress } from "./progress.ts";
import { answerArgs, leaseOf, settingsOf } from "./settings.ts";
import { versionHere } from "./version.ts";
import { type Watching, watcherArgs, watchersOf } from "./watchers.ts";
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
  const inEnvironment = (process.env.IRORI_KEYS ?? "").split(",").filter((text) => text !== "");
  const keys = [...inEnvironment, ...args.texts("key")].map(keyOf);
  // commands of whoever may read the store call with a key of this run
  const ownKey = keys.length > 0 ? randomBytes(24).toString("base64url") : undefined;
  const { watchers, tell, isLogged } = await watchersOf(args, process.env, versionHere());
  const models = modelsOf(call);
  const isMock = models.some((model) => model.startsWith("mock"));
  using progress = showProgress(args.flag("json"));
  await using server = await startServer({
    host: isMock ? new MockHost() : engineOf(call, slots, tell),
    models,
