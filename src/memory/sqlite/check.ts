// Everything that must hold between the tables of a store, looked at one by one; what is derived can be made anew.
// It does not know how the tables came to be as they are.
import type { Invariant } from "../data-store.ts";
import type { Connection } from "../sqlite.ts";
import { seqOf } from "../vectors/codes.ts";
import type { SqliteStore } from "./store.ts";

/** One thing that must hold: how many break it, in words, and how it is made to hold. */
interface Rule {
  readonly name: string;
  readonly count: (store: SqliteStore, pause: () => Promise<void>) => Promise<number> | number;
  readonly broken: string;
  readonly fine: string;
  /** Absent: it is no derived data. */
  readonly repair?: (store: SqliteStore) => void;
}

const numberOf = (connection: Connection, sql: string): number => connection.sql(sql).cell<number>() ?? 0;
const activeOf = (store: SqliteStore): number => store.spaces.activeNumber;

const rules: readonly Rule[] = [
  {
    name: "the database is whole",
    count: ({ connection }) =>
      connection
        .sql("PRAGMA integrity_check(20)")
        .column<string>()
        .filter((line) => line !== "ok").length,
    broken: "damages; restore a backup",
    fine: "integrity_check: ok",
  },
  {
    name: "every episode has its vector, every vector its episode",
    count: (store) => {
      const [episodes, vectors] = ["episode", `vector_${activeOf(store)}`];
      return missing(store, episodes, vectors) + missing(store, vectors, episodes);
    },
    broken: "rows without a partner; `irori memory reindex` embeds what has no vector",
    fine: "as many vectors as episodes",
    repair: ({ connection, spaces }) =>
      connection.exec(`DELETE FROM vector_${spaces.activeNumber} WHERE seq NOT IN (SELECT seq FROM episode)`),
  },
  {
    name: "every vector is in the index once",
    count: countIndex,
    broken: "vectors that are missing, doubled or left over in the index",
    fine: "the index holds every vector once",
    repair: (store) => store.spaces.rebuild(vectorRows(store)),
  },
  {
    name: "every episode is in the text index",
    count: (store) =>
      missing(store, "episode", "term_index_docsize", "id") +
      missing(store, "term_index_docsize", "episode", "seq", "id") +
      countTerms(store),
    broken: "episodes whose terms are not found, or terms without an episode",
    fine: "terms of every episode are found",
    repair: rebuildTerms,
  },
  {
    name: "counts of namespaces",
    count: ({ connection }) =>
      numberOf(
        connection,
        "SELECT count(*) FROM namespace n WHERE episodes <> (SELECT count(*) FROM episode e WHERE e.ns = n.ns)",
      ),
    broken: "namespaces whose count is wrong",
    fine: "each as many as it has rows",
    repair: ({ connection }) =>
      connection.exec("UPDATE namespace SET episodes = (SELECT count(*) FROM episode e WHERE e.ns = namespace.ns)"),
  },
  {
    name: "links lead somewhere",
    count: ({ connection }) => numberOf(connection, `SELECT count(*) FROM link WHERE ${ORPHAN}`),
    broken: "links to what is not there",
    fine: "both ends of every link are there",
    repair: ({ connection }) => connection.exec(`DELETE FROM link WHERE ${ORPHAN}`),
  },
  {
    name: "labels belong to episodes",
    count: ({ connection }) =>
      numberOf(connection, "SELECT count(*) FROM label WHERE seq NOT IN (SELECT seq FROM episode)"),
    broken: "labels without an episode",
    fine: "every label has its episode",
    repair: ({ connection }) => connection.exec("DELETE FROM label WHERE seq NOT IN (SELECT seq FROM episode)"),
  },
];

const end = (column: string) =>
  `((${column} > 0 AND ${column} NOT IN (SELECT seq FROM episode)) OR (${column} < 0 AND -${column} NOT IN (SELECT seq FROM concept)))`;
const ORPHAN = `${end("source")} OR ${end("target")}`;

