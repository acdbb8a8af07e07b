// Which episodes are meant, as plain data, as a predicate, and as the conditions that SQL stores share.
// It does not know how a store looks them up.
import { type Episode, type EpisodeKind, holdsAt, type Moment, type Scalar, type Scope } from "./episode.ts";

export interface Filter extends Scope {
  readonly kind?: EpisodeKind | undefined;
  /** Values of top-level metadata that must be equal. */
  readonly metadata?: Readonly<Record<string, Scalar>> | undefined;
  /** Said at or after; said before. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  /** Known and valid then; absent: all, also what was corrected or has ended. */
  readonly at?: Moment | undefined;
  readonly isPinned?: boolean | undefined;
  /** Part of the source's uri: an exact match. */
  readonly uri?: string | undefined;
}

export function matches(episode: Episode, filter: Filter): boolean {
  for (const name of ["user", "agent", "thread", "kind", "isPinned"] as const)
    if (filter[name] !== undefined && episode[name] !== filter[name]) return false;
  for (const [name, value] of Object.entries(filter.metadata ?? {})) if (episode.metadata[name] !== value) return false;
  if (episode.recordedAt < (filter.from ?? -Infinity) || episode.recordedAt >= (filter.to ?? Infinity)) return false;
  if (filter.uri !== undefined && episode.source?.uri !== filter.uri) return false;
  return filter.at === undefined || holdsAt(episode, filter.at);
}

/** A condition in SQL, `?` for each value in order. Columns are those of both SQL stores. */
export interface Condition {
  readonly sql: string;
  readonly values: readonly (string | number)[];
}

/** Columns that are as cheap to look up as an index: these decide whether a filter is narrow. */
export function narrowConditions({ user, agent, thread, kind, isPinned, uri }: Filter, yes: string): Condition[] {
  const conditions: Condition[] = [];
  const columns = { user_name: user, agent_name: agent, thread_name: thread, kind, uri };
  for (const [column, value] of Object.entries(columns))
    if (value !== undefined) conditions.push({ sql: `${column} = ?`, values: [value] });
  if (isPinned !== undefined)
    conditions.push({ sql: isPinned ? `is_pinned = ${yes}` : `is_pinned <> ${yes}`, values: [] });
  return conditions;
}

/** `yes` is how the store writes true. */
export function timeConditions({ from, to, at }: Filter, yes: string): Condition[] {
  const conditions: Condition[] = [];
  if (from !== undefined) conditions.push({ sql: "recorded_at >= ?", values: [from] });
  if (to !== undefined) conditions.push({ sql: "recorded_at < ?", values: [to] });
  if (at !== undefined) {
    const { knownAt, validAt } = at;
    conditions.push(
      { sql: "recorded_at <= ?", values: [knownAt] },
      { sql: "(valid_from IS NULL OR valid_from <= ?)", values: [validAt] },
      { sql: "(expires_at IS NULL OR expires_at > ?)", values: [knownAt] },
      {
        sql: `(closed_at IS NULL OR closed_at > ? OR (is_retracted <> ${yes} AND (valid_to IS NULL OR valid_to > ?)))`,
        values: [knownAt, validAt],
      },
    );
  }
  return conditions;
}
