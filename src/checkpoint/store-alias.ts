// Aliases: names of one's own for models, with what is put in front of a chat and how answers are drawn. One small JSON file an
// alias, parsed at the door. It does not know what sampling means: numbers by name, checked by whoever draws.

import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { IroriError } from "../base/mod.ts";
import { parseJson } from "./json.ts";
import { diskCall } from "./model-file.ts";
import { quoted } from "./quoted.ts";
import { exists } from "./store-disk.ts";
import { type Place, writeIn } from "./store-place.ts";

/** What an answer is like where a request does not say. */
export interface ModelDefaults {
  /** System message of chats that begin without one. */
  readonly system?: string | undefined;
  /** Options of sampling by their names in a request. */
  readonly sampling?: Readonly<Record<string, number>> | undefined;
  readonly stop?: readonly string[] | undefined;
  readonly maxTokens?: number | undefined;
}

export interface Alias extends ModelDefaults {
  readonly format: 1;
  readonly name: string;
  /** A source, or the name of a model of the store. */
  readonly from: string;
}

const folderOf = ({ home }: Place): string => join(home, "aliases");
const pathOf = (place: Place, name: string): string => join(folderOf(place), `${name}.json`);

const isNumbers = (value: unknown): boolean =>
  typeof value === "object" && value !== null && Object.values(value).every((each) => Number.isFinite(each));
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every((each) => typeof each === "string");

/** By hand, as references are: this is read whenever a model is named. */
const checks: Readonly<Record<keyof Alias, (value: unknown) => boolean>> = {
  format: (value) => value === 1,
  name: (value) => typeof value === "string",
  from: (value) => typeof value === "string" && value !== "",
  system: (value) => value === undefined || typeof value === "string",
  sampling: (value) => value === undefined || isNumbers(value),
  stop: (value) => value === undefined || isTexts(value),
  maxTokens: (value) => value === undefined || (Number.isSafeInteger(value) && (value as number) > 0),
};

export async function readAlias(place: Place, name: string): Promise<Alias | undefined> {
  const path = pathOf(place, name);
  if (!(await exists(path))) return undefined;
  const { value } = parseJson(path, await diskCall(path, () => readFile(path)));
  const fields = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const wrong = Object.entries(checks).find(([field, isRight]) => !isRight(fields[field]))?.[0];
  if (wrong === undefined && fields.name === name) return fields as unknown as Alias;
  throw new IroriError("bad-file", {
    what: `${path}: ${wrong ?? "the name"} of the alias cannot be used`,
    next: `make it again: irori alias ${name} --from MODEL`,
  });
}

export async function aliasNames(place: Place): Promise<string[]> {
  const names = (await exists(folderOf(place))) ? await diskCall(folderOf(place), () => readdir(folderOf(place))) : [];
  return names
    .filter((name) => name.endsWith(".json"))
    .map((name) => name.slice(0, -5))
    .sort();
}

/** Writes an alias, in the place of one of the same name. */
export async function writeAlias(place: Place, alias: Alias): Promise<void> {
  if (!/^[a-z0-9][a-z0-9._-]{0,60}$/.test(alias.name))
    throw new IroriError("bad-input", {
      what: "the name of an alias",
      got: quoted(alias.name),
      wanted: "small letters, digits, . _ -",
    });
  await writeIn(place, `the alias ${alias.name}`, async () => {
    await mkdir(folderOf(place), { recursive: true });
    await place.disk.replace(pathOf(place, alias.name), `${JSON.stringify(alias, undefined, 2)}\n`);
  });
}

/** Whether there was one. */
export async function removeAlias(place: Place, name: string): Promise<boolean> {
  const isThere = await exists(pathOf(place, name));
  if (isThere) await writeIn(place, `the removal of alias ${name}`, () => rm(pathOf(place, name)));
  return isThere;
}