/** `pause` lets others run between the rules. Repairs happen in one transaction. */
export async function check(store: SqliteStore, repair: boolean, pause: () => Promise<void>): Promise<Invariant[]> {
  const found: Invariant[] = [];
  for (const { name, count, broken, fine, repair: mend } of rules) {
    await pause();
    const breaks = await count(store, pause);
    const isFine = breaks === 0;
    const finding = { name, isFine, found: isFine ? fine : `${breaks} ${broken}` };
    if (isFine || !repair || mend === undefined) {
      found.push(finding);
      continue;
    }
    store.connection.write(() => mend(store));
    const left = await count(store, pause);
    found.push({ ...finding, isFine: left === 0, repaired: left === 0 ? "made anew" : `${left} are left` });
  }
  return found;
}

/** Rows of one table that another does not have. */
const missing = ({ connection }: SqliteStore, table: string, other: string, otherKey = "seq", key = "seq"): number =>
  numberOf(connection, `SELECT count(*) FROM ${table} WHERE ${key} NOT IN (SELECT ${otherKey} FROM ${other})`);

async function countIndex(store: SqliteStore, pause: () => Promise<void>): Promise<number> {
  const { connection, spaces, namespaces } = store;
  const place = connection.sql(`SELECT list FROM place_${activeOf(store)} WHERE seq = ?`);
  const seen = new Set<number>();
  let breaks = 0;
  for (const { ns } of namespaces.all())
    for (const { list, records } of spaces.lists.everyList(ns)) {
      if (records.length !== spaces.lists.sizeOf(list)) breaks++;
      for (const seq of records.map(seqOf)) {
        if (seen.has(seq) || place.cell<number>(seq) !== list) breaks++;
        seen.add(seq);
      }
      await pause();
    }
  const vectors = numberOf(connection, `SELECT count(*) FROM vector_${activeOf(store)}`);
  const places = numberOf(connection, `SELECT count(*) FROM place_${activeOf(store)}`);
  return breaks + Math.abs(vectors - seen.size) + Math.abs(places - seen.size);
}

/** Of five hundred episodes, spread over all: those that their own terms do not find. */
function countTerms({ connection, terms }: SqliteStore): number {
  const most = numberOf(connection, "SELECT max(seq) FROM episode");
  const next = connection.sql("SELECT seq, ns, text FROM episode WHERE seq >= ? ORDER BY seq LIMIT 1");
  // node:sqlite hands numbers over as REAL, and FTS5 passes over a rowid that is none
  const rows = connection.sql(
    "SELECT count(*) FROM term_index WHERE term_index MATCH ? AND rowid = CAST(? AS INTEGER)",
  );
  let breaks = 0;
  for (let i = 0; i < 500; i++) {
    const row = next.row(Math.floor((most * i) / 500) + 1);
    if (row === undefined) break;
    const [seq, ns, text] = row as [number, number, string];
    const own = terms.termsOf(text).slice(0, 8);
    if (own.length > 0 && rows.cell<number>(terms.question(ns, own), seq) !== 1) breaks++;
  }
  return breaks;
}

function rebuildTerms({ connection, terms }: SqliteStore): void {
  connection.exec("INSERT INTO term_index (term_index) VALUES ('delete-all')");
  const page = connection.sql("SELECT seq, ns, text FROM episode WHERE seq > ? ORDER BY seq LIMIT 1000");
  for (let after = 0; ; ) {
    const rows = page.all(after) as [number, number, string][];
    if (rows.length === 0) return;
    for (const [seq, ns, text] of rows) terms.add(ns, seq, terms.termsOf(text).join(" "));
    after = rows.at(-1)?.[0] as number;
  }
}

function* vectorRows({ connection, spaces }: SqliteStore) {
  const page = connection.sql(
    `SELECT v.seq, e.ns FROM vector_${spaces.activeNumber} v JOIN episode e ON e.seq = v.seq WHERE v.seq > ? ORDER BY v.seq LIMIT 1000`,
  );
  const lists = spaces.lists;
  for (let after = 0; ; ) {
    const rows = page.all(after) as [number, number][];
    if (rows.length === 0) return;
    for (const [seq, ns] of rows) yield { seq, ns, vector: lists.vectorOf(seq) as Float32Array };
    after = rows.at(-1)?.[0] as number;
  }
}
