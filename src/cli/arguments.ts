// The command line as typed values: strict, so that a misspelt option is an error and a text of digits stays a text
// (citty's own parser lets both pass; its definitions and its usage texts are used).
import { type ParseArgsConfig, parseArgs } from "node:util";
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { type Command, commonArgs } from "./command.ts";

export interface NumberRule {
  readonly isWhole?: boolean;
  readonly min: number;
  readonly max?: number;
}

export class Arguments {
  readonly #definition: ArgsDef;
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #positionals: ReadonlyMap<string, string>;
  /** Arguments behind the positional ones. */
  readonly rest: readonly string[];

  constructor(
    definition: ArgsDef,
    values: Readonly<Record<string, unknown>>,
    positionals: ReadonlyMap<string, string>,
    rest: readonly string[] = [],
  ) {
    this.#definition = definition;
    this.#values = values;
    this.#positionals = positionals;
    this.rest = rest;
  }

  /** What was given of `--name` and `--no-name`, else what the definition says. */
  flag(name: string): boolean {
    return this.given(name) ?? this.#definition[name]?.default === true;
  }
  /** Of `--name` and `--no-name` the last that was given. */
  given(name: string): boolean | undefined {
    return this.#values[name] as boolean | undefined;
  }
  /** Every value of an option that may be repeated. */
  texts(name: string): readonly string[] {
    return (this.#values[name] as string[] | undefined) ?? [];
  }
  /** The last value of an option. */
  text(name: string): string | undefined {
    return this.texts(name).at(-1);
  }
  number(name: string, rule: NumberRule): number | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : numberOf(`--${name}`, text, rule);
  }
  choice<T extends string>(name: string, choices: readonly T[]): T | undefined {
    const text = this.text(name);
    const found = choices.find((choice) => choice === text);
    if (text === undefined || found !== undefined) return found;
    throw new IroriError("bad-input", { what: `--${name}`, got: JSON.stringify(text), wanted: choices.join(" or ") });
  }
  positional(name: string): string | undefined {
    return this.#positionals.get(name);
  }
  /** A positional that the definition requires. */
  needed(name: string): string {
    return this.#positionals.get(name) as string;
  }
}

export function numberOf(what: string, text: string, { isWhole = false, min, max = Infinity }: NumberRule): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (value >= min && value <= max && (isWhole ? Number.isSafeInteger(value) : Number.isFinite(value))) return value;
  const range = min === -Infinity ? "any" : max === Infinity ? `${min} or more` : `${min} to ${max}`;
  const wanted = `a ${isWhole ? "whole " : ""}number, ${range}`;
  throw new IroriError("bad-input", { what, got: JSON.stringify(text), wanted });
}

/** Throws "bad-input" for what the definition does not allow. */
export function parseArguments(
  command: string,
  { args: definition, rest }: Pick<Command, "args" | "rest">,
  argv: readonly string[],
): Arguments {
  const next = `\`irori ${command} --help\` lists what it takes`;
  const options = optionsOf({ ...definition, ...commonArgs });
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({
      args: joined(argv, options),
      options,
      allowNegative: true,
      allowPositionals: true,
      strict: true,
    });
  } catch (error) {
    const got = (error as Error).message.replaceAll("\n", " ").replace(/(\.|\. To specify a positional.*)$/, "");
    throw new IroriError("bad-input", { what: `irori ${command}`, got, next, cause: error });
  }
  const places = Object.entries(definition).filter(([, { type }]) => type === "positional");
  const given = parsed.positionals;
  if (given.length > places.length && rest === undefined && parsed.values.help !== true)
    throw new IroriError("bad-input", {
      what: `irori ${command}`,
      got: `${given.length} arguments (${given.map((text) => JSON.stringify(text)).join(", ")})`,
      wanted: places.length === 0 ? "none" : `at most ${places.length}`,
      next: `put a text of several words in quotes; ${next}`,
    });
  const missing = places[given.length];
  if (missing !== undefined && missing[1].required !== false && parsed.values.help !== true)
    throw new IroriError("bad-input", { what: `irori ${command}: ${missing[0].toUpperCase()} is missing`, next });
  const named = places.map(([name], i) => [name, given[i]] as const);
  const positionals = new Map(named.filter((entry): entry is [string, string] => entry[1] !== undefined));
  return new Arguments(definition, parsed.values, positionals, given.slice(places.length));
}

/** A negative number behind an option is its value: `--only -1` is `--only=-1`. */
function joined(argv: readonly string[], options: NonNullable<ParseArgsConfig["options"]>): string[] {
  const all: string[] = [];
  for (const arg of argv) {
    const before = all.at(-1) ?? "";
    const isOption = before.startsWith("--") && options[before.slice(2)]?.type === "string";
    if (isOption && /^-[\d.]/.test(arg) && !all.includes("--")) all[all.length - 1] = `${before}=${arg}`;
    else all.push(arg);
  }
  return all;
}

function optionsOf(definition: ArgsDef): NonNullable<ParseArgsConfig["options"]> {
  const options: NonNullable<ParseArgsConfig["options"]> = {};
  for (const [name, arg] of Object.entries(definition)) {
    if (arg.type === "positional") continue;
    const short = "alias" in arg && typeof arg.alias === "string" ? { short: arg.alias } : {};
    if (arg.type === "string") options[name] = { type: "string", multiple: true, ...short };
    else options[name] = { type: "boolean", ...short };
  }
  return options;
}
