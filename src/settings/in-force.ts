// The settings in force and where each came from: flag, then environment, then file, then preset, then default.
// It reads no environment and no argv: they are handed in.
import { join } from "node:path";
import { IroriError, nearest } from "../base/mod.ts";
import { readSettingsFile, type SettingsFile } from "./file.ts";
import { type NeededModel, neededModels, type Preset, presets } from "./presets.ts";
import { isRecord } from "./rules.ts";
import { unknownName } from "./setting.ts";
import { keyOf, type Settings, sections, settingKeys, variableOf } from "./settings.ts";

export type SettingSource = "flag" | "env" | "file" | "preset" | "default";

/** What a caller sets himself. */
export interface Flag {
  readonly key: string;
  /** A text stands for what it says; other values for themselves. */
  readonly value: unknown;
  /** How it was said: "--threads". */
  readonly from: string;
}

export interface SettingInForce {
  readonly key: string;
  readonly value: unknown;
  readonly source: SettingSource;
  /** The flag, variable, file or preset by name; absent for defaults. */
  readonly from?: string;
}

export interface InForce {
  readonly settings: Settings;
  readonly file: SettingsFile;
  readonly all: readonly SettingInForce[];
  /** Models of this machine that the settings want to have at hand. */
  readonly models: readonly NeededModel[];
  /** Variables of the environment that look like settings and are none, with what may be meant. */
  readonly strangers: readonly { readonly name: string; readonly near?: string }[];
}

export interface Sources {
  /** Of one key the last counts. */
  readonly flags?: readonly Flag[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The file by name; default IRORI_SETTINGS, else settings.json in the home. */
  readonly file?: string | undefined;
  /** What the machine says where nobody else does. */
  readonly machine: { readonly home: string; readonly threads: number };
}

/** Variables of Irori that are no settings: they are read before there are any, or by tests. */
const OTHER_VARIABLES = [
  "IRORI_SETTINGS",
  "IRORI_NODE",
  "IRORI_KEYS",
  "IRORI_DEBUG",
  "IRORI_FULL",
  "IRORI_FUZZ_SEED",
  "IRORI_TOKENIZER_CASES",
];

/** Throws "bad-input" for an unknown key, with the nearest, and for values that cannot be, naming who gave them. */
export function settingsInForce(sources: Sources): InForce {
  const { flags = [], env, machine } = sources;
  for (const { key, from } of flags)
    if (!settingKeys.includes(key)) throw unknownName(`${from}: a setting`, key, settingKeys);
  const said = new Map<string, Said>();
  for (const [key, value] of Object.entries(machine)) said.set(key, { value, source: "default" });
  const { path, isNamed } = settingsPath(sources);
  const file = readSettingsFile(path, isNamed);
  const filed = keysOf(file);
  const preset = resolved("preset", said, flags, env, filed, undefined) as keyof typeof presets;
  const chosen: Chosen = { name: preset, ...(presets[preset] as Preset) };
  const settings: Record<string, unknown> = {};
  for (const [section, { table, presets: own }] of Object.entries(sections)) {
    const into: Record<string, unknown> = section === "" ? settings : {};
    if (section !== "") settings[section] = into;
    for (const name of Object.keys(table)) {
      const isOwn = own !== undefined && name !== "preset";
      const changes: Chosen | undefined = isOwn
        ? { name: `${into.preset}`, settings: prefixed(section, own[`${into.preset}`] ?? {}) }
        : undefined;
      into[name] = resolved(keyOf(section, name), said, flags, env, filed, chosen, changes);
    }
  }
  const values = settings as unknown as Settings;
  const all = settingKeys.map((key) => ({ key, ...(said.get(key) as Said) }));
  return { settings: values, file, all, models: neededModels(values), strangers: strangersOf(env) };
}

/** Where the settings file is, or would be; `isNamed`: somebody said so. */
export function settingsPath({ flags = [], env, file, machine }: Sources): { path: string; isNamed: boolean } {
  const named = file ?? (env.IRORI_SETTINGS || undefined);
  if (named !== undefined) return { path: named, isNamed: true };
  return { path: join(String(saidBefore("home", flags, env)?.value ?? machine.home), "settings.json"), isNamed: false };
}

interface Said {
  readonly value: unknown;
  readonly source: SettingSource;
  readonly from?: string;
}

interface Chosen {
  readonly name: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

type Filed = ReadonlyMap<string, { readonly value: unknown; readonly from: string }>;

/** Finds who says what a setting is, notes it, and gives the parsed value. */
function resolved(
  key: string,
  said: Map<string, Said>,
  flags: readonly Flag[],
  env: Sources["env"],
  filed: Filed,
  ...presetsInForce: readonly (Chosen | undefined)[]
): unknown {
  const { rule, fallback } = settingOf(key);
  const inFile = filed.get(key);
  const inPreset = presetsInForce.find((preset) => preset !== undefined && Object.hasOwn(preset.settings, key));
  const found: Said = saidBefore(key, flags, env) ??
    (inFile && { ...inFile, source: "file" }) ??
    (inPreset && { value: inPreset.settings[key], source: "preset", from: inPreset.name }) ??
    said.get(key) ?? { value: fallback, source: "default" };
  const value = rule.parse(found.value, `${found.from ?? "default"}: ${key}`);
  said.set(key, { ...found, value });
  return value;
}

/** What a flag or else the environment says. */
function saidBefore(key: string, flags: readonly Flag[], env: Sources["env"]): Said | undefined {
  const { rule } = settingOf(key);
  const flag = flags.findLast((each) => each.key === key);
  if (flag !== undefined) {
    const value = typeof flag.value === "string" ? rule.read(flag.value) : flag.value;
    return { value, source: "flag", from: flag.from };
  }
  const variable = variableOf(key);
  const text = env[variable];
  return text ? { value: rule.read(text), source: "env", from: variable } : undefined;
}

export function settingOf(key: string) {
  const dot = key.indexOf(".");
  const section = dot < 0 ? "" : key.slice(0, dot);
  const found = sections[section]?.table[key.slice(dot + 1)];
  if (found === undefined) throw unknownName("a setting", key, settingKeys);
  return found;
}

/** What a file says, by key; throws for keys that are none. */
function keysOf({ path, content }: SettingsFile): Filed {
  const keys = new Map<string, { value: unknown; from: string }>();
  const note = (key: string, value: unknown) => {
    if (key === "home")
      throw new IroriError("bad-input", {
        what: `${path}: home cannot be set in a file that is looked for there`,
        next: "set IRORI_HOME",
      });
    if (!settingKeys.includes(key)) throw unknownName(`${path}: a setting`, key, settingKeys);
    keys.set(key, { value, from: path });
  };
  for (const [name, value] of Object.entries(content))
    if (name !== "" && Object.hasOwn(sections, name) && isRecord(value))
      for (const [below, each] of Object.entries(value)) note(keyOf(name, below), each);
    else note(name, value);
  return keys;
}

function prefixed(section: string, settings: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(settings).map(([name, value]) => [keyOf(section, name), value]));
}

function strangersOf(env: Sources["env"]): InForce["strangers"] {
  const known = [...settingKeys.map(variableOf), ...OTHER_VARIABLES];
  return Object.keys(env)
    .filter((name) => name.startsWith("IRORI_") && !known.includes(name))
    .map((name) => {
      const [near] = nearest(name, known, 1);
      return { name, ...(near !== undefined && { near }) };
    });
}
