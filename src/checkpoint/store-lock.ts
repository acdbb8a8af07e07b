// One holder at a time across processes, with a temporary folder that dies with its holder. Each contender creates a
// file of a name never used before and withdraws where it then sees another: nothing is ever taken away from a name.
// It does not know what is done under the lock.

import { mkdir, open, readdir, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cancelled, IroriError, type OnProgress } from "../base/mod.ts";
import { bytesUnder, removeTree } from "./store-disk.ts";
import { endProcess, isOwnerAlive, ownerTag } from "./store-owner.ts";

const heartbeatMs = 30_000;
const pollMs = 100;
const clientMark = "client~";

export interface LockOptions {
  readonly home: string;
  /** Letters, digits, `.`, `_`, `-`. */
  readonly key: string;
  readonly clock: () => number;
  /** How long the holder may show no sign of work before a waiter gives up. */
  readonly patienceMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

export class Lock implements AsyncDisposable {
  /** The holder's own temporary folder; it is removed with the lock. */
  readonly folder: string;
  private readonly path: string;
  private readonly heartbeat: NodeJS.Timeout;

  private constructor(path: string, folder: string) {
    this.path = path;
    this.folder = folder;
    // A beat that fails is no harm: only other hosts look at it, and only after minutes.
    const touch = (at: string) => utimes(at, new Date(), new Date()).catch(() => undefined);
    this.heartbeat = setInterval(() => void Promise.all([touch(path), touch(folder)]), heartbeatMs).unref();
  }

  static async acquire(options: LockOptions): Promise<Lock> {
    const { home, key, signal } = options;
    const tag = await ownerTag();
    const path = join(home, "locks", `${key}~${tag}`);
    const wait = waiter(options);
    for (;;) {
      if (signal?.aborted) throw cancelled(`waiting for ${key}`, signal);
      let holders = await holdersOf(options, path);
      if (holders.length === 0) {
        await (await open(path, "wx")).close();
        holders = await holdersOf(options, path);
        if (holders.length === 0) return await Lock.hold(path, join(home, "staging", tag));
        await rm(path);
      }
      await wait(holders);
    }
  }

  private static async hold(path: string, folder: string): Promise<Lock> {
    try {
      await mkdir(folder, { recursive: true });
      return new Lock(path, folder);
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
  }

  /** Notes a process that works for this holder, so that it is ended where the holder dies before it. */
  async noteClient(pid: number): Promise<void> {
    await (await open(join(this.folder, clientMark + (await ownerTag(pid))), "wx")).close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.heartbeat);
    await removeTree(this.folder);
    await rm(this.path, { force: true });
  }
}

/** Pieces of downloads that nobody went on with for so long are removed. */
const partialLifeMs = 14 * 24 * 60 * 60_000;

/** Removes what dead processes left, but pieces of downloads: the next one goes on with them. */
export async function sweep(home: string, clock: () => number): Promise<void> {
  for (const tag of await readdir(join(home, "staging"))) {
    const path = join(home, "staging", tag);
    if (await isOwnerAlive(tag, path, clock())) continue;
    await sweepFolder(path);
  }
  for (const name of await readdir(join(home, "locks"))) {
    const path = join(home, "locks", name);
    if (!(await isOwnerAlive(name.slice(name.indexOf("~") + 1), path, clock()))) await rm(path, { force: true });
  }
  await sweepPartial(home, clock());
}

async function sweepPartial(home: string, now: number): Promise<void> {
  const held = await readdir(join(home, "locks"));
  for (const key of await readdir(join(home, "partial"))) {
    const path = join(home, "partial", key);
    const touched = await stat(join(path, "state.json")).catch(() => stat(path).catch(() => undefined)); // just gone
    if (touched && now - touched.mtimeMs > partialLifeMs && !held.some((name) => name.startsWith(`partial-${key}~`)))
      await removeTree(path);
  }
}

async function sweepFolder(path: string): Promise<void> {
  const names = await readdir(path).catch(() => []); // another sweeper was faster
  for (const name of names) if (name.startsWith(clientMark)) await endProcess(name.slice(clientMark.length));
  await removeTree(path);
}

/** Tags of the living holders other than `own`; files of the dead are removed. */
async function holdersOf({ home, key, clock }: LockOptions, own: string): Promise<string[]> {
  const tags: string[] = [];
  for (const name of await readdir(join(home, "locks"))) {
    const path = join(home, "locks", name);
    if (!name.startsWith(`${key}~`) || path === own) continue;
    const tag = name.slice(key.length + 1);
    if (await isOwnerAlive(tag, path, clock())) tags.push(tag);
    else await rm(path, { force: true });
  }
  return tags;
}

/** One turn of waiting: shows the holder's bytes, ends in a sentence after `patienceMs` without a change of them. */
function waiter({
  home,
  key,
  clock,
  patienceMs,
  signal,
  onProgress,
}: LockOptions): (holders: string[]) => Promise<void> {
  let seen = "";
  let since = clock();
  return async (holders) => {
    let bytes = 0;
    for (const tag of holders) bytes += await bytesUnder(join(home, "staging", tag));
    onProgress?.({ step: "wait", item: key, done: bytes, unit: "bytes" });
    const now = `${holders.join()} ${bytes}`;
    if (now !== seen) {
      seen = now;
      since = clock();
    } else if (clock() - since > patienceMs) {
      const pid = holders[0]!.split("~")[0];
      throw new IroriError("io", {
        what: `another process (${pid}) holds ${key} and has written nothing`,
        got: `${Math.round((clock() - since) / 1000)} s without a sign of work`,
        wanted: `at most ${Math.round(patienceMs / 1000)} s`,
        next: `end process ${pid} and try again`,
      });
    }
    const jitterMs = crypto.getRandomValues(new Uint8Array(1))[0]! / 4; // contenders that withdrew must not meet again
    await sleep(pollMs + jitterMs, undefined, { signal }).catch(() => undefined); // an abort is seen by the caller
  };
}
