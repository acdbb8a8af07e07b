// The memory that a command works on: its store, what embeds and what writes, by options over what the store itself says.
// It does not know what is done with it.
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ArgsDef } from "citty";
import { IroriError, type OnProgress, seededRandom } from "../../base/mod.ts";
import { type Engine, GREEDY, type Lease } from "../../engine/mod.ts";
import {
  chatWriter,
  type DataStore,
  type Embedder,
  type EmbedderIdentity,
  embedderOf,
  hashedEmbedder,
  idMaker,
  Memory,
  modelEmbedder,
  openPostgres,
  openSqlite,
  type Scope,
  type Writer,
} from "../../memory/mod.ts";
import { type MemorySettings, memorySettings } from "../../settings/mod.ts";
import type { Arguments } from "../arguments.ts";
import type { Call } from "../command.ts";
import { showProgress } from "../progress.ts";
import { homeFolder, openEngine } from "../settings.ts";

export const memoryArgs = {
  store: {
    type: "string",
    valueHint: "FILE",
    description: "The memory's file, or a postgres:// address (default: memory.db of IRORI_HOME)",
  },
  namespace: { type: "string", valueHint: "NAME", description: "Which memory of the store (default: default)" },
  embedder: {
    type: "string",
    valueHint: "NAME",
    description: "hashed, or a model (all-minilm-l6-v2); default: the store's own",
  },
  writer: {
    type: "string",
    valueHint: "NAME",
    description: "extractive, or a model that writes answers (smollm2-135m)",
  },
  preset: { type: "string", valueHint: "NAME", description: "Settings by name: standard, quick_experiment, minimal …" },
} as const satisfies ArgsDef;

export const scopeArgs = {
  user: { type: "string", valueHint: "NAME", description: "Only what concerns this user" },
  agent: { type: "string", valueHint: "NAME", description: "Only what concerns this agent" },
  thread: { type: "string", valueHint: "NAME", description: "Only what belongs to this thread" },
} as const satisfies ArgsDef;

export const scopeOf = (args: Arguments): Scope => ({
  user: args.text("user"),
  agent: args.text("agent"),
  thread: args.text("thread"),
});

export interface OpenMemory extends AsyncDisposable {
  readonly memory: Memory;
  readonly store: DataStore;
  readonly settings: MemorySettings;
}

/** Models are opened where they are needed: an embedder at the first text, a writer at the first answer. */
class Models implements AsyncDisposable {
  readonly #call: Call;
  readonly #onProgress: OnProgress;
  #engine: Promise<Engine> | undefined;
  readonly #leases = new Map<string, Promise<Lease>>();

  constructor(call: Call, onProgress: OnProgress) {
    this.#call = call;
    this.#onProgress = onProgress;
  }

