// A store on Postgres with pgvector, for any number of machines. It does not know SQL's dialect of rows (rows.ts) nor pg.
import { IroriError, seededRandom } from "../../base/mod.ts";
import type {
  Added,
  AddOptions,
  Concept,
  DataStore,
  EmbedderIdentity,
  FadeOptions,
  Found,
  IndexCheck,
  Invariant,
  Link,
  LinkKey,
  ListOptions,
  NamespaceStats,
  NetworkOptions,
  NewVector,
  NodeRef,
  Page,
  PageOptions,
  RecordListOptions,
  Sample,
  SearchOptions,
  StoredRecord,
} from "../data-store.ts";
import { checkName, type Episode, type EpisodeChange, type NewEpisode, unitVector } from "../episode.ts";
import type { Filter } from "../filter.ts";
import type { NewId } from "../ids.ts";
import { PostgresPool, type Session } from "../postgres.ts";
import { prepareEpisodes } from "../prepared.ts";
import { noReindex, unfinishedReindex } from "../store-errors.ts";
import { Statement } from "./conditions.ts";
import * as episodes from "./episodes.ts";
import * as knowledge from "./knowledge.ts";
import { conceptOf, EPISODE_COLUMNS, episodeOf, recordOf, vectorOf, vectorText } from "./rows.ts";
import { keepSpaces, prepareSchema, type Spaces, spacesOf, spaceTables } from "./schema.ts";

export interface PostgresOptions {
  /** "postgres://user:password@host:port/database" */
  readonly url: string;
  readonly embedder: EmbedderIdentity;
  readonly newId: NewId;
  /** Default 8. */
  readonly connections?: number | undefined;
}

/** Whose vectors a database holds; undefined where it has no store. */
export async function embedderOfPostgres(url: string): Promise<EmbedderIdentity | undefined> {
  await using pool = await PostgresPool.open(url, 1);
  const [found] = await pool.query("SELECT to_regclass('meta') IS NOT NULL AS is_there");
  if (found?.is_there !== true) return undefined;
  const { id, dims } = (await spacesOf(pool)).active;
  return { id, dims };
}

/** Opens a store, making its tables where there are none. Throws "conflict" for another embedder's. */
export async function openPostgres({ url, embedder, newId, connections = 8 }: PostgresOptions): Promise<DataStore> {
  const pool = await PostgresPool.open(url, connections);
  try {
    await prepareSchema(pool, embedder, pool.place);
  } catch (error) {
    await pool[Symbol.asyncDispose]();
    throw error;
  }
  const { id, dims } = embedder;
  const close = () => pool[Symbol.asyncDispose]();
  return new PostgresDataStore(pool, { kind: "postgres", place: pool.place, embedder: { id, dims } }, newId, close);
}

class PostgresDataStore implements DataStore {
  readonly info: DataStore["info"];
  readonly #session: Session;
  readonly #newId: NewId;
  readonly #close: () => Promise<void>;

  constructor(session: Session, info: DataStore["info"], newId: NewId, close: () => Promise<void>) {
    this.#session = session;
    this.info = info;
    this.#newId = newId;
    this.#close = close;
  }

  transaction<T>(work: (inside: DataStore) => Promise<T>): Promise<T> {
    return this.#session.transaction((session) =>
      work(new PostgresDataStore(session, this.info, this.#newId, async () => undefined)),
    );
  }

  /** As the store has it now. Throws "conflict" where another embedder's vectors were put in place. */
  async #spaces(session: Session = this.#session): Promise<Spaces> {
    const spaces = await spacesOf(session);
    const { id, dims } = this.info.embedder;
    if (spaces.active.id === id && spaces.active.dims === dims) return spaces;
    const next = `open it again with ${spaces.active.id}`;
    throw new IroriError("conflict", {
      what: `${this.info.place} was given another embedder in between`,
      got: id,
      wanted: spaces.active.id,
      next,
    });
  }

