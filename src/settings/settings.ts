// All settings: one table, in sections. What it holds is true of the file, the environment and the command line alike.
// It does not know who reads it (in-force.ts) nor what the settings do.
import { callersRule } from "./callers.ts";
import { memoryChanges, memoryPresets, memoryTable } from "./memory.ts";
import { presetNames } from "./presets.ts";
import { providersRule } from "./provider.ts";
import { remotesRule } from "./remotes.ts";
import { choice, count, flag, orNull, text } from "./rules.ts";
import { setting, type Table, type ValuesOf } from "./setting.ts";

const engine = {
  home: setting(text, "Folder of the store, and of settings.json where no other file is named"),
  preset: setting(choice(presetNames), "Many settings by one name", "local"),
  generator: setting(text, "Who answers: a model, a server (http://HOST/v1#MODEL), a name of providers, mock", "mock"),
  embedder: setting(text, "Who embeds: a model, a server, a name of providers, hashed", "hashed"),
  form: setting<"served" | "blocks" | "q8" | "q4" | "int8" | "f32">(
    choice(["served", "blocks", "q8", "q4", "int8", "f32"]),
    "How models compute where nothing else is said",
    "served",
  ),
  int8Prompts: setting(flag, "Read prompts in 8-bit products", false),
  kvType: setting<"f32" | "int8">(choice(["f32", "int8"]), "What keys and values are kept as", "f32"),
  keptBytes: setting(count(0), "Bytes of what ended answers have read, kept for prompts that begin alike", 2 ** 28),
  budgetBytes: setting(orNull(count()), "Bytes that answers may use; null: what the machine has free", null),
  threads: setting(count(1, 1024), "Threads of a run"),
  spin: setting(flag, "Idle threads wait busily between steps: quicker alone, unkind to others", true),
  offline: setting(flag, "Nothing is fetched", false),
  python: setting(orNull(text), "The Python whose pip fetches packages; null: python3, then python", null),
  providers: setting(providersRule, "Servers and mocks by names of one's own", {}),
  remotes: setting(remotesRule, "Servers that take batch work off `irori serve`, by names of one's own", {}),
  callers: setting(callersRule, "Who may call `irori serve` with a key, by names", {}),
};

const memory = {
  preset: setting(choice(memoryPresets), "Many settings of a memory by one name", "standard"),
  ...memoryTable,
};

export interface Section {
  readonly table: Table;
  /** By the section's own setting `preset`: what each sets otherwise. */
  readonly presets?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** Sections by name; "" holds the settings that stand alone. */
export const sections: Readonly<Record<string, Section>> = {
  "": { table: engine },
  memory: { table: memory, presets: memoryChanges },
};

export type Settings = ValuesOf<typeof engine> & { readonly memory: ValuesOf<typeof memory> };

export const keyOf = (section: string, name: string): string => (section === "" ? name : `${section}.${name}`);

/** Every key, in the order of the tables. */
export const settingKeys: readonly string[] = Object.entries(sections).flatMap(([section, { table }]) =>
  Object.keys(table).map((name) => keyOf(section, name)),
);

/** "memory.recallCount" → IRORI_MEMORY_RECALL_COUNT. */
export const variableOf = (key: string): string =>
  `IRORI_${key
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replaceAll(".", "_")
    .toUpperCase()}`;
