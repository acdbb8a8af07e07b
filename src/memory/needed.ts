// An Episode that must be there. It does not know why.
import { IroriError } from "../base/mod.ts";
import type { Episode } from "./episode.ts";
import type { Parts } from "./parts.ts";

/** Throws "not-found". */
export async function needEpisode(
  { store, namespace }: Pick<Parts, "store" | "namespace">,
  id: string,
): Promise<Episode> {
  const [episode] = await store.getEpisodes(namespace, [id]);
  if (episode !== undefined) return episode;
  throw new IroriError("not-found", {
    what: `no episode ${JSON.stringify(id)} in ${namespace}`,
    next: "`irori memory recall` shows ids",
  });
}
