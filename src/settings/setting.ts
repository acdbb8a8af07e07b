// One setting, and tables of them: what it is, what it may be, what it is when nobody says.
// It does not know which settings there are, nor who says what.
import { IroriError, nearest } from "../base/mod.ts";
import type { Rule } from "./rules.ts";

export interface Setting<T> {
  readonly rule: Rule<T>;
  /** Absent: the machine says. */
  readonly fallback?: T;
  readonly about: string;
}

export type Table = Readonly<Record<string, Setting<unknown>>>;

/** The values of a table. */
export type ValuesOf<T extends Table> = {
  readonly [K in keyof T]: T[K] extends Setting<infer V> ? V : never;
};

export const setting = <T>(rule: Rule<T>, about: string, fallback?: T): Setting<T> =>
  fallback === undefined ? { rule, about } : { rule, about, fallback };

/** What is said of a name that nothing has: the nearest that there is. */
export function unknownName(what: string, name: string, names: Iterable<string>): IroriError {
  const all = [...names];
  const [near] = nearest(name, all, 1);
  const next = near === undefined ? `there are ${all.join(", ")}` : `perhaps ${near} is meant`;
  return new IroriError("bad-input", { what, got: JSON.stringify(name), next });
}
