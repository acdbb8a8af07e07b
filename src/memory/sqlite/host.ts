// A store in one SQLite file: the asynchronous side. Writes go to one thread, reads to another, so that neither waits for
// the other. It does not know SQL.
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { IroriError } from "../../base/mod.ts";
import { TERMS_VERSION } from "../../text/mod.ts";
import type {
  Added,
  AddOptions,
  DataStore,
  EmbedderIdentity,
  Found,
  IndexCheck,
  Invariant,
  Upkeep,
} from "../data-store.ts";
import type { Episode, NewEpisode } from "../episode.ts";
import type { NewId } from "../ids.ts";
import { prepareEpisodes, prepareText } from "../prepared.ts";
import { Connection } from "../sqlite.ts";
import { threadFile, WorkerClient } from "./messages.ts";
import { SCHEMA_VERSION, versionOf } from "./schema.ts";
import type { SqliteStoreOptions } from "./store.ts";
import { VectorSpaces } from "./vector-spaces.ts";

export interface SqliteOptions {
  /** The file; made where there is none. Its folder must exist. */
  readonly path: string;
  readonly embedder: EmbedderIdentity;
  readonly newId: NewId;
  /** How long a write waits for other processes. Default 10 s. */
  readonly patienceMs?: number | undefined;
  /** Pages that each of the two threads keeps. Default 24 MB. */
  readonly cacheBytes?: number | undefined;
}

/** Whose vectors a file holds, without opening it as a store; undefined where there is no file. */
export function embedderOf(path: string): EmbedderIdentity | undefined {
  if (!existsSync(path)) return undefined;
  const connection = new Connection({ path, isReadOnly: true, patienceMs: 5_000, cacheBytes: 1_000_000 });
  try {
    if (versionOf(connection) === 0) return undefined;
    const { active } = VectorSpaces.read(connection) ?? {};
    return active && { id: active.id, dims: active.dims };
  } finally {
    connection.close();
  }
}

/** Opens or makes a store. Throws "conflict" for another embedder's, "bad-file" for what is none, "io" where the disk refuses. */
export async function openSqlite(options: SqliteOptions): Promise<DataStore> {
  const { path, embedder, patienceMs = 10_000, cacheBytes = 24_000_000 } = options;
  const { id, dims } = embedder; // no more of it: what is handed in may be a whole model
  const shared = { path, embedder: { id, dims }, termsVersion: TERMS_VERSION, patienceMs, cacheBytes };
  const start = (isReadOnly: boolean) =>
    WorkerClient.start(threadFile("worker"), { ...shared, isReadOnly } satisfies SqliteStoreOptions);
  // of a file that is there both threads open at once; a new one must be made before it can be read
  const isThere = existsSync(path);
  const early = isThere ? start(true) : undefined;
  early?.catch(() => undefined); // what goes wrong there is told by the first read
  if (early !== undefined && isReady(path, { id, dims }, patienceMs)) {
    // who only reads needs one thread
    return new SqliteDataStore(options, new Later(() => start(false)), early);
  }
  const writer = new Later(() => start(false));
  await writer.get().catch(async (error: unknown) => {
    await (await early?.catch(() => undefined))?.close();
    throw error;
  });
  const reader = early ?? start(true);
  reader.catch(() => undefined);
  return new SqliteDataStore(options, writer, reader);
}

function isStoreOf(connection: Connection, { id, dims }: EmbedderIdentity): boolean {
  if (versionOf(connection) !== SCHEMA_VERSION) return false;
  const { active } = VectorSpaces.read(connection) ?? {};
  return active?.id === id && active.dims === dims;
}

/** Begins when it is first wanted; all get the same. */
class Later<T> {
  readonly #begin: () => Promise<T>;
  begun: Promise<T> | undefined;

  constructor(begin: () => Promise<T>) {
    this.#begin = begin;
  }
  get(): Promise<T> {
    this.begun ??= this.#begin();
    return this.begun;
  }
}

/** A longer log is read by whoever opens the file first: not here. */
const LONG_LOG = 1_000_000;

/**
 * Whether a file is a store of this version and embedder that can be written, so that nobody need wait for the threads: seen
 * in two milliseconds. False also where that cannot be told: the thread that writes says what is the matter.
 */
