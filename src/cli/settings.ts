// The environment and the machine as settings of the engine: home, threads, memory, switches.
// One of the few places that read them; below this floor they are passed in.
import { readFileSync } from "node:fs";
import { availableParallelism, freemem, homedir } from "node:os";
import { defaultHome } from "../checkpoint/mod.ts";
import { Engine, type Form, type Lease } from "../engine/mod.ts";
import type { Arguments } from "./arguments.ts";
import type { Call } from "./command.ts";
import { showProgress } from "./progress.ts";

/** More threads than this gain little on one small model and take the machine from everybody else. */
const MOST_THREADS = 8;

export const FORMS: readonly Form[] = ["blocks", "f32"];

export const homeFolder = (): string => defaultHome(process.platform, process.env, homedir());
export const isOffline = (): boolean => process.env.IRORI_OFFLINE === "1";
export const python = (): string | undefined => process.env.IRORI_PYTHON || undefined;

export const threadsOf = (args: Arguments): number =>
  args.number("threads", { isWhole: true, min: 1, max: 1024 }) ?? Math.min(availableParallelism(), MOST_THREADS);

/** Spinning threads that outnumber the cores wait for each other's time slices. */
export const isSpinning = (args: Arguments, threads: number): boolean =>
  args.flag("spin") && threads <= availableParallelism();

/** Memory that can be had without swapping (MemAvailable on Linux), within the container's limit. Mapped pages can be taken back. */
export function freeBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(freemem(), Math.max(0, limit - privateBytes())) : freemem();
}

/** What this process holds and no file backs; all that is resident where the system does not tell. */
function privateBytes(): number {
  const kilobytes =
    process.platform === "linux" && /^RssAnon:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"));
  return kilobytes ? Number(kilobytes[1]) * 1024 : process.memoryUsage.rss();
}

export async function openEngine({ args, startUp }: Call): Promise<Engine> {
  const threads = threadsOf(args);
  const engine = await Engine.open({
    home: homeFolder(),
    threads,
    spinning: isSpinning(args, threads),
    budgetBytes: freeBytes,
    now: () => performance.now(),
    python: python(),
    isOffline: isOffline(),
    onEvent: (event) => startUp.event(event),
  });
  startUp.mark("store open");
  return engine;
}

export interface LendOptions {
  readonly form?: Form | undefined;
  readonly warm?: boolean;
  readonly signal: AbortSignal;
}

/** A lease of the command's MODEL; fetching and preparing it is shown. */
export async function lend({ args }: Call, engine: Engine, options: LendOptions): Promise<Lease> {
  using progress = showProgress(args.flag("json"));
  return await engine.lease(args.needed("model"), { ...options, onProgress: progress.onProgress });
}
