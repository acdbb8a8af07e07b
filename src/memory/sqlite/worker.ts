// The thread that owns a connection: runs the store's methods by name, one after another, and keeps the index tidy when
// nobody asks anything. It does not know who asks.
import { setImmediate as turn } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { IroriError } from "../../base/mod.ts";
import { backup } from "./backup.ts";
import { check } from "./check.ts";
import type { Beginning, Reply, Request } from "./messages.ts";
import { SqliteStore, type SqliteStoreOptions } from "./store.ts";

/** How long it is quiet before upkeep begins, and how many lists wait for that at most. */
const QUIET_MS = 2;
const MOST_UNTIDY = 48;
/** One piece of upkeep: in quiet, and where more lists wait than should. */
const PIECE_MS = 6;
const LONG_PIECE_MS = 60;
/** The log is brought into the file when it has so many pages (16 MB), or nobody has written for so long. */
const LOG_PAGES = 4_096;
const QUIET_LOG_MS = 300;

const writes = new Set(
  (
    "addEpisodes updateEpisode deleteEpisodes putConcepts changeLinks fadeLinks putRecord deleteRecord clearNamespace " +
    "setProbes beginReindex putVectors finishReindex"
  ).split(" "),
);
const port = parentPort as NonNullable<typeof parentPort>;
const store = openStore();
/** Not in the way of a transaction that the other side leads. */
let isLed = false;
let upkeepTimer: NodeJS.Timeout | undefined;
let upkeepError: unknown;

function openStore(): SqliteStore | undefined {
  try {
    const options = (workerData as Beginning).data as SqliteStoreOptions;
    const opened = new SqliteStore(options);
    port.postMessage({ id: 0, result: null } satisfies Reply);
    // whoever asks first may be asked something else before: a text is embedded meanwhile
    if (options.isReadOnly) setImmediate(() => inQuiet((open) => open.warm()));
    return opened;
  } catch (error) {
    port.postMessage({ id: 0, error: plain(error) } satisfies Reply);
    port.close();
    return undefined;
  }
}

/** Methods that remove texts or look at their terms. */
const ofTerms = new Set(["updateEpisode", "deleteEpisodes", "clearNamespace", "check"]);
/** What makes terms is loaded when it is first needed: a store opens in half the time without. */
let learning: Promise<void> | undefined;
let areTermsKnown = false;

async function learnTerms(): Promise<void> {
  const { termsOf } = await import("../../text/mod.ts");
  store?.terms.learn(termsOf);
  areTermsKnown = true;
}

port.on("message", async ({ id, method, args }: Request) => {
  try {
    if (ofTerms.has(method)) learning ??= learnTerms();
    if (learning !== undefined && !areTermsKnown) await learning; // whoever comes meanwhile waits too: all keep their order
    const result = await run(method, args);
    port.postMessage({ id, result } satisfies Reply);
  } catch (error) {
    port.postMessage({ id, error: plain(error) } satisfies Reply);
  }
  if (method === "close") port.close();
  else if (writes.has(method) || method === "commit") planUpkeep();
});

async function run(method: string, args: readonly unknown[]): Promise<unknown> {
  const open = store as SqliteStore;
  const { connection } = open;
  const special = specials[method];
  if (special !== undefined) return await special(open, args);
  const work = () => (open as unknown as Record<string, (...args: unknown[]) => unknown>)[method]?.(...args);
  return writes.has(method) ? connection.write(work) : connection.read(work);
}

/** Methods with transactions of their own. */
const specials: Readonly<Record<string, (store: SqliteStore, args: readonly unknown[]) => unknown>> = {
  begin({ connection }) {
    connection.begin();
    isLed = true;
  },
  commit({ connection }) {
    connection.commit();
    isLed = connection.isWriting;
  },
  rollback({ connection }) {
    connection.rollback();
    isLed = connection.isWriting;
  },
  tidy(store) {
    const failure = upkeepError;
    upkeepError = undefined;
    if (failure !== undefined) throw failure;
    return store.tidy(PIECE_MS);
  },
  checkIndex: (store, [namespace, samples, seed]) =>
    store.checkIndex(namespace as string, samples as number, seed as number, () => turn()),
  check: (store, [repair]) => check(store, repair as boolean, () => turn()),
  backup: (store, [path]) => backup(store, path as string),
  scrub({ connection }) {
    const [busy] = connection.sql("PRAGMA wal_checkpoint(TRUNCATE)").row() ?? [0];
    if (busy === 1)
      throw new IroriError("busy", {
        what: `${connection.path} is being read by others`,
        next: "scrub it again when they are done",
      });
  },
  close(store) {
    clearTimeout(upkeepTimer);
    store.close();
  },
};

function planUpkeep(): void {
  if (isLed) return;
  clearTimeout(upkeepTimer);
  inQuiet((open) => {
    upkeepTimer = setTimeout(upkeep, open.untidyCount() > MOST_UNTIDY ? 0 : QUIET_MS);
  });
}

/** One piece of upkeep; more of it when the messages that came meanwhile have had their turn. */
function upkeep(): void {
  if (isLed) return;
  inQuiet((open) => {
    const { isDone } = open.tidy(open.untidyCount() > MOST_UNTIDY ? LONG_PIECE_MS : PIECE_MS);
    shortenLog(LOG_PAGES);
    if (isDone) upkeepTimer = setTimeout(() => inQuiet(() => shortenLog(0)), QUIET_LOG_MS);
    else planUpkeep();
  });
}

/**
 * Nobody waits for what is done here, so nobody hears of it: lists stay flagged, and whoever writes next tries again. A held
 * lock is no failure, nor that another embedder's lists took the place of these; anything else is told by `tidy`.
 */
function inQuiet(work: (open: SqliteStore) => void): void {
  try {
    work(store as SqliteStore);
  } catch (error) {
    if (!(error instanceof IroriError && (error.code === "busy" || error.code === "conflict"))) upkeepError = error;
  }
}

/** Brings the log into the file where more pages of it are not there yet. Nobody waits for it but the next message. */
function shortenLog(most: number): void {
  const { connection } = store as SqliteStore;
  const [, pages, done] = connection.sql("PRAGMA wal_checkpoint(NOOP)").row() as [number, number, number];
  if (pages - done > most) connection.sql("PRAGMA wal_checkpoint(PASSIVE)").row();
}

function plain(error: unknown): NonNullable<Reply["error"]> {
  if (error instanceof IroriError) {
    const { what, got, wanted, next } = error.parts;
    return { code: error.code, parts: { what, got, wanted, next }, stack: error.stack };
  }
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  return { message, stack };
}
