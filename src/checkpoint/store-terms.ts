// Terms that somebody accepted on this machine: asked once, noted with the time. It does not know what the terms say.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { IroriError } from "../base/mod.ts";
import type { CatalogEntry, Terms } from "./catalog.ts";
import type { PullOptions } from "./pull-options.ts";
import { exists } from "./store-disk.ts";
import { type Place, writeIn } from "./store-place.ts";

const notePath = ({ home }: Place, { url }: Terms): string =>
  join(home, "terms", `${url.replace(/^https:\/\//, "").replace(/[^a-z0-9.-]+/gi, "_")}.json`);

/** Throws "bad-input" where the terms of a model are not accepted. */
export async function requireTerms(
  place: Place,
  entry: CatalogEntry | undefined,
  { acceptsTerms }: Pick<PullOptions, "acceptsTerms">,
): Promise<void> {
  const terms = entry?.terms;
  if (terms === undefined || (await exists(notePath(place, terms)))) return;
  if (!(await acceptsTerms?.(terms, entry?.name ?? "")))
    throw new IroriError("bad-input", {
      what: `${entry?.name} is under ${terms.name}, which nobody has accepted here`,
      next: `read ${terms.url}, then \`irori pull ${entry?.name} --accept-terms\``,
    });
  await writeIn(place, "the note of accepted terms", async () => {
    await mkdir(join(place.home, "terms"), { recursive: true });
    const note = { ...terms, acceptedAt: new Date(place.clock()).toISOString() };
    await place.disk.replace(notePath(place, terms), `${JSON.stringify(note, undefined, 2)}\n`);
  });
}
