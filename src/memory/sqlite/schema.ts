// The tables of a store, and how older stores become newer ones. Everything true of a migration is in its literal.
// It does not know what reads them.
import { IroriError } from "../../base/mod.ts";
import type { Connection } from "../sqlite.ts";

/** "IROR": `file` and SQLite itself tell a store from other databases by it. */
const APPLICATION_ID = 0x49524f52;

/*
 * ns        number of a namespace; it leads every key but those of rows that have a number of their own
 * seq       number of an episode or concept, never given again; in links a concept's number is negative
 * label     metadata by value, so that a filter is a lookup
 * term_index  terms of an episode (text/terms.ts), each behind its namespace; without a copy of the text
 * record    everything else that is kept by name: spikes, questions, jobs, values
 */
const migrations: readonly string[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE namespace (ns INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, episodes INTEGER NOT NULL DEFAULT 0) STRICT;
  CREATE TABLE episode (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, ns INTEGER NOT NULL, id TEXT NOT NULL, key TEXT, fingerprint BLOB NOT NULL,
    kind TEXT NOT NULL, user_name TEXT, agent_name TEXT, thread_name TEXT, uri TEXT, source TEXT, metadata TEXT NOT NULL,
    confidence REAL NOT NULL, recorded_at INTEGER NOT NULL, valid_from INTEGER, valid_to INTEGER, closed_at INTEGER,
    is_retracted INTEGER NOT NULL, superseded_by TEXT, expires_at INTEGER, is_pinned INTEGER NOT NULL,
    repeats INTEGER NOT NULL, seen_at INTEGER NOT NULL, uses INTEGER NOT NULL, version INTEGER NOT NULL, text TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX episode_id ON episode (ns, id);
  CREATE UNIQUE INDEX episode_key ON episode (ns, key) WHERE key IS NOT NULL;
  CREATE INDEX episode_fingerprint ON episode (ns, substr(fingerprint, 1, 6));
  CREATE INDEX episode_recorded ON episode (ns, recorded_at);
  CREATE INDEX episode_user ON episode (ns, user_name) WHERE user_name IS NOT NULL;
  CREATE INDEX episode_agent ON episode (ns, agent_name) WHERE agent_name IS NOT NULL;
  CREATE INDEX episode_thread ON episode (ns, thread_name) WHERE thread_name IS NOT NULL;
  CREATE INDEX episode_uri ON episode (ns, uri) WHERE uri IS NOT NULL;
  CREATE INDEX episode_superseded ON episode (ns, superseded_by) WHERE superseded_by IS NOT NULL;
  CREATE INDEX episode_expires ON episode (ns, expires_at) WHERE expires_at IS NOT NULL;
  CREATE TABLE label (ns INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (ns, name, value, seq)) STRICT, WITHOUT ROWID;
  CREATE VIRTUAL TABLE term_index USING fts5 (terms, content = '', tokenize = "ascii tokenchars '._'");
  INSERT INTO term_index (term_index, rank) VALUES ('secure-delete', 1);
  CREATE VIRTUAL TABLE term_count USING fts5vocab (term_index, 'row');
  CREATE TABLE concept (seq INTEGER PRIMARY KEY AUTOINCREMENT, ns INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL,
    name TEXT NOT NULL, attributes TEXT NOT NULL, is_pinned INTEGER NOT NULL) STRICT;
  CREATE UNIQUE INDEX concept_id ON concept (ns, id);
  CREATE INDEX concept_name ON concept (ns, kind, name);
  CREATE TABLE link (ns INTEGER NOT NULL, source INTEGER NOT NULL, target INTEGER NOT NULL, kind TEXT NOT NULL,
    weight REAL NOT NULL, attributes TEXT NOT NULL, recorded_at INTEGER NOT NULL,
    PRIMARY KEY (ns, source, target, kind)) STRICT, WITHOUT ROWID;
  CREATE INDEX link_back ON link (ns, target, source, kind);
  CREATE TABLE record (ns INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, tag TEXT, body TEXT NOT NULL,
    recorded_at INTEGER NOT NULL, PRIMARY KEY (ns, kind, key)) STRICT, WITHOUT ROWID;
  CREATE INDEX record_tag ON record (ns, kind, tag, key) WHERE tag IS NOT NULL;
  `,
  // a namespace's episodes in their order (every index ends in the row's number)
  "CREATE INDEX episode_order ON episode (ns);",
];

export const SCHEMA_VERSION = migrations.length;

/** Makes the tables of a new file, or brings an older store forward, in one transaction. Throws "unsupported" for a newer one. */
export function migrate(connection: Connection): void {
  const found = versionOf(connection);
  if (found === SCHEMA_VERSION) return;
  connection.write(() => {
    const version = versionOf(connection); // another process may have been faster
    for (const sql of migrations.slice(version)) connection.exec(sql);
    connection.exec(`PRAGMA user_version = ${SCHEMA_VERSION}; PRAGMA application_id = ${APPLICATION_ID}`);
  });
}

/** Throws "bad-file" for a database that is no store, "unsupported" for a newer store. */
export function versionOf(connection: Connection): number {
  const version = connection.sql("PRAGMA user_version").cell<number>() ?? 0;
  const application = connection.sql("PRAGMA application_id").cell<number>();
  const isEmpty = connection.sql("SELECT count(*) FROM sqlite_master").cell<number>() === 0;
  if (application !== APPLICATION_ID && !(isEmpty && version === 0 && application === 0))
    throw new IroriError("bad-file", {
      what: `${connection.path} is a database, but no memory store`,
      next: "name another file, or `irori memory migrate` for data of InsightSpike",
    });
  if (version > SCHEMA_VERSION)
    throw new IroriError("unsupported", {
      what: `${connection.path} was written by a newer Irori`,
      got: `schema ${version}`,
      wanted: `at most ${SCHEMA_VERSION}`,
      next: "update Irori",
    });
  return version;
}

/** The tables of one vector space; `space` counts up with every embedder. */
export const spaceTables = (space: number): string => `
  CREATE TABLE vector_${space} (seq INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT;
  CREATE TABLE list_${space} (list INTEGER PRIMARY KEY, ns INTEGER NOT NULL, version INTEGER NOT NULL, centroid BLOB) STRICT;
  CREATE INDEX list_version_${space} ON list_${space} (ns, version);
  CREATE TABLE chunk_${space} (part INTEGER PRIMARY KEY, records BLOB NOT NULL) STRICT;
  CREATE TABLE tail_${space} (list INTEGER NOT NULL, seq INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (list, seq)) STRICT, WITHOUT ROWID;
  CREATE TABLE place_${space} (seq INTEGER PRIMARY KEY, list INTEGER NOT NULL) STRICT;
  CREATE TABLE size_${space} (list INTEGER PRIMARY KEY, members INTEGER NOT NULL, tail INTEGER NOT NULL) STRICT;
  CREATE TABLE untidy_${space} (list INTEGER PRIMARY KEY) STRICT;
`;

export const SPACE_TABLES = ["vector", "list", "chunk", "tail", "place", "size", "untidy"] as const;
