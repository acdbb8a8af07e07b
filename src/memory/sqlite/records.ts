// What is kept by name: one table, a kind and a key. Everything runs inside the caller's transaction.
// It does not know what is in the bodies.
import type { Page, RecordListOptions, StoredRecord } from "../data-store.ts";
import { checkName, type Json } from "../episode.ts";
import type { Connection, Row } from "../sqlite.ts";
import type { Namespaces } from "./tables.ts";

export class Records {
  readonly #connection: Connection;
  readonly #namespaces: Namespaces;

  constructor(connection: Connection, namespaces: Namespaces) {
    this.#connection = connection;
    this.#namespaces = namespaces;
  }

  put(namespace: string, kind: string, { key, tag, body, recordedAt }: StoredRecord): void {
    this.#connection
      .sql(
        `INSERT INTO record (ns, kind, key, tag, body, recorded_at) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (ns, kind, key) DO UPDATE SET tag = excluded.tag, body = excluded.body, recorded_at = excluded.recorded_at`,
      )
      .run(
        this.#namespaces.make(namespace),
        kind,
        checkName("a record's key", key),
        tag ?? null,
        JSON.stringify(body),
        recordedAt,
      );
  }

  get(namespace: string, kind: string, key: string): StoredRecord | undefined {
    const ns = this.#namespaces.find(namespace);
    if (ns === undefined) return undefined;
    const row = this.#connection
      .sql("SELECT key, tag, body, recorded_at FROM record WHERE ns = ? AND kind = ? AND key = ?")
      .row(ns, kind, key);
    return row && recordOf(row);
  }

  list(namespace: string, kind: string, options: RecordListOptions): Page<StoredRecord> {
    const ns = this.#namespaces.find(namespace);
    if (ns === undefined) return { items: [] };
    const { prefix, tag, after, limit, order = "oldest" } = options;
    const isUp = order === "oldest";
    let sql = "SELECT key, tag, body, recorded_at FROM record WHERE ns = ? AND kind = ?";
    const cells: (string | number)[] = [ns, kind];
    if (tag !== undefined) {
      sql += " AND tag = ?";
      cells.push(tag);
    }
    if (prefix !== undefined) {
      // no LIKE: % and _ in a prefix stand for themselves
      sql += " AND substr(key, 1, ?) = ?";
      cells.push([...prefix].length, prefix);
    }
    if (after !== undefined) {
      sql += ` AND key ${isUp ? ">" : "<"} ?`;
      cells.push(after);
    }
    const rows = this.#connection.sql(`${sql} ORDER BY key ${isUp ? "ASC" : "DESC"} LIMIT ?`).all(...cells, limit + 1);
    const items = rows.slice(0, limit).map(recordOf);
    return rows.length <= limit ? { items } : { items, next: items.at(-1)?.key };
  }

  remove(namespace: string, kind: string, key: string): boolean {
    const ns = this.#namespaces.find(namespace);
    return (
      ns !== undefined &&
      this.#connection.sql("DELETE FROM record WHERE ns = ? AND kind = ? AND key = ?").run(ns, kind, key) > 0
    );
  }
}

function recordOf([key, tag, body, recordedAt]: Row): StoredRecord {
  return {
    key: key as string,
    tag: tag === null ? undefined : (tag as string),
    body: JSON.parse(body as string) as Json,
    recordedAt: recordedAt as number,
  };
}
