// This machine, its environment and the settings file as an engine's and a memory's options: what the faces (the package's root, the
// command) start from. It does not know arguments; below this floor nothing reads the environment, the clock or the machine.
import { mkdirSync, readFileSync } from "node:fs";
import { availableParallelism, freemem, homedir } from "node:os";
import { dirname, join } from "node:path";
import { seededRandom } from "./base/mod.ts";
import { defaultHome, type NetworkOptions } from "./checkpoint/mod.ts";
import type { Engine, EngineOptions } from "./engine/mod.ts";
import type { Embedder, Memory, Writer } from "./memory/mod.ts";
import {
  type InForce,
  type MemorySettings,
  type Settings,
  type Sources,
  settingsInForce,
  settingsPath,
} from "./settings/mod.ts";

/** More threads than this gain little on one small model and take the machine from everybody else. */
const MOST_THREADS = 8;

export type ReadSettingsOptions = Pick<Sources, "flags" | "file">;

/**
 * The settings in force here, and where each came from: what is given, then the environment (IRORI_…), then the settings file,
 * then the preset, then the defaults. Throws "bad-input" for an unknown key or a value that cannot be, naming who gave it.
 */
export function readSettings(options: ReadSettingsOptions = {}): InForce {
  return settingsInForce(sourcesHere(options));
}

/** The settings file that would be read. */
export const settingsFilePath = (options: ReadSettingsOptions): string => settingsPath(sourcesHere(options)).path;

function sourcesHere(options: ReadSettingsOptions): Sources {
  const home = defaultHome(process.platform, process.env, homedir());
  const threads = Math.min(availableParallelism(), MOST_THREADS);
  return { ...options, env: process.env, machine: { home, threads } };
}

export const homeFolder = (): string => readSettings().settings.home;

const proxyNames = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];

/** What HF_ENDPOINT, HF_TOKEN and the proxy variables say. */
function network(): NetworkOptions {
  const proxies = proxyNames.flatMap((name) => (process.env[name] ? [[name, process.env[name] as string]] : []));
  return {
    hubEndpoint: process.env.HF_ENDPOINT,
    hubToken: process.env.HF_TOKEN,
    proxies: Object.fromEntries(proxies),
  };
}

/** Where Ollama keeps its models: OLLAMA_MODELS, a user's own, the Linux service's. */
const ollamaModels = (): readonly string[] => [
  ...(process.env.OLLAMA_MODELS ? [process.env.OLLAMA_MODELS] : []),
  join(homedir(), ".ollama", "models"),
  "/usr/share/ollama/.ollama/models",
];

/** How models are fetched from here. */
export const fetching = ({ python, offline }: Pick<Settings, "python" | "offline">) => ({
  python: python ?? undefined,
  isOffline: offline,
  network: network(),
  ollamaModels: ollamaModels(),
});

/** Memory that can be had without swapping (MemAvailable on Linux), within the container's limit. Mapped pages can be taken back. */
export function freeBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(freemem(), Math.max(0, limit - privateBytes())) : freemem();
}

/** What this process holds and no file backs; all that is resident where the system does not tell. */
export function privateBytes(): number {
  const kilobytes =
    process.platform === "linux" && /^RssAnon:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  return kilobytes ? Number(kilobytes) * 1024 : process.memoryUsage.rss();
}

/** Whether idle threads wait busily: threads that outnumber the cores would wait for each other's time slices. */
export const isSpinning = ({ spin, threads }: Pick<Settings, "spin" | "threads">): boolean =>
  spin && threads <= availableParallelism();

/** Settings as options of an engine. */
function engineOptions(settings: Settings): EngineOptions {
  const { home, threads, budgetBytes, keptBytes } = settings;
  return {
    ...{ home, threads, keptBytes },
    spinning: isSpinning(settings),
    budgetBytes: budgetBytes === null ? freeBytes : () => Math.min(budgetBytes, freeBytes()),
    now: () => performance.now(),
    fetching: fetching(settings),
  };
}

/**
 * An engine of this machine with the settings in force (`readSettings`): by default the store of IRORI_HOME, a thread a core (8 at
 * most), what memory is free as the budget. Options given stand in the place of these.
 */
export async function openEngine(
  options: Partial<EngineOptions> & { readonly settings?: Settings } = {},
): Promise<Engine> {
  const { settings = readSettings().settings, ...rest } = options;
  const base = engineOptions(rest.threads === undefined ? settings : { ...settings, threads: rest.threads });
  const { Engine } = await import("./engine/mod.ts");
  return Engine.open({ ...base, ...rest });
}

export interface OpenMemoryOptions {
  /** The memory's file; default memory.db of IRORI_HOME. Made where there is none. */
  readonly file?: string | undefined;
  /** Default "default". */
  readonly namespace?: string | undefined;
  /** What embeds; default: letters and words alone, without a model. */
  readonly embedder?: Embedder | undefined;
  /** What writes; default: sentences of what is remembered, without a model. */
  readonly writer?: Writer | undefined;
  /** Default: the settings in force. */
  readonly settings?: MemorySettings | undefined;
}

/**
 * A memory in a file of this machine, closed at the end of its block. Throws "conflict" where another embedder made its vectors,
 * "bad-file" for what is no memory, "io" where the disk refuses.
 */
export async function openMemory(options: OpenMemoryOptions = {}): Promise<Memory & AsyncDisposable> {
  const { hashedEmbedder, idMaker, Memory, openSqlite } = await import("./memory/mod.ts");
  const { embedder = hashedEmbedder, namespace, writer } = options;
  const file = options.file ?? join(homeFolder(), "memory.db");
  const settings = options.settings ?? readSettings().settings.memory;
  const random = () => seededRandom(Date.now() * 65_536 + (process.pid % 65_536));
  mkdirSync(dirname(file), { recursive: true });
  const store = await openSqlite({ path: file, embedder, newId: idMaker(random()) });
  const memory = new Memory({
    ...{ store, embedder, writer, namespace, settings },
    ...{ random: random(), now: () => Date.now() },
  });
  return Object.assign(memory, { [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() });
}
