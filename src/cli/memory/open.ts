// The memory that a command works on: its store, what embeds and what writes, by options over what the store itself says.
// It does not know what is done with it.
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ArgsDef } from "citty";
import { IroriError, seededRandom } from "../../base/mod.ts";
import { GREEDY } from "../../engine/mod.ts";
import {
  chatWriter,
  type DataStore,
  type Embedder,
  type EmbedderIdentity,
  embedderOf,
  embedderOfPostgres,
  hashedEmbedder,
  idMaker,
  Memory,
  modelEmbedder,
  openPostgres,
  openSqlite,
  type Scope,
  type Writer,
} from "../../memory/mod.ts";
import type { MemoryPlace } from "../../serve/mod.ts";
import { type MemorySettings, providerNamed } from "../../settings/mod.ts";
import type { Arguments } from "../arguments.ts";
import type { Call } from "../command.ts";
import { Providers } from "../provider.ts";
import { settingsOf } from "../settings.ts";

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

const now = (): number => Date.now();
/** Ids begin with the time; the rest differs from process to process. */
const random = () => seededRandom(Date.now() * 65_536 + (process.pid % 65_536));

/** Models are opened where they are needed: an embedder at the first text, a writer at the first answer. */
async function embedderNamed(call: Call, providers: Providers, name: string, dims?: number): Promise<Embedder> {
  if (name === "hashed" || name === hashedEmbedder.id) return hashedEmbedder;
  const embedder = await providers.embedder(providerNamed(name, settingsOf(call).settings.providers));
  const embed: Embedder["embed"] = async (texts, { signal } = {}) => [
    ...(await embedder.embed(texts, { signal })).vectors,
  ];
  return modelEmbedder(name, dims ?? (await embedder.dimensions()), embed);
}

async function writerNamed(call: Call, providers: Providers, name: string): Promise<Writer | undefined> {
  if (name === "extractive") return undefined;
  const generator = await providers.generator(providerNamed(name, settingsOf(call).settings.providers));
  return chatWriter(name, async (messages, { signal }) => {
    const request = {
      prompt: { messages: messages.map((one) => ({ ...one })) },
      seed: 0,
      maxTokens: 256,
      sampling: GREEDY,
    };
    for await (const event of generator.generate(request, { signal })) if (event.type === "end") return event.text;
    return "";
  });
}

/** The memory's settings in force, with what the command's own options say. */
function memorySettingsOf(call: Call): MemorySettings {
  const { embedder, writer } = settingsOf(call).settings.memory;
  return {
    ...settingsOf(call).settings.memory,
    embedder: call.args.text("embedder") ?? embedder,
    writer: call.args.text("writer") ?? writer,
  };
}

/** The store that the command names, else memory.db of the home. */
export const placeOf = (call: Call): string =>
  call.args.text("store") ?? join(settingsOf(call).settings.home, "memory.db");

export interface OpenOptions {
  /** Whether a file that is not there is an error instead of a new memory. Default false. */
  readonly mustExist?: boolean;
}

export async function openMemory(call: Call, { mustExist = false }: OpenOptions = {}): Promise<OpenMemory> {
  const { args } = call;
  const settings = memorySettingsOf(call);
  const place = placeOf(call);
  await using stack = new AsyncDisposableStack();
  const providers = stack.use(new Providers(call));
  const known = await embedderAt(place);
  if (mustExist && known === undefined) throw noMemory(place);
  const name = args.text("embedder") ?? known?.id ?? settings.embedder;
  const embedder = await embedderNamed(call, providers, name, known?.id === name ? known.dims : undefined);
  const store = stack.use(await openStore(place, embedder));
  const memory = new Memory({
    ...{
      store,
      embedder,
      settings,
      now,
      random: random(),
      writer: await writerNamed(call, providers, settings.writer),
    },
    namespace: args.text("namespace"),
  });
  const owned = stack.move();
  return { memory, store, settings, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const isPostgres = (place: string): boolean => /^postgres(?:ql)?:\/\//.test(place);

/** Whose vectors the store there holds; undefined where there is none. */
export const embedderAt = async (place: string): Promise<EmbedderIdentity | undefined> =>
  isPostgres(place) ? await embedderOfPostgres(place) : embedderOf(place);

export const noMemory = (place: string): IroriError =>
  new IroriError("not-found", {
    what: `no memory in ${place}`,
    next: "`irori memory add` makes one, or name it with --store",
  });

/** Opens or makes the store there. */
export async function openStore(place: string, embedder: EmbedderIdentity): Promise<DataStore> {
  const newId = idMaker(random());
  if (isPostgres(place)) return await openPostgres({ url: place, embedder, newId });
  mkdirSync(dirname(place), { recursive: true });
  return await openSqlite({ path: place, embedder, newId });
}

/** The memory of a server: opened when a caller first asks for it. */
export const memoryPlace = (call: Call, place = join(settingsOf(call).settings.home, "memory.db")): MemoryPlace => ({
  known: () => embedderAt(place),
  open: (embedder) => openStore(place, embedder),
  embedder: settingsOf(call).settings.memory.embedder,
  settings: settingsOf(call).settings.memory,
});

/** What embeds and what writes by their options alone, without a store. */
export async function withModels<T>(
  call: Call,
  work: (models: { readonly embedder: Embedder; readonly writer: Writer | undefined }) => Promise<T>,
): Promise<T> {
  const settings = memorySettingsOf(call);
  await using providers = new Providers(call);
  const embedder = await embedderNamed(call, providers, settings.embedder);
  return await work({ embedder, writer: await writerNamed(call, providers, settings.writer) });
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
