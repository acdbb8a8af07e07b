// Rows of Postgres as plain data. It does not know statements.
import type { Concept, Link, NodeRef, StoredRecord } from "../data-store.ts";
import type { Episode, EpisodeKind, Json, Provenance } from "../episode.ts";
import type { PgRow } from "../postgres.ts";

export const EPISODE_COLUMNS =
  "e.seq, e.namespace, e.id, e.key, e.text, e.kind, e.user_name, e.agent_name, e.thread_name, e.source, e.metadata, e.confidence, " +
  "e.recorded_at, e.valid_from, e.valid_to, e.closed_at, e.is_retracted, e.superseded_by, e.expires_at, e.is_pinned, " +
  "e.repeats, e.seen_at, e.uses, e.version";

const orAbsent = <T>(value: unknown): T | undefined => (value === null ? undefined : (value as T));

export function episodeOf(row: PgRow): Episode {
  const source = orAbsent<string>(row.source);
  return {
    id: row.id as string,
    namespace: row.namespace as string,
    key: orAbsent<string>(row.key),
    text: row.text as string,
    kind: row.kind as EpisodeKind,
    user: orAbsent<string>(row.user_name),
    agent: orAbsent<string>(row.agent_name),
    thread: orAbsent<string>(row.thread_name),
    source: source === undefined ? undefined : (JSON.parse(source) as Provenance),
    metadata: row.metadata as Record<string, Json>,
    confidence: row.confidence as number,
    recordedAt: row.recorded_at as number,
    validFrom: orAbsent<number>(row.valid_from),
    validTo: orAbsent<number>(row.valid_to),
    closedAt: orAbsent<number>(row.closed_at),
    isRetracted: row.is_retracted as boolean,
    supersededBy: orAbsent<string>(row.superseded_by),
    expiresAt: orAbsent<number>(row.expires_at),
    isPinned: row.is_pinned as boolean,
    repeats: row.repeats as number,
    seenAt: row.seen_at as number,
    uses: row.uses as number,
    version: row.version as number,
  };
}

export const conceptOf = (row: PgRow): Concept => ({
  id: row.id as string,
  kind: row.kind as string,
  name: row.name as string,
  attributes: JSON.parse(row.attributes as string) as Record<string, Json>,
  isPinned: row.is_pinned as boolean,
});

export const linkOf = (row: PgRow): Link => ({
  source: row.source as NodeRef,
  target: row.target as NodeRef,
  kind: row.kind as string,
  weight: row.weight as number,
  attributes: JSON.parse(row.attributes as string) as Record<string, Json>,
  recordedAt: row.recorded_at as number,
});

export const recordOf = (row: PgRow): StoredRecord => ({
  key: row.key as string,
  tag: orAbsent<string>(row.tag),
  body: JSON.parse(row.body as string) as Json,
  recordedAt: row.recorded_at as number,
});

export const vectorText = (vector: Float32Array): string => `[${vector.join(",")}]`;
export const vectorOf = (text: unknown): Float32Array =>
  Float32Array.from((text as string).slice(1, -1).split(","), Number);
