// Settings that a user makes under names of his own: each an object of known fields. It does not know which.
import { isRecord, jsonIn, type Rule, refuse } from "./rules.ts";
import { type Table, unknownName, type ValuesOf } from "./setting.ts";

/** Objects by names. @param wanted in words, of all of them */
export function named<T>(
  wanted: string,
  parse: (value: Readonly<Record<string, unknown>>, what: string) => T,
): Rule<Readonly<Record<string, T>>> {
  const record = (value: unknown, what: string) => (isRecord(value) ? value : refuse(what, value, wanted));
  return {
    wanted,
    parse: (value, what) =>
      Object.fromEntries(
        Object.entries(record(value, what)).map(([name, each]) => {
          const where = `${what}.${name}`;
          return [name, parse(record(each, where), where)];
        }),
      ),
    read: jsonIn,
  };
}

/** An object's fields, each by its rule: those of `needed` must be there, no other than theirs and those of `more` may. */
export function fieldsOf<N extends Table, M extends Table>(
  value: Readonly<Record<string, unknown>>,
  what: string,
  needed: N,
  more: M,
): ValuesOf<N> & Partial<ValuesOf<M>> {
  const known: Table = { ...needed, ...more };
  for (const key of Object.keys(value))
    if (!Object.hasOwn(known, key)) throw unknownName(`${what}: a setting`, key, Object.keys(known));
  const fields = Object.entries(known)
    .filter(([key]) => Object.hasOwn(value, key) || Object.hasOwn(needed, key))
    .map(([key, { rule }]) => [key, rule.parse(value[key], `${what}.${key}`)]);
  return Object.fromEntries(fields) as ValuesOf<N> & Partial<ValuesOf<M>>;
}
