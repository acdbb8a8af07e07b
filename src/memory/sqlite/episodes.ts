// Episodes in their tables: row, labels, terms and vector change together. Everything runs inside the caller's transaction.
// What comes in was checked at the door (prepared.ts). It does not know links, records, or the other side of the worker.
import { changedColumns, labelsOf } from "../columns.ts";
import type { Added, AddOptions, ListOptions, Page } from "../data-store.ts";
import type { Episode, EpisodeChange } from "../episode.ts";
import { type Condition, type Filter, narrowConditions, timeConditions } from "../filter.ts";
import { fingerprintOf } from "../fingerprint.ts";
import type { PreparedEpisode, PreparedText } from "../prepared.ts";
import type { Connection } from "../sqlite.ts";
import { changedInBetween, cursorOf, notFound, taken } from "../store-errors.ts";
import { EPISODE_COLUMNS, episodeOf, type Namespaces } from "./tables.ts";
import type { TermIndex } from "./term-index.ts";
import type { VectorSpaces } from "./vector-spaces.ts";

/** Filters that leave at most so many episodes are looked up, larger ones are checked on what a search finds. */
const NARROW = 5_000;

export interface EpisodesParts {
  readonly connection: Connection;
  readonly namespaces: Namespaces;
  readonly spaces: VectorSpaces;
  readonly terms: TermIndex;
}

export class Episodes {
  readonly #parts: EpisodesParts;

  constructor(parts: EpisodesParts) {
    this.#parts = parts;
  }

