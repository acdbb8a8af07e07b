// What was remembered turns out otherwise: a correction takes the place of an Episode and keeps it as history. Either the
// world has changed (the old one held until then), or the old one never held. It does not know how questions are asked.
import { IroriError } from "../base/mod.ts";
import type { Episode } from "./episode.ts";
import { needEpisode } from "./needed.ts";
import type { Parts } from "./parts.ts";
import { remember } from "./remember.ts";

export interface Correction {
  readonly old: Episode;
  readonly correction: Episode;
}

export interface CorrectOptions {
  /** When the world changed: the old Episode held before, the new one from then on. Absent: the old one never held. */
  readonly since?: number | undefined;
  /** Version of the Episode that the caller has seen; where it has changed since, nothing happens ("conflict"). */
  readonly version?: number | undefined;
}

/** Throws "not-found", and "conflict" where something has taken its place already. */
export async function correct(
  parts: Parts,
  id: string,
  text: string,
  options: CorrectOptions = {},
): Promise<Correction> {
  const { store, namespace, now } = parts;
  const { since, version } = options;
  const old = await needEpisode(parts, id);
  if (old.supersededBy !== undefined)
    throw new IroriError("conflict", {
      what: `episode ${id} was corrected already`,
      next: `correct ${old.supersededBy} instead`,
    });
  await parts.embedder.embed([text]); // now, so that nobody waits for a model while the store is held
  return await store.transaction(async (inside) => {
    const { user, agent, thread, source, metadata } = old;
    const told = {
      text,
      user,
      agent,
      thread,
      source: source && { uri: source.uri, title: source.title },
      metadata,
      validFrom: since,
    };
    // the same words again would only count as a repeat: a correction is an Episode of its own
    const [made] = await remember({ ...parts, store: inside }, [told], { insight: false, repeats: "keep" });
    const correctionId = made?.id as string;
    const end = since === undefined ? { isRetracted: true } : { validTo: since };
    const closed = await inside.updateEpisode(
      namespace,
      id,
      { ...end, closedAt: now(), supersededBy: correctionId },
      version ?? old.version,
    );
    return { old: closed, correction: await needEpisode({ ...parts, store: inside }, correctionId) };
  });
}
