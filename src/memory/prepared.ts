// An episode checked at the door and made ready for any store: everything that can be reckoned before a transaction begins.
// It does not know which store it is for.
import { IroriError } from "../base/mod.ts";
import { termsOf } from "../text/mod.ts";
import { finite, labelsOf, type Moment, moment } from "./columns.ts";
import { startConfidence } from "./confidence.ts";
import { checkMetadata, checkName, checkText, type EpisodeKind, type NewEpisode, unitVector } from "./episode.ts";
import { fingerprintOf } from "./fingerprint.ts";
import type { NewId } from "./ids.ts";

export interface PreparedText {
  readonly text: string;
  readonly fingerprint: Uint8Array;
  /** Terms with a space between. */
  readonly terms: string;
  /** Of unit length. */
  readonly vector: Float32Array;
}

export interface PreparedEpisode extends PreparedText {
  readonly id: string;
  /** The id was given by the caller, so that it may be taken. */
  readonly isIdGiven: boolean;
  readonly key: string | null;
  readonly kind: EpisodeKind;
  readonly user: string | null;
  readonly agent: string | null;
  readonly thread: string | null;
  readonly uri: string | null;
  /** JSON. */
  readonly source: string | null;
  readonly metadata: string;
  readonly labels: readonly (readonly [name: string, value: string])[];
  readonly confidence: number;
  readonly recordedAt: number;
  readonly validFrom: Moment;
  readonly validTo: Moment;
  readonly closedAt: Moment;
  readonly expiresAt: Moment;
  readonly isPinned: boolean;
}

/** More than this is an import, which goes in batches. */
const MOST_PER_CALL = 10_000;

/** Throws "bad-input", with the episode's place where there are several. */
export function prepareEpisodes(episodes: readonly NewEpisode[], dims: number, newId: NewId): PreparedEpisode[] {
  if (episodes.length > MOST_PER_CALL)
    throw new IroriError("bad-input", {
      what: "episodes of one call",
      got: episodes.length,
      wanted: `at most ${MOST_PER_CALL}`,
    });
  return episodes.map((episode, i) => {
    try {
      return prepareOne(episode, dims, newId);
    } catch (error) {
      if (!(error instanceof IroriError) || episodes.length === 1) throw error;
      throw new IroriError(error.code, {
        ...error.parts,
        what: `episode ${i} of ${episodes.length}: ${error.parts.what}`,
      });
    }
  });
}

function prepareOne(episode: NewEpisode, dims: number, newId: NewId): PreparedEpisode {
  const { id, key, kind = "experience", source, metadata = {}, confidence, isPinned = false } = episode;
  const recordedAt = moment("recordedAt", episode.recordedAt) as number;
  const validTo = moment("validTo", episode.validTo);
  return {
    ...prepareText(episode.text, episode.vector, dims, episode),
    id: id === undefined ? newId(recordedAt) : checkName("an episode's id", id),
    isIdGiven: id !== undefined,
    key: nameOf("a key", key),
    kind,
    user: nameOf("a user", episode.user),
    agent: nameOf("an agent", episode.agent),
    thread: nameOf("a thread", episode.thread),
    uri: source?.uri ?? null,
    source: source === undefined ? null : JSON.stringify(source),
    metadata: checkMetadata(metadata),
    labels: labelsOf(metadata),
    confidence: startConfidence(kind, finite("confidence", confidence)),
    recordedAt,
    validFrom: moment("validFrom", episode.validFrom),
    validTo,
    closedAt: validTo === null ? null : recordedAt,
    expiresAt: moment("expiresAt", episode.expiresAt),
    isPinned,
  };
}

export function prepareText(
  text: string,
  vector: Float32Array,
  dims: number,
  scope: Pick<NewEpisode, "user" | "agent" | "thread">,
): PreparedText {
  const checked = checkText(text);
  const terms = termsOf(checked).join(" ");
  return { text: checked, terms, fingerprint: fingerprintOf(checked, scope), vector: unitVector(vector, dims) };
}

const nameOf = (what: string, name: string | undefined): string | null =>
  name === undefined ? null : checkName(what, name);
