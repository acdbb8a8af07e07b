// Episodes on Postgres: rows, terms and vectors change in one transaction. What comes in was checked at the door (prepared.ts).
// It does not know links and records.
import { bm25 } from "../bm25.ts";
import { changedColumns } from "../columns.ts";
import type { Added, AddOptions, Found, ListOptions, Page, SearchOptions } from "../data-store.ts";
import type { Episode, EpisodeChange } from "../episode.ts";
import type { Filter } from "../filter.ts";
import type { Session } from "../postgres.ts";
import { type PreparedEpisode, prepareText } from "../prepared.ts";
import { changedInBetween, cursorOf, notFound, taken } from "../store-errors.ts";
import { EXACT_BELOW } from "../vectors/lists.ts";
import { Statement } from "./conditions.ts";
import { EPISODE_COLUMNS, episodeOf, vectorOf, vectorText } from "./rows.ts";

/** Behind its namespace, as the text index has it. */
const marked = (namespace: string, term: string): string => `${namespace}·${term}`;
/** Candidates whose BM25 is reckoned: those with most of the rarest terms. */
const MOST_CANDIDATES = 5_000;

export async function addEpisodes(
  session: Session,
  namespace: string,
  episodes: readonly PreparedEpisode[],
  { repeats = "count" }: AddOptions,
  space: number,
): Promise<Added[]> {
  // whoever adds the same text or key waits for the other; in one order, so that nobody waits in a circle
  const names = episodes.flatMap(({ fingerprint, key }) => [
    `${namespace}·f·${Buffer.from(fingerprint).toString("hex")}`,
    ...(key === null ? [] : [`${namespace}·k·${key}`]),
  ]);
  await session.query(
    "SELECT pg_advisory_xact_lock(l) FROM (SELECT DISTINCT hashtextextended(n, 0) AS l FROM unnest($1::text[]) AS n ORDER BY l OFFSET 0) AS locks",
    [names],
  );
  const added: Added[] = [];
  for (const episode of episodes) added.push(await addOne(session, namespace, episode, repeats === "count", space));
  return added;
}

async function addOne(
  session: Session,
  namespace: string,
  episode: PreparedEpisode,
  areRepeatsCounted: boolean,
  space: number,
): Promise<Added> {
  const { id, key, recordedAt } = episode;
  if (key !== null) {
    const [known] = await session.query("SELECT id, repeats FROM episode WHERE namespace = $1 AND key = $2", [
      namespace,
      key,
    ]);
    if (known !== undefined) return { id: known.id as string, isNew: false, repeats: known.repeats as number };
  }
  if (areRepeatsCounted) {
    const [known] = await session.query(
      `UPDATE episode SET repeats = repeats + 1, seen_at = greatest(seen_at, $3), version = version + 1
       WHERE namespace = $1 AND id = (SELECT id FROM episode WHERE namespace = $1 AND fingerprint = $2 AND closed_at IS NULL
         AND (expires_at IS NULL OR expires_at > $3) ORDER BY seq LIMIT 1) RETURNING id, repeats`,
      [namespace, episode.fingerprint, recordedAt],
    );
    if (known !== undefined) return { id: known.id as string, isNew: false, repeats: known.repeats as number };
  }
  const columns: Record<string, string | number | boolean | null | Uint8Array | string[]> = {
    ...{
      namespace,
      id,
      key,
      fingerprint: episode.fingerprint,
      kind: episode.kind,
      user_name: episode.user,
      agent_name: episode.agent,
    },
    ...{ thread_name: episode.thread, uri: episode.uri, source: episode.source, metadata: episode.metadata },
    ...{
      confidence: episode.confidence,
      recorded_at: recordedAt,
      valid_from: episode.validFrom,
      valid_to: episode.validTo,
    },
    ...{ closed_at: episode.closedAt, expires_at: episode.expiresAt, is_pinned: episode.isPinned, seen_at: recordedAt },
    ...{ text: episode.text, terms: termsIn(namespace, episode.terms) },
  };
  const names = Object.keys(columns);
  const inserted = await session.query(
    `INSERT INTO episode (${names.join(", ")}) VALUES (${names.map((_, i) => `$${i + 1}`).join(", ")}) ON CONFLICT (namespace, id) DO NOTHING RETURNING id`,
    Object.values(columns),
  );
  if (inserted.length === 0) throw taken(namespace, id);
  await session.query(`INSERT INTO vector_${space} (namespace, id, embedding) VALUES ($1, $2, $3)`, [
    namespace,
    id,
    vectorText(episode.vector),
  ]);
  return { id, isNew: true, repeats: 0 };
}

