// Arguments as settings, over what the environment, the file and the machine say (machine.ts); engines and leases by them.
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import type { Terms } from "../checkpoint/mod.ts";
import type { Engine, Form, Lease, LeaseForm, LeaseOptions } from "../engine/mod.ts";
import { fetching, openEngine as openEngineHere, readSettings, settingsFilePath } from "../machine.ts";
import type { Flag, InForce } from "../settings/mod.ts";
import type { Arguments } from "./arguments.ts";
import type { Call } from "./command.ts";
import { showProgress } from "./progress.ts";

export { freeBytes, isSpinning } from "../machine.ts";

export const FORMS: readonly Form[] = ["blocks", "q8", "q4", "f32"];
const LEASE_FORMS: readonly LeaseForm[] = ["served", ...FORMS, "int8"];

/** The options that say how a leased model computes. */
export const leaseArgs = {
  form: {
    type: "string",
    valueHint: "blocks|q8|q4|int8|f32",
    description: "The file's own blocks or by its size (default), 8-bit products, or dequantised in float32",
  },
} as const satisfies ArgsDef;

/** Those of a model that makes answers. */
export const answerArgs = {
  ...leaseArgs,
  "int8-prompts": { type: "boolean", description: "Read prompts in 8-bit products: quicker, a little less exact" },
  kv: { type: "string", valueHint: "f32|int8", description: "What keys and values are kept as; int8 takes a quarter" },
} as const satisfies ArgsDef;

/** How the command's model computes: by its options, else by the settings. */
export function leaseOf(call: Call): Pick<LeaseOptions, "form" | "hasInt8Prompts" | "kvType"> {
  const { args } = call;
  const { form, int8Prompts, kvType } = settingsOf(call).settings;
  return {
    form: args.choice("form", LEASE_FORMS) ?? form,
    hasInt8Prompts: args.given("int8-prompts") ?? int8Prompts,
    kvType: args.choice("kv", ["f32", "int8"]) ?? kvType,
  };
}

const read = new WeakMap<Arguments, InForce>();

/** The settings in force, read once a command; `more` is what it says itself. */
export function settingsOf({ args }: Pick<Call, "args">, more: readonly Flag[] = []): InForce {
  const known = read.get(args);
  if (known !== undefined) return known;
  const said = saidBy(args);
  const found = readSettings({ ...said, flags: [...said.flags, ...more] });
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
  const { args, startUp } = call;
  const { settings } = settingsOf(call);
  const engine = await openEngineHere({
    settings,
    fetching: { ...fetching(settings), acceptsTerms: termsOf(args) },
    onEvent: (event) => startUp.event(event),
  });
  startUp.mark("store open");
  return engine;
}

/** Whether terms are accepted: by an option, or by a person who is asked. */
export const termsOf =
  (args: Arguments) =>
  (terms: Terms, model: string): boolean | Promise<boolean> =>
    args.flag("accept-terms") || askForTerms(terms, model, args);

/** Asks a person; nobody is asked where none can answer. */
async function askForTerms({ name, url }: Terms, model: string, args: Arguments): Promise<boolean> {
  if (args.flag("json") || !process.stdin.isTTY || !process.stderr.isTTY) return false;
  const prompts = await import("@clack/prompts");
  const message = `${model} is under ${name}: ${url}\nDo you accept them?`;
  return (await prompts.confirm({ message, initialValue: false })) === true;
}

/** What is not said is as the settings say. */
export interface LendOptions extends Omit<LeaseOptions, "onProgress"> {
  readonly signal: AbortSignal;
}

/** A lease of the command's MODEL; fetching and preparing it is shown. */
export async function lend(call: Call, engine: Engine, options: LendOptions): Promise<Lease> {
  const { args } = call;
  const { form, int8Prompts, kvType } = settingsOf(call).settings;
  using progress = showProgress(args.flag("json"));
  return await engine.lease(args.needed("model"), {
    ...options,
    form: options.form ?? form,
    hasInt8Prompts: options.hasInt8Prompts ?? int8Prompts,
    kvType: options.kvType ?? kvType,
    onProgress: progress.onProgress,
  });
}
