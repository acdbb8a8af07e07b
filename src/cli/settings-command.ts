// `irori settings`: what is in force and where each value came from; one value; changes to the settings file; the presets.
// It does not know what the settings do.
import type { ArgsDef } from "citty";
import { IroriError, nearest } from "../base/mod.ts";
import {
  changeSettingsFile,
  type InForce,
  type Preset,
  presets,
  readSettingsFile,
  type SettingInForce,
  settingKeys,
  settingOf,
  variableOf,
} from "../settings/mod.ts";
import type { Arguments } from "./arguments.ts";
import type { Call, Command } from "./command.ts";
import { columns, print, printJson, say } from "./output.ts";
import { settingsFileOf, settingsOf } from "./settings.ts";

const args = {
  action: { type: "positional", required: false, description: "get, set, unset or presets; nothing lists all" },
  key: { type: "positional", required: false, description: "A setting: threads, memory.recallCount" },
  value: { type: "positional", required: false, description: "What `set` writes into the file; lists as JSON" },
} as const satisfies ArgsDef;

export const settings: Command = { args, run: runSettings };

const ACTIONS = ["get", "set", "unset", "presets"] as const;

async function runSettings(call: Call): Promise<undefined> {
  const { args } = call;
  const action = args.positional("action");
  const key = args.positional("key");
  if (action === undefined) list(call);
  else if (action === "presets") listPresets(call);
  else if (action === "get" && key !== undefined) get(call, key);
  else if (action === "set" && key !== undefined) set(args, key);
  else if (action === "unset" && key !== undefined) unset(args, key);
  else refuseAction(action);
}

function refuseAction(action: string): never {
  const isAction = ACTIONS.some((name) => name === action);
  const near = nearest(action, [...ACTIONS, ...settingKeys], 1)[0];
  throw new IroriError("bad-input", {
    what: "irori settings",
    got: isAction ? `${action} without a KEY` : JSON.stringify(action),
    wanted: "nothing, get KEY, set KEY VALUE, unset KEY or presets",
    ...(!isAction &&
      near !== undefined && { next: settingKeys.includes(near) ? `\`irori settings get ${near}\`` : near }),
  });
}

const shown = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

const cameFrom = ({ source, from }: SettingInForce): string =>
  source === "default" ? "default" : source === "preset" ? `preset ${from}` : `${source} ${from}`;

function list(call: Call): void {
  const { all, file, models, strangers }: InForce = settingsOf(call);
  if (call.args.flag("json")) {
    const settings = all.map((each) => ({ ...each, variable: variableOf(each.key), about: settingOf(each.key).about }));
    printJson({ file: { path: file.path, isThere: file.isThere }, settings, models, strangers });
    return;
  }
  const rows = all.map((each) => [each.key, shown(each.value), cameFrom(each)]);
  print(columns([["SETTING", "VALUE", "FROM"], ...rows]));
  const needs = models.map(({ model, forms }) => `${model} (${forms.join(", ")})`).join(", ");
  print(`\nfile: ${file.path}${file.isThere ? "" : " (not there)"}\nmodels: ${needs || "none is needed"}\n`);
  for (const { name, near } of strangers)
    say(`the variable ${name} is no setting${near === undefined ? "" : `; perhaps ${near} is meant`}`);
}

function listPresets({ args }: Call): void {
  const named: readonly (readonly [string, Preset])[] = Object.entries(presets);
  if (args.flag("json")) printJson({ presets: named.map(([name, preset]) => ({ name, ...preset })) });
  else
    for (const [name, { about, settings, forms }] of named) {
      const sets = Object.entries(settings).map(([key, value]) => `${key}=${shown(value)}`);
      print(`${name}: ${about}\n  ${sets.join(" ")}${forms.length > 0 ? `\n  models in ${forms.join(", ")}` : ""}\n`);
    }
}

function get(call: Call, key: string): void {
  settingOf(key); // an unknown key is an error
  const found = settingsOf(call).all.find((each) => each.key === key) as SettingInForce;
  if (call.args.flag("json")) printJson(found);
  else print(`${shown(found.value)}\n`);
}

/** Written whatever else the file holds: a file with a wrong key can be repaired. */
function set(args: Arguments, key: string): void {
  const given = args.positional("value");
  if (given === undefined)
    throw new IroriError("bad-input", {
      what: `irori settings set ${key}: VALUE is missing`,
      next: "give it behind KEY",
    });
  const at = pathOf(key);
  if (key === "home")
    throw new IroriError("bad-input", {
      what: "home is where the settings file is looked for",
      next: "set IRORI_HOME",
    });
  const value = valueFor(at, given);
  const file = readSettingsFile(settingsFileOf(args), false);
  changeSettingsFile(file, at, value);
  tell(args, { key, value, file: file.path }, `${key} = ${shown(value)} in ${file.path}`);
}

function unset(args: Arguments, key: string): void {
  const file = readSettingsFile(settingsFileOf(args), false);
  if (!changeSettingsFile(file, pathOf(key), undefined))
    throw new IroriError("not-found", {
      what: `${file.path} does not set ${key}`,
      next: "`irori settings` tells who does",
    });
  tell(args, { key, file: file.path }, `${key} is taken out of ${file.path}`);
}

/** "memory.recallCount" in its parts; a provider's name may have dots. */
function pathOf(key: string): string[] {
  const [, name] = /^providers\.(.+)$/s.exec(key) ?? [];
  return name === undefined ? key.split(".") : ["providers", name];
}

/** A text as the value of a setting, or of one of the providers. */
function valueFor(at: readonly string[], given: string): unknown {
  const [first = "", name = ""] = at;
  if (first !== "providers" || at.length === 1) {
    const { rule } = settingOf(at.join("."));
    return rule.parse(rule.read(given), at.join("."));
  }
  const { rule } = settingOf("providers");
  return (rule.parse({ [name]: rule.read(given) }, "providers") as Record<string, unknown>)[name];
}

function tell(args: Arguments, json: object, text: string): void {
  if (args.flag("json")) printJson(json);
  else print(`${text}\n`);
}