const termsIn = (namespace: string, terms: string): string[] =>
  terms === "" ? [] : terms.split(" ").map((term) => marked(namespace, term));

export async function getEpisodes(
  session: Session,
  namespace: string,
  ids: readonly string[],
): Promise<(Episode | undefined)[]> {
  const rows = await session.query(`SELECT ${EPISODE_COLUMNS} FROM episode e WHERE namespace = $1 AND id = ANY($2)`, [
    namespace,
    ids,
  ]);
  const found = new Map(rows.map((row) => [row.id as string, episodeOf(row)]));
  return ids.map((id) => found.get(id));
}

export async function vectorsOf(
  session: Session,
  namespace: string,
  ids: readonly string[],
  space: number,
): Promise<(Float32Array | undefined)[]> {
  const rows = await session.query(
    `SELECT id, embedding::text FROM vector_${space} WHERE namespace = $1 AND id = ANY($2)`,
    [namespace, ids],
  );
  const found = new Map(rows.map((row) => [row.id as string, vectorOf(row.embedding)]));
  return ids.map((id) => found.get(id));
}

/** @param spaces tables of vectors: the one in use, and the one in the making */
export async function updateEpisode(
  session: Session,
  namespace: string,
  id: string,
  change: EpisodeChange,
  version: number | undefined,
  spaces: { readonly active: number; readonly next: number | undefined; readonly dims: number },
): Promise<Episode> {
  const [row] = await session.query(
    `SELECT ${EPISODE_COLUMNS} FROM episode e WHERE namespace = $1 AND id = $2 FOR UPDATE`,
    [namespace, id],
  );
  if (row === undefined) throw notFound(namespace, id);
  const old = episodeOf(row);
  if (version !== undefined && version !== old.version) throw changedInBetween(id, version, old.version);
  const statement = new Statement();
  const sets = [...changedColumns(change, old.kind)].map(([column, value]) => `${column} = ${statement.value(value)}`);
  if (change.text !== undefined && change.vector !== undefined) {
    const { text, terms, fingerprint, vector } = prepareText(change.text, change.vector, spaces.dims, old);
    sets.push(
      `text = ${statement.value(text)}`,
      `terms = ${statement.value(termsIn(namespace, terms))}`,
      `fingerprint = ${statement.value(fingerprint)}`,
    );
    await session.query(`UPDATE vector_${spaces.active} SET embedding = $3 WHERE namespace = $1 AND id = $2`, [
      namespace,
      id,
      vectorText(vector),
    ]);
    if (spaces.next !== undefined)
      await session.query(`DELETE FROM vector_${spaces.next} WHERE namespace = $1 AND id = $2`, [namespace, id]);
  }
  const [changed] = await session.query(
    `UPDATE episode e SET ${[...sets, "version = version + 1"].join(", ")} WHERE namespace = ${statement.value(namespace)} AND id = ${statement.value(id)} RETURNING ${EPISODE_COLUMNS}`,
    statement.values,
  );
  return episodeOf(changed as NonNullable<typeof changed>);
}

export async function listEpisodes(session: Session, namespace: string, options: ListOptions): Promise<Page<Episode>> {
  const { filter = {}, limit, after, order = "oldest" } = options;
  const isUp = order === "oldest";
  const statement = new Statement();
  let where = `e.namespace = ${statement.value(namespace)}${statement.filter(filter)}`;
  if (after !== undefined) where += ` AND e.seq ${isUp ? ">" : "<"} ${statement.value(cursorOf(after))}`;
  const rows = await session.query(
    `SELECT ${EPISODE_COLUMNS} FROM episode e WHERE ${where} ORDER BY e.seq ${isUp ? "ASC" : "DESC"} LIMIT ${statement.value(limit + 1)}`,
    statement.values,
  );
  const items = rows.slice(0, limit).map(episodeOf);
  return rows.length <= limit ? { items } : { items, next: String(rows[limit - 1]?.seq) };
}

export async function countEpisodes(session: Session, namespace: string, filter: Filter): Promise<number> {
  const statement = new Statement();
  const where = `e.namespace = ${statement.value(namespace)}${statement.filter(filter)}`;
  const [row] = await session.query(`SELECT count(*) AS n FROM episode e WHERE ${where}`, statement.values);
  return row?.n as number;
}

