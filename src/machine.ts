// This machine and its environment as the engine's options: what the faces (the package's root, the command) start from.
// It does not know arguments; below this floor nothing reads the environment, the clock or the machine.
import { readFileSync } from "node:fs";
import { availableParallelism, freemem, homedir } from "node:os";
import { defaultHome } from "./checkpoint/mod.ts";
import { Engine, type EngineOptions } from "./engine/mod.ts";

/** More threads than this gain little on one small model and take the machine from everybody else. */
const MOST_THREADS = 8;

/** IRORI_HOME, or the folder that the system has for such data. */
export const homeFolder = (): string => defaultHome(process.platform, process.env, homedir());
export const isOffline = (): boolean => process.env.IRORI_OFFLINE === "1";
export const python = (): string | undefined => process.env.IRORI_PYTHON || undefined;
export const threadsHere = (): number => Math.min(availableParallelism(), MOST_THREADS);

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

/**
 * An engine of this machine: the store of IRORI_HOME, a thread a core (8 at most), what memory is free as the budget. Options
 * given stand in the place of these.
 */
export function openEngine(options: Partial<EngineOptions> = {}): Promise<Engine> {
  const threads = options.threads ?? threadsHere();
  return Engine.open({
    home: homeFolder(),
    threads,
    // spinning threads that outnumber the cores wait for each other's time slices
    spinning: threads <= availableParallelism(),
    budgetBytes: freeBytes,
    now: () => performance.now(),
    python: python(),
    isOffline: isOffline(),
    ...options,
  });
}