  add(namespace: string, episodes: readonly PreparedEpisode[], { repeats = "count" }: AddOptions): Added[] {
    const { namespaces } = this.#parts;
    const ns = namespaces.make(namespace);
    const added = episodes.map((episode) => this.#addOne(ns, namespace, episode, repeats === "count"));
    namespaces.count(ns, added.filter(({ isNew }) => isNew).length);
    return added;
  }

  #addOne(ns: number, namespace: string, episode: PreparedEpisode, areRepeatsCounted: boolean): Added {
    const { spaces, terms } = this.#parts;
    const { id, key, text, fingerprint, recordedAt } = episode;
    if (key !== null) {
      const found = this.#sql("SELECT id, repeats FROM episode WHERE ns = ? AND key = ?").row(ns, key);
      if (found) return { id: found[0] as string, isNew: false, repeats: found[1] as number };
    }
    const repeated = areRepeatsCounted ? this.#countRepeat(ns, fingerprint, recordedAt) : undefined;
    if (repeated !== undefined) return repeated;
    if (episode.isIdGiven && this.seqOf(ns, id) !== undefined) throw taken(namespace, id);
    const seq = this.#sql(
      `INSERT INTO episode (ns, id, key, fingerprint, kind, user_name, agent_name, thread_name, uri, source, metadata, confidence,
        recorded_at, valid_from, valid_to, closed_at, is_retracted, expires_at, is_pinned, repeats, seen_at, uses, version, text)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, 0, ?, 0, 1, ?)`,
    ).insert(
      ...[
        ns,
        id,
        key,
        fingerprint,
        episode.kind,
        episode.user,
        episode.agent,
        episode.thread,
        episode.uri,
        episode.source,
      ],
      ...[episode.metadata, episode.confidence, recordedAt, episode.validFrom, episode.validTo, episode.closedAt],
      ...[episode.expiresAt, episode.isPinned ? 1 : 0, recordedAt, text],
    );
    this.#label(ns, seq, episode.labels);
    terms.add(ns, seq, episode.terms);
    spaces.add(ns, seq, episode.vector);
    return { id, isNew: true, repeats: 0 };
  }

  /** The same text that still holds is told again. */
  #countRepeat(ns: number, fingerprint: Uint8Array, at: number): Added | undefined {
    const found = this.#sql(
      "SELECT seq, id, repeats FROM episode WHERE ns = ?1 AND substr(fingerprint, 1, 6) = substr(?2, 1, 6) AND fingerprint = ?2 AND closed_at IS NULL AND (expires_at IS NULL OR expires_at > ?3) ORDER BY seq LIMIT 1",
    ).row(ns, fingerprint, at);
    if (found === undefined) return undefined;
    const [seq, id, repeats] = found as [number, string, number];
    this.#sql(
      "UPDATE episode SET repeats = repeats + 1, seen_at = max(seen_at, ?), version = version + 1 WHERE seq = ?",
    ).run(at, seq);
    return { id, isNew: false, repeats: repeats + 1 };
  }

  seqOf(ns: number, id: string): number | undefined {
    return this.#sql("SELECT seq FROM episode WHERE ns = ? AND id = ?").cell<number>(ns, id);
  }

  get(namespace: string, ids: readonly string[]): (Episode | undefined)[] {
    const ns = this.#parts.namespaces.find(namespace);
    if (ns === undefined) return ids.map(() => undefined);
    const one = this.#sql(`SELECT ${EPISODE_COLUMNS} FROM episode e WHERE ns = ? AND id = ?`);
    return ids.map((id) => {
      const row = one.row(ns, id);
      return row && episodeOf(namespace, row);
    });
  }

  bySeq(namespace: string, seq: number): Episode | undefined {
    const row = this.#sql(`SELECT ${EPISODE_COLUMNS} FROM episode e WHERE seq = ?`).row(seq);
    return row && episodeOf(namespace, row);
  }

  /** @param replacement the new text, ready but for whose it is; absent where the text stays */
  update(
    namespace: string,
    id: string,
    change: EpisodeChange,
    version: number | undefined,
    replacement: PreparedText | undefined,
  ): Episode {
    const ns = this.#parts.namespaces.find(namespace);
    const [old] = this.get(namespace, [id]);
    const seq = ns === undefined ? undefined : this.seqOf(ns, id);
    if (ns === undefined || seq === undefined || old === undefined) throw notFound(namespace, id);
    if (version !== undefined && version !== old.version) throw changedInBetween(id, version, old.version);
    if (replacement !== undefined) this.#replaceText(ns, seq, old, replacement);
    if (change.metadata !== undefined) {
      this.#unlabel(ns, seq, labelsOf(old.metadata));
      this.#label(ns, seq, labelsOf(change.metadata));
    }
    const columns = changedColumns(change, old.kind);
    const sets = [...columns.keys()].map((column) => `${column} = ?, `).join("");
    const cells = [...columns.values()].map((value) => (typeof value === "boolean" ? Number(value) : value));
    this.#sql(`UPDATE episode SET ${sets}version = version + 1 WHERE seq = ?`).run(...cells, seq);
    return this.bySeq(namespace, seq) as Episode;
  }

  #replaceText(ns: number, seq: number, old: Episode, { text, terms, vector }: PreparedText): void {
    const parts = this.#parts;
    const fingerprint = fingerprintOf(text, old);
    parts.terms.remove(ns, seq, old.text);
    parts.terms.add(ns, seq, terms);
    parts.spaces.replace(ns, seq, vector);
    this.#sql("UPDATE episode SET text = ?, fingerprint = ? WHERE seq = ?").run(text, fingerprint, seq);
  }

  /** Row, labels, terms and vectors of these; their numbers. */
  remove(namespace: string, ids: readonly string[]): number[] {
    const { namespaces, spaces, terms } = this.#parts;
    const ns = namespaces.find(namespace);
    if (ns === undefined) return [];
    const removed: number[] = [];
    for (const [i, episode] of this.get(namespace, ids).entries()) {
      const seq = this.seqOf(ns, ids[i] as string);
      if (episode === undefined || seq === undefined) continue;
      this.#unlabel(ns, seq, labelsOf(episode.metadata));
      terms.remove(ns, seq, episode.text);
      spaces.remove(seq);
      this.#sql("DELETE FROM episode WHERE seq = ?").run(seq);
      this.#sql("UPDATE episode SET superseded_by = NULL WHERE ns = ? AND superseded_by = ?").run(ns, episode.id);
      removed.push(seq);
    }
    namespaces.count(ns, -removed.length);
    return removed;
  }

  list(namespace: string, { filter = {}, limit, after, order = "oldest" }: ListOptions): Page<Episode> {
    const isUp = order === "oldest";
    const start = after === undefined ? [] : [{ sql: `e.seq ${isUp ? ">" : "<"} ?`, values: [cursorOf(after)] }];
    const ns = this.#parts.namespaces.find(namespace);
    if (ns === undefined) return { items: [] };
    const { sql, values } = joined([{ sql: "e.ns = ?", values: [ns] }, ...this.#conditions(ns, filter), ...start]);
    const rows = this.#sql(
      `SELECT ${EPISODE_COLUMNS} FROM episode e WHERE ${sql} ORDER BY e.seq ${isUp ? "ASC" : "DESC"} LIMIT ?`,
    ).all(...values, limit + 1);
    const items = rows.slice(0, limit).map((row) => episodeOf(namespace, row));
    return rows.length <= limit ? { items } : { items, next: String(rows[limit - 1]?.[0]) };
  }

  count(namespace: string, filter: Filter): number {
    const { namespaces } = this.#parts;
    const ns = namespaces.find(namespace);
    if (ns === undefined) return 0;
    const conditions = this.#conditions(ns, filter);
    if (conditions.length === 0) return namespaces.episodes(ns);
    const { sql, values } = joined([{ sql: "e.ns = ?", values: [ns] }, ...conditions]);
    return this.#sql(`SELECT count(*) FROM episode e WHERE ${sql}`).cell<number>(...values) as number;
  }

  history(namespace: string, id: string): Episode[] {
    const ns = this.#parts.namespaces.find(namespace);
    if (ns === undefined) return [];
    const rows = this.#sql(
      `WITH RECURSIVE
         older (id) AS (SELECT id FROM episode WHERE ns = ?1 AND id = ?2
           UNION SELECT e.id FROM older JOIN episode e ON e.ns = ?1 AND e.superseded_by = older.id),
         newer (id) AS (SELECT ?2 UNION SELECT e.superseded_by FROM newer JOIN episode e ON e.ns = ?1 AND e.id = newer.id)
       SELECT ${EPISODE_COLUMNS} FROM episode e
       WHERE e.ns = ?1 AND e.id IN (SELECT id FROM older UNION SELECT id FROM newer WHERE id IS NOT NULL) ORDER BY e.seq`,
    ).all(ns, id);
    return rows.map((row) => episodeOf(namespace, row));
  }

  /** Numbers of the episodes that a narrow filter leaves; undefined where it leaves many. */
  narrow(ns: number, filter: Filter): number[] | undefined {
    const conditions = [...narrowConditions(filter, "1"), ...this.#labelConditions(ns, filter)];
    if (conditions.length === 0) return undefined;
    const { sql, values } = joined([{ sql: "e.ns = ?", values: [ns] }, ...conditions]);
    const seqs = this.#sql(`SELECT e.seq FROM episode e WHERE ${sql} LIMIT ?`).column<number>(...values, NARROW + 1);
    if (seqs.length > NARROW) return undefined;
    return timeConditions(filter, "1").length === 0 ? seqs : [...this.accepted(ns, filter, seqs)];
  }

  /** Which of these episodes the filter lets through. */
  accepted(ns: number, filter: Filter, seqs: readonly number[]): Set<number> {
    const conditions = this.#conditions(ns, filter);
    if (conditions.length === 0) return new Set(seqs);
    const { sql, values } = joined(conditions);
    const one = this.#sql(`SELECT 1 FROM episode e WHERE e.seq = ? AND ${sql}`);
    return new Set(seqs.filter((seq) => one.row(seq, ...values) !== undefined));
  }

  #conditions(ns: number, filter: Filter): Condition[] {
    return [...narrowConditions(filter, "1"), ...this.#labelConditions(ns, filter), ...timeConditions(filter, "1")];
  }

  #labelConditions(ns: number, { metadata = {} }: Filter): Condition[] {
    return Object.entries(metadata).map(([name, value]) => ({
      sql: "e.seq IN (SELECT seq FROM label WHERE ns = ? AND name = ? AND value = ?)",
      values: [ns, name, JSON.stringify(value)],
    }));
  }

  #label(ns: number, seq: number, labels: PreparedEpisode["labels"]): void {
    const insert = this.#sql("INSERT INTO label (ns, name, value, seq) VALUES (?, ?, ?, ?)");
    for (const [name, value] of labels) insert.run(ns, name, value, seq);
  }

  #unlabel(ns: number, seq: number, labels: PreparedEpisode["labels"]): void {
    const remove = this.#sql("DELETE FROM label WHERE ns = ? AND name = ? AND value = ? AND seq = ?");
    for (const [name, value] of labels) remove.run(ns, name, value, seq);
  }

  #sql(text: string) {
    return this.#parts.connection.sql(text);
  }
}

function joined(conditions: readonly Condition[]): Condition {
  return { sql: conditions.map(({ sql }) => sql).join(" AND "), values: conditions.flatMap(({ values }) => values) };
}
