// Which HookPoints a pattern means. It does not know what is read or written at them.
import { IroriError } from "../base/mod.ts";
import { type Graph, hookPoints } from "../tensor/mod.ts";

/**
 * Names of a Graph's HookPoints that match patterns, each once, in the Graph's order. `*` stands for any run of characters,
 * `{a,b}` for one of several. Throws "not-found" for a pattern that matches nothing, with the nearest names.
 */
export const matchHookPoints = (g: Graph, patterns: readonly string[]): string[] => matching(hookPoints(g), patterns);

/** The same among given names. */
export function matching(all: readonly string[], patterns: readonly string[]): string[] {
  const wanted = new Set<string>();
  for (const pattern of patterns) {
    const found = all.filter((name) => expressionOf(pattern).test(name));
    if (found.length === 0) throw unknownHookPoint(pattern, all);
    for (const name of found) wanted.add(name);
  }
  return all.filter((name) => wanted.has(name));
}

function expressionOf(pattern: string): RegExp {
  const escaped = pattern.replace(/[.+?^$()|[\]\\]/g, "\\$&");
  const groups = escaped.replace(/\{([^{}]*)\}/g, (_, names: string) => `(?:${names.replaceAll(",", "|")})`);
  return new RegExp(`^${groups.replaceAll("*", ".*")}$`);
}

/** A HookPoint that is not there, with the names most like it. */
export function unknownHookPoint(name: string, all: readonly string[]): IroriError {
  const nearest = [...all].sort((a, b) => distance(name, a) - distance(name, b)).slice(0, 3);
  return new IroriError("not-found", {
    what: `no HookPoint matches "${name}"`,
    got: `${all.length} HookPoints`,
    next: `the nearest are ${nearest.join(", ")}`,
  });
}

/** Levenshtein's edit distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + Number(a[i - 1] !== b[j - 1]);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
