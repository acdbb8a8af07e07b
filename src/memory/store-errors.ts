// Sentences that every store says alike. It does not know stores.
import { IroriError } from "../base/mod.ts";

export const notFound = (namespace: string, id: string): IroriError =>
  new IroriError("not-found", { what: `no episode ${JSON.stringify(id)} in ${namespace}` });

export const taken = (namespace: string, id: string): IroriError =>
  new IroriError("conflict", {
    what: `episode ${id} is in ${namespace} already`,
    next: "give a key to add it only once",
  });

export const changedInBetween = (id: string, version: number, now: number): IroriError =>
  new IroriError("conflict", {
    what: `episode ${id} was changed in between`,
    got: `version ${version}`,
    wanted: `version ${now}`,
    next: "read it again and decide anew",
  });

export const unknownEnd = (id: string): IroriError =>
  new IroriError("not-found", { what: `a link to episode ${JSON.stringify(id)}, which is not there` });

export const noReindex = (): IroriError =>
  new IroriError("conflict", { what: "no reindex is going on", next: "begin one with `irori memory reindex`" });

export const unfinishedReindex = (id: string): IroriError =>
  new IroriError("conflict", {
    what: `episode ${id} has no vector of the new embedder yet`,
    next: "go on with reindex",
  });

/** The place of `next` of a page. Throws "bad-input" for what is none. */
export function cursorOf(after: string): number {
  const seq = Number(after);
  if (/^\d+$/.test(after) && Number.isSafeInteger(seq)) return seq;
  throw new IroriError("bad-input", {
    what: "where a page begins",
    got: JSON.stringify(after),
    wanted: "`next` of the page before",
  });
}

/** Throws "bad-input" for a link that cannot be. */
export function checkLink({
  source,
  target,
  weight,
}: {
  readonly source: string;
  readonly target: string;
  readonly weight: number;
}): void {
  if (!(weight > 0 && Number.isFinite(weight)))
    throw new IroriError("bad-input", {
      what: `a link's weight (${source} to ${target})`,
      got: weight,
      wanted: "a number above 0",
    });
  if (source === target) throw new IroriError("bad-input", { what: `a link from ${source} to itself` });
}