export async function historyOf(session: Session, namespace: string, id: string): Promise<Episode[]> {
  const rows = await session.query(
    `WITH RECURSIVE
       older (id) AS (SELECT id FROM episode WHERE namespace = $1 AND id = $2
         UNION SELECT e.id FROM older JOIN episode e ON e.namespace = $1 AND e.superseded_by = older.id),
       newer (id) AS (SELECT $2::text COLLATE "C" UNION SELECT e.superseded_by COLLATE "C" FROM newer JOIN episode e ON e.namespace = $1 AND e.id = newer.id)
     SELECT ${EPISODE_COLUMNS} FROM episode e
     WHERE e.namespace = $1 AND e.id IN (SELECT id FROM older UNION SELECT id FROM newer WHERE id IS NOT NULL) ORDER BY e.seq`,
    [namespace, id],
  );
  return rows.map(episodeOf);
}

/** Exact where the namespace is small; otherwise through the index, which looks further until the filter is satisfied. */
export async function searchByVector(
  session: Session,
  namespace: string,
  query: Float32Array,
  { count, filter = {} }: SearchOptions,
  space: number,
): Promise<Found[]> {
  const statement = new Statement();
  const vector = statement.value(vectorText(query));
  const where = `v.namespace = ${statement.value(namespace)}${statement.filter(filter)}`;
  const select = `SELECT ${EPISODE_COLUMNS}, v.embedding <=> ${vector}::vector AS distance FROM vector_${space} v JOIN episode e ON e.namespace = v.namespace AND e.id = v.id WHERE ${where}`;
  const limit = statement.value(count);
  const isExact = (await countEpisodes(session, namespace, {})) < EXACT_BELOW;
  const rows = await session.transaction(async (inside) => {
    if (isExact) {
      await inside.query("SET LOCAL enable_indexscan = off");
      return await inside.query(
        `SELECT * FROM (${select}) AS all_near ORDER BY distance, seq LIMIT ${limit}`,
        statement.values,
      );
    }
    await inside.query("SET LOCAL hnsw.ef_search = 256");
    await inside.query("SET LOCAL hnsw.iterative_scan = strict_order");
    return await inside.query(`${select} ORDER BY v.embedding <=> ${vector}::vector LIMIT ${limit}`, statement.values);
  });
  return rows.map((row) => ({ episode: episodeOf(row), score: 1 - (row.distance as number) }));
}

export async function termCounts(session: Session, namespace: string, terms: readonly string[]): Promise<number[]> {
  const rows = await session.query(
    "SELECT (SELECT count(*) FROM episode WHERE terms @> ARRAY[t.term]) AS n FROM unnest($1::text[]) WITH ORDINALITY AS t (term, place) ORDER BY t.place",
    [terms.map((term) => marked(namespace, term))],
  );
  return rows.map(({ n }) => n as number);
}

export async function searchByTerms(
  session: Session,
  namespace: string,
  terms: readonly string[],
  { count, filter = {} }: SearchOptions,
): Promise<Found[]> {
  const wanted = [...new Set(terms)];
  if (wanted.length === 0) return [];
  const holding = await termCounts(session, namespace, wanted);
  const [corpus] = await session.query(
    "SELECT count(*) AS documents, avg(cardinality(terms))::float8 AS mean FROM episode WHERE namespace = $1",
    [namespace],
  );
  const statement = new Statement();
  const array = `${statement.value(wanted.map((term) => marked(namespace, term)))}::text[]`;
  const where = `e.terms && ${array} AND e.namespace = ${statement.value(namespace)}${statement.filter(filter)}`;
  const rows = await session.query(
    `SELECT ${EPISODE_COLUMNS}, cardinality(e.terms) AS length,
       ARRAY(SELECT cardinality(array_positions(e.terms, t.term)) FROM unnest(${array}) WITH ORDINALITY AS t (term, place) ORDER BY t.place) AS counts
     FROM episode e WHERE ${where} LIMIT ${MOST_CANDIDATES}`,
    statement.values,
  );
  const known = { documents: corpus?.documents as number, meanLength: corpus?.mean as number, holding };
  return rows
    .map((row) => ({
      seq: row.seq as number,
      episode: episodeOf(row),
      score: bm25({ counts: row.counts as number[], length: row.length as number }, known),
    }))
    .sort((a, b) => b.score - a.score || a.seq - b.seq)
    .slice(0, count)
    .map(({ episode, score }) => ({ episode, score }));
}
