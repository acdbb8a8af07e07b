// Arguments as settings of the engine, over what the machine gives (machine.ts).
import { availableParallelism } from "node:os";
import type { ArgsDef } from "citty";
import type { Engine, Form, Lease, LeaseForm, LeaseOptions } from "../engine/mod.ts";
import { openEngine as openEngineHere, threadsHere } from "../machine.ts";
import type { Arguments } from "./arguments.ts";
import type { Call } from "./command.ts";
import { showProgress } from "./progress.ts";

export { freeBytes, homeFolder, isOffline, python } from "../machine.ts";

export const FORMS: readonly Form[] = ["blocks", "f32"];
const LEASE_FORMS: readonly LeaseForm[] = ["blocks", "int8", "f32"];

/** The options that say how a leased model computes. */
export const leaseArgs = {
  form: {
    type: "string",
    valueHint: "blocks|int8|f32",
    description: "The file's own blocks (default), the same weights in 8-bit products, or dequantised in float32",
  },
} as const satisfies ArgsDef;

/** Those of a model that makes answers. */
export const answerArgs = {
  ...leaseArgs,
  "int8-prompts": { type: "boolean", description: "Read prompts in 8-bit products: quicker, a little less exact" },
  kv: { type: "string", valueHint: "f32|int8", description: "What keys and values are kept as; int8 takes a quarter" },
} as const satisfies ArgsDef;

export const leaseOf = (args: Arguments): Pick<LeaseOptions, "form" | "hasInt8Prompts" | "kvType"> => ({
  form: args.choice("form", LEASE_FORMS),
  hasInt8Prompts: args.flag("int8-prompts"),
  kvType: args.choice("kv", ["f32", "int8"]),
});

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

export interface LendOptions extends Omit<LeaseOptions, "onProgress"> {
  readonly signal: AbortSignal;
}

/** A lease of the command's MODEL; fetching and preparing it is shown. */
export async function lend({ args }: Call, engine: Engine, options: LendOptions): Promise<Lease> {
  using progress = showProgress(args.flag("json"));
  return await engine.lease(args.needed("model"), { ...options, onProgress: progress.onProgress });
}