  async addEpisodes(namespace: string, added: readonly NewEpisode[], options: AddOptions = {}): Promise<Added[]> {
    const prepared = prepareEpisodes(added, this.info.embedder.dims, this.#newId);
    checkName("a namespace", namespace);
    return await this.#session.transaction(async (session) =>
      episodes.addEpisodes(session, namespace, prepared, options, (await this.#spaces(session)).active.number),
    );
  }
  getEpisodes(namespace: string, ids: readonly string[]): Promise<(Episode | undefined)[]> {
    return episodes.getEpisodes(this.#session, namespace, ids);
  }
  async vectorsOf(namespace: string, ids: readonly string[]): Promise<(Float32Array | undefined)[]> {
    return await episodes.vectorsOf(this.#session, namespace, ids, (await this.#spaces()).active.number);
  }
  updateEpisode(namespace: string, id: string, change: EpisodeChange, version?: number): Promise<Episode> {
    return this.#session.transaction(async (session) => {
      const { active, next } = await this.#spaces(session);
      const spaces = { active: active.number, next: next?.number, dims: active.dims };
      return await episodes.updateEpisode(session, namespace, id, change, version, spaces);
    });
  }
  deleteEpisodes(namespace: string, ids: readonly string[]): Promise<number> {
    return this.#session.transaction(async (session) => {
      const { active, next } = await this.#spaces(session);
      const rows = await session.query("DELETE FROM episode WHERE namespace = $1 AND id = ANY($2) RETURNING id", [
        namespace,
        ids,
      ]);
      for (const space of [active, next])
        if (space !== undefined)
          await session.query(`DELETE FROM vector_${space.number} WHERE namespace = $1 AND id = ANY($2)`, [
            namespace,
            ids,
          ]);
      await session.query("UPDATE episode SET superseded_by = NULL WHERE namespace = $1 AND superseded_by = ANY($2)", [
        namespace,
        ids,
      ]);
      await knowledge.removeLinksOf(
        session,
        namespace,
        rows.map(({ id }) => id as string),
      );
      return rows.length;
    });
  }
  listEpisodes(namespace: string, options: ListOptions): Promise<Page<Episode>> {
    return episodes.listEpisodes(this.#session, namespace, options);
  }
  countEpisodes(namespace: string, filter: Filter = {}): Promise<number> {
    return episodes.countEpisodes(this.#session, namespace, filter);
  }
  historyOf(namespace: string, id: string): Promise<Episode[]> {
    return episodes.historyOf(this.#session, namespace, id);
  }

  async sampleVectors(namespace: string, count: number, seed: number): Promise<Sample[]> {
    const { active } = await this.#spaces();
    const random = seededRandom(seed);
    const [range] = await this.#session.query(
      "SELECT min(seq) AS least, max(seq) AS most FROM episode WHERE namespace = $1",
      [namespace],
    );
    const least = range?.least as number | null;
    if (least === null) return [];
    const places = Array.from(
      { length: count },
      () => least + Math.floor(random.next() * ((range?.most as number) - least + 1)),
    );
    const rows = await this.#session.query(
      `SELECT DISTINCT ON (e.seq) e.id, v.embedding::text FROM unnest($2::bigint[]) AS p (place)
       CROSS JOIN LATERAL (SELECT seq, id FROM episode WHERE namespace = $1 AND seq >= p.place ORDER BY seq LIMIT 1) AS e
       JOIN vector_${active.number} v ON v.namespace = $1 AND v.id = e.id ORDER BY e.seq`,
      [namespace, places],
    );
    return rows.map(({ id, embedding }) => ({ id: id as string, vector: vectorOf(embedding) }));
  }

  async searchByVector(
    namespace: string,
    queries: readonly Float32Array[],
    options: SearchOptions,
  ): Promise<Found[][]> {
    const { active } = await this.#spaces();
    const found: Found[][] = [];
    for (const query of queries)
      found.push(
        await episodes.searchByVector(this.#session, namespace, unitVector(query, active.dims), options, active.number),
      );
    return found;
  }
  searchByTerms(namespace: string, terms: readonly string[], options: SearchOptions): Promise<Found[]> {
    return episodes.searchByTerms(this.#session, namespace, terms, options);
  }
  termCounts(namespace: string, terms: readonly string[]): Promise<number[]> {
    return episodes.termCounts(this.#session, namespace, terms);
  }

  putConcepts(namespace: string, concepts: readonly Concept[]): Promise<void> {
    return this.#session.transaction((session) => knowledge.putConcepts(session, namespace, concepts));
  }
  async getConcepts(namespace: string, ids: readonly string[]): Promise<(Concept | undefined)[]> {
    const rows = await this.#session.query("SELECT * FROM concept WHERE namespace = $1 AND id = ANY($2)", [
      namespace,
      ids,
    ]);
    const found = new Map(rows.map((row) => [row.id as string, conceptOf(row)]));
    return ids.map((id) => found.get(id));
  }
  async findConcept(namespace: string, kind: string, name: string): Promise<Concept | undefined> {
    const [row] = await this.#session.query(
      "SELECT * FROM concept WHERE namespace = $1 AND kind = $2 AND name = $3 ORDER BY id LIMIT 1",
      [namespace, kind, name],
    );
    return row && conceptOf(row);
  }
  listConcepts(namespace: string, options: PageOptions): Promise<Page<Concept>> {
    return knowledge.listConcepts(this.#session, namespace, options);
  }
  listLinks(namespace: string, options: PageOptions): Promise<Page<Link>> {
    return knowledge.listLinks(this.#session, namespace, options);
  }
  changeLinks(namespace: string, add: readonly Link[], remove: readonly LinkKey[] = []): Promise<void> {
    return this.#session.transaction((session) => knowledge.changeLinks(session, namespace, add, remove));
  }
  neighbours(namespace: string, node: NodeRef, options: NetworkOptions): Promise<NodeRef[][]> {
    return knowledge.neighbours(this.#session, namespace, node, options);
  }
  network(namespace: string, seeds: readonly NodeRef[], options: NetworkOptions) {
    return knowledge.network(this.#session, namespace, seeds, options);
  }
  fadeLinks(namespace: string, options: FadeOptions) {
    return this.#session.transaction((session) => knowledge.fadeLinks(session, namespace, options));
  }

  async putRecord(namespace: string, kind: string, { key, tag, body, recordedAt }: StoredRecord): Promise<void> {
    await this.#session.query(
      `INSERT INTO record (namespace, kind, key, tag, body, recorded_at) VALUES ($1, $2, $3, $4, $5, $6)
       ON CONFLICT (namespace, kind, key) DO UPDATE SET tag = excluded.tag, body = excluded.body, recorded_at = excluded.recorded_at`,
      [namespace, kind, checkName("a record's key", key), tag ?? null, JSON.stringify(body), recordedAt],
    );
  }
  async getRecord(namespace: string, kind: string, key: string): Promise<StoredRecord | undefined> {
    const [row] = await this.#session.query("SELECT * FROM record WHERE namespace = $1 AND kind = $2 AND key = $3", [
      namespace,
      kind,
      key,
    ]);
    return row && recordOf(row);
  }
  async listRecords(namespace: string, kind: string, options: RecordListOptions): Promise<Page<StoredRecord>> {
    const { prefix, tag, after, limit, order = "oldest" } = options;
    const isUp = order === "oldest";
    const statement = new Statement();
    let where = `namespace = ${statement.value(namespace)} AND kind = ${statement.value(kind)}`;
    if (tag !== undefined) where += ` AND tag = ${statement.value(tag)}`;
    if (prefix !== undefined) where += ` AND starts_with(key, ${statement.value(prefix)})`;
    if (after !== undefined) where += ` AND key ${isUp ? ">" : "<"} ${statement.value(after)}`;
    const rows = await this.#session.query(
      `SELECT * FROM record WHERE ${where} ORDER BY key ${isUp ? "ASC" : "DESC"} LIMIT ${statement.value(limit + 1)}`,
      statement.values,
    );
    const items = rows.slice(0, limit).map(recordOf);
    return rows.length <= limit ? { items } : { items, next: items.at(-1)?.key };
  }
  async deleteRecord(namespace: string, kind: string, key: string): Promise<boolean> {
    const sql = "DELETE FROM record WHERE namespace = $1 AND kind = $2 AND key = $3 RETURNING 1";
    return (await this.#session.query(sql, [namespace, kind, key])).length > 0;
  }

  async namespaces(): Promise<string[]> {
    const rows = await this.#session.query(
      `SELECT namespace COLLATE "C" AS name FROM episode UNION SELECT namespace FROM concept UNION SELECT namespace FROM record ORDER BY name`,
    );
    return rows.map(({ name }) => name as string);
  }
  clearNamespace(namespace: string): Promise<void> {
    return this.#session.transaction(async (session) => {
      const { active, next } = await this.#spaces(session);
      const vectors = [active, next].flatMap((space) => (space === undefined ? [] : [`vector_${space.number}`]));
      for (const table of ["episode", ...vectors, "concept", "link", "record"])
        await session.query(`DELETE FROM ${table} WHERE namespace = $1`, [namespace]);
    });
  }
  async stats(namespace: string): Promise<NamespaceStats> {
    const count = async (table: string) =>
      (await this.#session.query(`SELECT count(*) AS n FROM ${table} WHERE namespace = $1`, [namespace]))[0]
        ?.n as number;
    const kinds = await this.#session.query(
      "SELECT kind, count(*) AS n FROM record WHERE namespace = $1 GROUP BY kind",
      [namespace],
    );
    const records = Object.fromEntries(kinds.map(({ kind, n }) => [kind as string, n as number]));
    return {
      namespace,
      episodes: await count("episode"),
      concepts: await count("concept"),
      links: await count("link"),
      records,
    };
  }

  async tidy() {
    return { lists: 0, isDone: true }; // the server keeps its indexes
  }

  async checkIndex(namespace: string, samples: number, seed: number): Promise<IndexCheck> {
    const { active } = await this.#spaces();
    const random = seededRandom(seed);
    const ids = await this.#session.query("SELECT id FROM episode WHERE namespace = $1 ORDER BY seq LIMIT 100000", [
      namespace,
    ]);
    const chosen = Array.from(
      { length: Math.min(samples, ids.length) },
      () => ids[Math.floor(random.next() * ids.length)]?.id as string,
    );
    let found = 0;
    let all = 0;
    for (const vector of await episodes.vectorsOf(this.#session, namespace, chosen, active.number)) {
      const near = await episodes.searchByVector(
        this.#session,
        namespace,
        vector as Float32Array,
        { count: 10 },
        active.number,
      );
      const exact = await this.#session.transaction(async (session) => {
        await session.query("SET LOCAL enable_indexscan = off");
        const sql = `SELECT id FROM vector_${active.number} WHERE namespace = $1 ORDER BY embedding <=> $2::vector LIMIT 10`;
        return await session.query(sql, [namespace, vectorText(vector as Float32Array)]);
      });
      const known = new Set(near.map(({ episode }) => episode.id));
      all += exact.length;
      found += exact.filter(({ id }) => known.has(id as string)).length;
    }
    return { namespace, samples: chosen.length, recall: all === 0 ? 1 : found / all, probes: 256, nextProbes: 256 };
  }

  async check({ repair }: { readonly repair: boolean }): Promise<Invariant[]> {
    const space = (await this.#spaces()).active.number;
    const there = (end: string) =>
      `(EXISTS (SELECT 1 FROM episode e WHERE e.namespace = l.namespace AND 'episode:' || e.id = l.${end}) OR EXISTS (SELECT 1 FROM concept c WHERE c.namespace = l.namespace AND 'concept:' || c.id = l.${end}))`;
    const rules = [
      {
        name: "every episode has its vector",
        rows: `episode e WHERE NOT EXISTS (SELECT 1 FROM vector_${space} v WHERE v.namespace = e.namespace AND v.id = e.id)`,
        broken: "episodes without a vector; reindex",
      },
      {
        name: "every vector has its episode",
        rows: `vector_${space} v WHERE NOT EXISTS (SELECT 1 FROM episode e WHERE v.namespace = e.namespace AND v.id = e.id)`,
        broken: "vectors without an episode",
        isDerived: true,
      },
      {
        name: "links lead somewhere",
        rows: `link l WHERE NOT (${there("source")} AND ${there("target")})`,
        broken: "links to what is not there",
        isDerived: true,
      },
    ];
    const found: Invariant[] = [];
    for (const { name, rows, broken, isDerived = false } of rules) {
      const [row] = await this.#session.query(`SELECT count(*) AS n FROM ${rows}`);
      const isFine = row?.n === 0;
      const mend = !isFine && repair && isDerived;
      if (mend) await this.#session.query(`DELETE FROM ${rows}`);
      found.push({
        name,
        isFine: isFine || mend,
        found: isFine ? "holds" : `${row?.n} ${broken}`,
        ...(mend && { repaired: "removed" }),
      });
    }
    return found;
  }

  async scrub(): Promise<void> {
    const { active, next } = await this.#spaces();
    for (const table of [
      "episode",
      "concept",
      "link",
      "record",
      `vector_${active.number}`,
      ...(next ? [`vector_${next.number}`] : []),
    ])
      await this.#session.query(`VACUUM FULL ${table}`);
  }
  backup(): Promise<void> {
    return Promise.reject(
      new IroriError("unsupported", {
        what: "a backup of a Postgres server from here",
        next: "use pg_dump, or export it",
      }),
    );
  }

  async beginReindex(embedder: EmbedderIdentity): Promise<void> {
    await this.#session.transaction(async (session) => {
      const { active, next } = await this.#spaces(session);
      if (next?.id === embedder.id && next.dims === embedder.dims) return;
      if (next !== undefined) await session.query(`DROP TABLE vector_${next.number}`);
      const number = Math.max(active.number, next?.number ?? 0) + 1;
      await session.query(spaceTables(number, embedder.dims));
      await keepSpaces(session, { active, next: { id: embedder.id, dims: embedder.dims, number } });
    });
  }
  async unindexed(limit: number): Promise<Episode[]> {
    const { next } = await this.#spaces();
    if (next === undefined) return [];
    const missing = `NOT EXISTS (SELECT 1 FROM vector_${next.number} v WHERE v.namespace = e.namespace AND v.id = e.id)`;
    const rows = await this.#session.query(
      `SELECT ${EPISODE_COLUMNS} FROM episode e WHERE ${missing} ORDER BY e.seq LIMIT $1`,
      [limit],
    );
    return rows.map(episodeOf);
  }
  async putVectors(vectors: readonly NewVector[]): Promise<void> {
    await this.#session.transaction(async (session) => {
      const { next } = await this.#spaces(session);
      if (next === undefined) throw noReindex();
      for (const { namespace, id, vector, version } of vectors)
        await session.query(
          `INSERT INTO vector_${next.number} (namespace, id, embedding) SELECT namespace, id, $4::vector FROM episode
           WHERE namespace = $1 AND id = $2 AND version = $3 ON CONFLICT (namespace, id) DO UPDATE SET embedding = excluded.embedding`,
          [namespace, id, version, vectorText(unitVector(vector, next.dims))],
        );
    });
  }
  async finishReindex(): Promise<void> {
    await this.#session.transaction(async (session) => {
      const { active, next } = await this.#spaces(session);
      if (next === undefined) throw noReindex();
      await session.query("LOCK TABLE episode IN SHARE ROW EXCLUSIVE MODE"); // nobody adds between the look and the exchange
      const missing = `NOT EXISTS (SELECT 1 FROM vector_${next.number} v WHERE v.namespace = e.namespace AND v.id = e.id)`;
      const [row] = await session.query(`SELECT id FROM episode e WHERE ${missing} LIMIT 1`);
      if (row !== undefined) throw unfinishedReindex(row.id as string);
      await keepSpaces(session, { active: next });
      await session.query(`DROP TABLE vector_${active.number}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}
