// What values a setting may have: of JSON as they are, of the command line and the environment as texts.
// Own and small rather than a schema library's: every command meets them, and loading one takes longer than opening a model.
// It does not know which settings there are.
import { IroriError } from "../base/mod.ts";

export interface Rule<T> {
  /** In words, for the error and the docs: "a whole number, 1 to 1024". */
  readonly wanted: string;
  /** The value, or "bad-input". @param what the setting and who gave it, for the error */
  readonly parse: (value: unknown, what: string) => T;
  /** What a text stands for, not yet parsed; a text that stands for nothing comes back as it is. */
  readonly read: (text: string) => unknown;
}

export function refuse(what: string, value: unknown, wanted: string, next?: string): never {
  const text = JSON.stringify(value) ?? String(value);
  const got = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  throw new IroriError("bad-input", { what, got, wanted, next });
}

function rule<T>(wanted: string, is: (value: unknown) => value is T, read: (text: string) => unknown): Rule<T> {
  return { wanted, parse: (value, what) => (is(value) ? value : refuse(what, value, wanted)), read };
}

const numberIn = (text: string): unknown => (text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text));

export function count(min = 1, max = Number.MAX_SAFE_INTEGER): Rule<number> {
  const wanted = `a whole number, ${max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `${min} to ${max}`}`;
  const is = (value: unknown): value is number => Number.isSafeInteger(value) && +(value as number) >= min;
  return rule(wanted, (value): value is number => is(value) && value <= max, numberIn);
}

/** A number from `min` (`above`: but not itself) to `max`. */
export function share(min = 0, max = 1, above = false): Rule<number> {
  const is = (value: unknown): value is number =>
    typeof value === "number" && value <= max && (above ? value > min : value >= min);
  return rule(above ? `a number above ${min}, at most ${max}` : `a number, ${min} to ${max}`, is, numberIn);
}

const SAID: Readonly<Record<string, boolean>> = {
  "1": true,
  true: true,
  yes: true,
  "0": false,
  false: false,
  no: false,
};

export const flag: Rule<boolean> = rule(
  "true or false",
  (value) => typeof value === "boolean",
  (text) => SAID[text.toLowerCase()] ?? text,
);

export const text: Rule<string> = rule(
  "a text that is not empty",
  (value): value is string => typeof value === "string" && value !== "",
  (given) => given,
);

export const isAddress = (value: unknown): value is string =>
  typeof value === "string" && /^https?:\/\/./.test(value) && URL.canParse(value);

/** Of a server. */
export const address: Rule<string> = rule(
  "an address that begins with http:// or https://",
  isAddress,
  (given) => given,
);

export function choice<const T extends string>(choices: readonly T[]): Rule<T> {
  const is = (value: unknown): value is T => choices.includes(value as T);
  return rule(choices.join(", "), is, (given) => given);
}

/** The rule's values, or null. */
export function orNull<T>({ wanted, parse, read }: Rule<T>): Rule<T | null> {
  return {
    wanted: `${wanted}, or null`,
    parse: (value, what) => (value === null ? null : parse(value, what)),
    read: (given) => (given === "null" ? null : read(given)),
  };
}

/** @param some where it may not be empty, what it must hold: "one answer or more" */
export function list<T>(of: Rule<T>, some?: string): Rule<readonly T[]> {
  const wanted = `${some ?? "a list"}, each ${of.wanted}`;
  return {
    wanted,
    parse: (value, what) =>
      Array.isArray(value) && (some === undefined || value.length > 0)
        ? value.map((each, i) => of.parse(each, `${what}[${i}]`))
        : refuse(what, value, wanted),
    read: jsonIn,
  };
}

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export function jsonIn(given: string): unknown {
  try {
    return JSON.parse(given);
  } catch {
    return given; // no JSON: the rule refuses the text itself
  }
}