function isReady(path: string, embedder: EmbedderIdentity, patienceMs: number): boolean {
  let connection: Connection | undefined;
  try {
    for (const place of [path, dirname(path)]) accessSync(place, constants.W_OK);
    if ((statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > LONG_LOG) return false;
    connection = new Connection({ path, isReadOnly: true, patienceMs: Math.min(patienceMs, 10), cacheBytes: 100_000 });
    return isStoreOf(connection, embedder);
  } catch {
    return false;
  } finally {
    connection?.close();
  }
}

type Ask = <T>(method: string, ...args: readonly unknown[]) => Promise<T>;

/** Methods of the contract by a way to ask: outside a transaction reads and writes part, inside they are one. */
abstract class Asking {
  readonly info: DataStore["info"];
  protected readonly options: SqliteOptions;
  readonly #read: Ask;
  readonly #write: Ask;

  constructor(options: SqliteOptions, read: Ask, write: Ask) {
    this.options = options;
    this.info = { kind: "sqlite", place: options.path, embedder: options.embedder };
    this.#read = read;
    this.#write = write;
  }

  /** Made ready here, so that the thread that writes only writes. */
  async addEpisodes(namespace: string, episodes: readonly NewEpisode[], add: AddOptions = {}): Promise<Added[]> {
    const { embedder, newId } = this.options;
    return await this.#write("addEpisodes", namespace, prepareEpisodes(episodes, embedder.dims, newId), add);
  }
  getEpisodes: DataStore["getEpisodes"] = (...args) => this.#read("getEpisodes", ...args);
  vectorsOf: DataStore["vectorsOf"] = (...args) => this.#read("vectorsOf", ...args);
  async updateEpisode(...[namespace, id, change, version]: Parameters<DataStore["updateEpisode"]>) {
    const { text, vector } = change;
    const isNewText = text !== undefined && vector !== undefined;
    const replacement = isNewText ? prepareText(text, vector, this.options.embedder.dims, {}) : undefined;
    return await this.#write<Episode>("updateEpisode", namespace, id, change, version, replacement);
  }
  deleteEpisodes: DataStore["deleteEpisodes"] = (...args) => this.#write("deleteEpisodes", ...args);
  listEpisodes: DataStore["listEpisodes"] = (...args) => this.#read("listEpisodes", ...args);
  countEpisodes: DataStore["countEpisodes"] = (...args) => this.#read("countEpisodes", ...args);
  historyOf: DataStore["historyOf"] = (...args) => this.#read("historyOf", ...args);
  sampleVectors: DataStore["sampleVectors"] = (...args) => this.#read("sampleVectors", ...args);
  searchByVector: DataStore["searchByVector"] = (...args) => this.#read<Found[][]>("searchByVector", ...args);
  searchByTerms: DataStore["searchByTerms"] = (...args) => this.#read("searchByTerms", ...args);
  termCounts: DataStore["termCounts"] = (...args) => this.#read("termCounts", ...args);
  putConcepts: DataStore["putConcepts"] = (...args) => this.#write("putConcepts", ...args);
  getConcepts: DataStore["getConcepts"] = (...args) => this.#read("getConcepts", ...args);
  findConcept: DataStore["findConcept"] = (...args) => this.#read("findConcept", ...args);
  listConcepts: DataStore["listConcepts"] = (...args) => this.#read("listConcepts", ...args);
  listLinks: DataStore["listLinks"] = (...args) => this.#read("listLinks", ...args);
  changeLinks: DataStore["changeLinks"] = (...args) => this.#write("changeLinks", ...args);
  neighbours: DataStore["neighbours"] = (...args) => this.#read("neighbours", ...args);
  network: DataStore["network"] = (...args) => this.#read("network", ...args);
  fadeLinks: DataStore["fadeLinks"] = (...args) => this.#write("fadeLinks", ...args);
  putRecord: DataStore["putRecord"] = (...args) => this.#write("putRecord", ...args);
  getRecord: DataStore["getRecord"] = (...args) => this.#read("getRecord", ...args);
  listRecords: DataStore["listRecords"] = (...args) => this.#read("listRecords", ...args);
  deleteRecord: DataStore["deleteRecord"] = (...args) => this.#write("deleteRecord", ...args);
  namespaces: DataStore["namespaces"] = () => this.#read("listNamespaces");
  clearNamespace: DataStore["clearNamespace"] = (...args) => this.#write("clearNamespace", ...args);
  stats: DataStore["stats"] = (...args) => this.#read("stats", ...args);
  beginReindex: DataStore["beginReindex"] = (...args) => this.#write("beginReindex", ...args);
  unindexed: DataStore["unindexed"] = (...args) => this.#read("unindexed", ...args);
  putVectors: DataStore["putVectors"] = (...args) => this.#write("putVectors", ...args);
  finishReindex: DataStore["finishReindex"] = (...args) => this.#write("finishReindex", ...args);
}

class SqliteDataStore extends Asking implements DataStore {
  readonly #writer: Later<WorkerClient>;
  readonly #reader: Promise<WorkerClient>;
  /** The transaction that is led from here, if any: other writes wait for it. */
  #led: Promise<unknown> = Promise.resolve();

  constructor(options: SqliteOptions, writer: Later<WorkerClient>, reader: Promise<WorkerClient>) {
    super(
      options,
      async (method, ...args) => (await reader).ask(method, ...args),
      async (method, ...args) => {
        await this.#led;
        return (await writer.get()).ask(method, ...args);
      },
    );
    this.#writer = writer;
    this.#reader = reader;
  }

  async transaction<T>(work: (inside: DataStore) => Promise<T>): Promise<T> {
    const before = this.#led;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#led = before.then(() => promise);
    await before;
    try {
      return await led(await this.#writer.get(), this.options, work);
    } finally {
      resolve();
    }
  }

  async tidy(): Promise<Upkeep> {
    await this.#led;
    return await (await this.#writer.get()).ask("tidy");
  }
  async checkIndex(namespace: string, samples: number, seed: number): Promise<IndexCheck> {
    const found = await (await this.#reader).ask<IndexCheck>("checkIndex", namespace, samples, seed);
    await this.#led;
    if (found.nextProbes !== found.probes) await (await this.#writer.get()).ask("setProbes", found.nextProbes);
    return found;
  }
  async check({ repair }: { readonly repair: boolean }): Promise<Invariant[]> {
    await this.#led;
    return await (await this.#writer.get()).ask("check", repair);
  }
  async scrub(): Promise<void> {
    await this.#led;
    await (await this.#writer.get()).ask("scrub");
  }
  async backup(path: string): Promise<void> {
    await (await this.#reader).ask("backup", path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#led;
    await (await this.#reader.catch(() => undefined))?.close();
    await (await this.#writer.begun?.catch(() => undefined))?.close();
  }
}

/** Runs `work` between begin and commit; what it was given is of no use afterwards. */
async function led<T>(
  writer: WorkerClient,
  options: SqliteOptions,
  work: (inside: DataStore) => Promise<T>,
): Promise<T> {
  let isOver = false;
  const ask: Ask = async (method, ...args) => {
    if (isOver)
      throw new IroriError("bad-input", {
        what: `${method} in a transaction that is over`,
        next: "use the store itself",
      });
    return await writer.ask(method, ...args);
  };
  await writer.ask("begin");
  try {
    const result = await work(new InsideTransaction(options, ask, writer));
    isOver = true;
    await writer.ask("commit");
    return result;
  } catch (error) {
    isOver = true;
    await writer.ask("rollback");
    throw error;
  }
}

class InsideTransaction extends Asking implements DataStore {
  readonly #writer: WorkerClient;

  constructor(options: SqliteOptions, ask: Ask, writer: WorkerClient) {
    super(options, ask, ask);
    this.#writer = writer;
  }

  transaction<T>(work: (inside: DataStore) => Promise<T>): Promise<T> {
    return led(this.#writer, this.options, work);
  }
  tidy = () => refuse("tidy");
  checkIndex = () => refuse("checkIndex");
  check = () => refuse("check");
  scrub = () => refuse("scrub");
  backup = () => refuse("backup");
  async [Symbol.asyncDispose](): Promise<void> {}
}

function refuse(method: string): Promise<never> {
  return Promise.reject(
    new IroriError("bad-input", { what: `${method} inside a transaction`, next: "do it after the transaction" }),
  );
}
