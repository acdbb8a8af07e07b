// Arguments as settings of the engine, over what the machine gives (machine.ts).
import { availableParallelism } from "node:os";
import type { Engine, Form, Lease } from "../engine/mod.ts";
import { openEngine as openEngineHere, threadsHere } from "../machine.ts";
import type { Arguments } from "./arguments.ts";
import type { Call } from "./command.ts";
import { showProgress } from "./progress.ts";

export { freeBytes, homeFolder, isOffline, python } from "../machine.ts";

export const FORMS: readonly Form[] = ["blocks", "f32"];

export const threadsOf = (args: Arguments): number =>
  args.number("threads", { isWhole: true, min: 1, max: 1024 }) ?? threadsHere();

/** Whether idle threads wait busily: where that was asked for, and they do not outnumber the cores. */
export const isSpinning = (args: Arguments, threads: number): boolean =>
  args.flag("spin") && threads <= availableParallelism();

export async function openEngine({ args, startUp }: Call): Promise<Engine> {
  const threads = threadsOf(args);
  const onEvent = (event: Parameters<typeof startUp.event>[0]) => startUp.event(event);
  const engine = await openEngineHere({ threads, spinning: isSpinning(args, threads), onEvent });
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
