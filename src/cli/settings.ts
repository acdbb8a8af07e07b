// Arguments as settings, over what the environment, the file and the machine say (machine.ts); engines and leases by them.
import { IroriError } from "../base/mod.ts";
import type { Engine, Form, Lease } from "../engine/mod.ts";
import { openEngine as openEngineHere, readSettings, settingsFilePath } from "../machine.ts";
import type { Flag, InForce } from "../settings/mod.ts";
import type { Arguments } from "./arguments.ts";
import type { Call } from "./command.ts";
import { showProgress } from "./progress.ts";

export { freeBytes, isSpinning } from "../machine.ts";

export const FORMS: readonly Form[] = ["blocks", "f32"];

const read = new WeakMap<Arguments, InForce>();

/** The settings in force, read once a command. */
export function settingsOf({ args }: Pick<Call, "args">): InForce {
  const known = read.get(args);
  if (known !== undefined) return known;
  const found = readSettings(saidBy(args));
  read.set(args, found);
  return found;
}

/** The settings file that the command reads or changes. */
export const settingsFileOf = (args: Arguments): string => settingsFilePath(saidBy(args));

const saidBy = (args: Arguments) => ({ flags: flagsOf(args), file: args.text("settings") });

function flagsOf(args: Arguments): Flag[] {
  const flags = args.texts("set").map((said): Flag => {
    const [, key, value] = /^([^=]+)=(.*)$/s.exec(said) ?? [];
    if (key !== undefined && value !== undefined) return { key, value, from: "--set" };
    throw new IroriError("bad-input", { what: "--set", got: JSON.stringify(said), wanted: "KEY=VALUE" });
  });
  for (const key of ["preset", "threads"]) {
    const value = args.text(key);
    if (value !== undefined) flags.push({ key, value, from: `--${key}` });
  }
  const spin = args.given("spin");
  if (spin !== undefined) flags.push({ key: "spin", value: spin, from: spin ? "--spin" : "--no-spin" });
  return flags;
}

export async function openEngine(call: Call): Promise<Engine> {
  const { startUp } = call;
  const { settings } = settingsOf(call);
  const engine = await openEngineHere({ settings, onEvent: (event) => startUp.event(event) });
  startUp.mark("store open");
  return engine;
}

export interface LendOptions {
  /** Default: as the settings say. */
  readonly form?: Form | undefined;
  readonly warm?: boolean;
  readonly signal: AbortSignal;
}

/** A lease of the command's MODEL; fetching and preparing it is shown. */
export async function lend(call: Call, engine: Engine, options: LendOptions): Promise<Lease> {
  const { args } = call;
  const { form, int8Prompts, kvType } = settingsOf(call).settings;
  using progress = showProgress(args.flag("json"));
  return await engine.lease(args.needed("model"), {
    ...{ hasInt8Prompts: int8Prompts, kvType },
    ...options,
    form: options.form ?? form,
    onProgress: progress.onProgress,
  });
}