  lease(model: string): Promise<Lease> {
    const known = this.#leases.get(model);
    if (known !== undefined) return known;
    this.#engine ??= openEngine(this.#call);
    const made = this.#engine.then((engine) => engine.lease(model, { onProgress: this.#onProgress }));
    this.#leases.set(model, made);
    return made;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const lease of this.#leases.values()) await (await lease.catch(() => undefined))?.[Symbol.asyncDispose]();
    await (await this.#engine?.catch(() => undefined))?.[Symbol.asyncDispose]();
  }
}

const now = (): number => Date.now();
/** Ids begin with the time; the rest differs from process to process. */
const random = () => seededRandom(Date.now() * 65_536 + (process.pid % 65_536));

async function embedderNamed(models: Models, name: string, dims?: number): Promise<Embedder> {
  if (name === "hashed" || name === hashedEmbedder.id) return hashedEmbedder;
  const embed: Embedder["embed"] = async (texts, { signal } = {}) => [
    ...(await (await models.lease(name)).embed(texts, { signal })).vectors,
  ];
  // of a store that is there the dimension is known: the model is opened at the first text
  return modelEmbedder(name, dims ?? ((await embed([name]))[0]?.length as number), embed);
}

function writerNamed(models: Models, name: string): Writer | undefined {
  if (name === "extractive") return undefined;
  return chatWriter(name, async (messages, { signal }) => {
    const lease = await models.lease(name);
    const request = {
      prompt: { messages: messages.map((one) => ({ ...one })) },
      seed: 0,
      maxTokens: 256,
      sampling: GREEDY,
    };
    for await (const event of lease.generate(request, { signal })) if (event.type === "end") return event.text;
    return "";
  });
}

export interface OpenOptions {
  /** Whether a file that is not there is an error instead of a new memory. Default false. */
  readonly mustExist?: boolean;
}

export async function openMemory(call: Call, { mustExist = false }: OpenOptions = {}): Promise<OpenMemory> {
  const { args } = call;
  const given = { embedder: args.text("embedder"), writer: args.text("writer") };
  const settings = memorySettings(
    args.text("preset"),
    Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  );
  const place = args.text("store") ?? join(homeFolder(), "memory.db");
  const progress = showProgress(args.flag("json"));
  const models = new Models(call, progress.onProgress);
  const close = async () => {
    progress[Symbol.dispose]();
    await models[Symbol.asyncDispose]();
  };
  try {
    const isPostgres = /^postgres(?:ql)?:\/\//.test(place);
    const known = isPostgres ? undefined : embedderOf(place);
    if (mustExist && known === undefined && !isPostgres)
      throw new IroriError("not-found", {
        what: `no memory in ${place}`,
        next: "`irori memory add` makes one, or name it with --store",
      });
    const name = given.embedder ?? known?.id ?? settings.embedder;
    const embedder = await embedderNamed(models, name, known?.id === name ? known.dims : undefined);
    const store = await openStore(place, isPostgres, embedder);
    const memory = new Memory({
      ...{ store, embedder, settings, now, random: random(), writer: writerNamed(models, settings.writer) },
      namespace: args.text("namespace"),
    });
    return {
      ...{ memory, store, settings },
      async [Symbol.asyncDispose]() {
        await store[Symbol.asyncDispose]();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openStore(place: string, isPostgres: boolean, embedder: EmbedderIdentity): Promise<DataStore> {
  const newId = idMaker(random());
  if (isPostgres) return await openPostgres({ url: place, embedder, newId });
  mkdirSync(dirname(place), { recursive: true });
  return await openSqlite({ path: place, embedder, newId });
}

/** What embeds and what writes by their options alone, without a store. */
export async function withModels<T>(
  call: Call,
  work: (models: { readonly embedder: Embedder; readonly writer: Writer | undefined }) => Promise<T>,
): Promise<T> {
  const { args } = call;
  using progress = showProgress(args.flag("json"));
  await using models = new Models(call, progress.onProgress);
  const embedder = await embedderNamed(models, args.text("embedder") ?? "hashed");
  return await work({ embedder, writer: writerNamed(models, args.text("writer") ?? "extractive") });
}

/** "2026-11-18", "2026-11-18T10:00", or a time ago: "7d", "12h", "30m", "2w". Throws "bad-input". */
export function momentOf(args: Arguments, name: string): number | undefined {
  const text = args.text(name);
  if (text === undefined) return undefined;
  const ago = /^(\d+(?:\.\d+)?)([mhdw])$/.exec(text);
  const unitMs = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
  if (ago) return now() - Number(ago[1]) * unitMs[ago[2] as keyof typeof unitMs];
  const moment = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(moment)) return moment;
  throw new IroriError("bad-input", {
    ...{ what: `--${name}`, got: JSON.stringify(text) },
    wanted: "a day (2026-11-18), a moment (2026-11-18T10:00:00Z), or a time ago (7d, 12h)",
  });
}

/** "7d" as milliseconds. Throws "bad-input". */
export function durationOf(args: Arguments, name: string): number | undefined {
  const text = args.text(name);
  const found = text === undefined ? undefined : /^(\d+(?:\.\d+)?)([mhdw])$/.exec(text);
  if (found === undefined) return undefined;
  if (found === null)
    throw new IroriError("bad-input", {
      what: `--${name}`,
      got: JSON.stringify(text),
      wanted: "a time: 30m, 12h, 7d or 2w",
    });
  return (
    Number(found[1]) * { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }[found[2] as "m" | "h" | "d" | "w"]
  );
}
