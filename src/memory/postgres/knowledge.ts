// Concepts and Links on Postgres; what lies around a node is read one level a statement. It does not know what a link means.
import type {
  Concept,
  FadeOptions,
  FadeReport,
  Link,
  LinkKey,
  Network,
  NetworkOptions,
  NodeRef,
  Page,
  PageOptions,
} from "../data-store.ts";
import { checkMetadata, checkName } from "../episode.ts";
import { partsOf } from "../node-ref.ts";
import type { Session } from "../postgres.ts";
import { checkLink, unknownEnd } from "../store-errors.ts";
import { MOST_LINKS, Walk } from "../walk.ts";
import { conceptOf, linkOf } from "./rows.ts";

export async function putConcepts(session: Session, namespace: string, concepts: readonly Concept[]): Promise<void> {
  for (const { id, kind, name, attributes, isPinned } of concepts)
    await session.query(
      `INSERT INTO concept (namespace, id, kind, name, attributes, is_pinned) VALUES ($1, $2, $3, $4, $5, $6)
       ON CONFLICT (namespace, id) DO UPDATE SET kind = excluded.kind, name = excluded.name, attributes = excluded.attributes, is_pinned = excluded.is_pinned`,
      [namespace, checkName("a concept's id", id), kind, name, checkMetadata(attributes), isPinned],
    );
}

export async function listConcepts(
  session: Session,
  namespace: string,
  { after = "", limit }: PageOptions,
): Promise<Page<Concept>> {
  const rows = await session.query("SELECT * FROM concept WHERE namespace = $1 AND id > $2 ORDER BY id LIMIT $3", [
    namespace,
    after,
    limit + 1,
  ]);
  const items = rows.slice(0, limit).map(conceptOf);
  return rows.length <= limit ? { items } : { items, next: items.at(-1)?.id };
}

export async function listLinks(
  session: Session,
  namespace: string,
  { after, limit }: PageOptions,
): Promise<Page<Link>> {
  const [source, target, kind] = after === undefined ? ["", "", ""] : JSON.parse(after);
  const rows = await session.query(
    `SELECT * FROM link WHERE namespace = $1 AND (source, target, kind) > ($2, $3, $4)
     ORDER BY source, target, kind LIMIT $5`,
    [namespace, source, target, kind, limit + 1],
  );
  const items = rows.slice(0, limit).map(linkOf);
  const last = items.at(-1);
  const next = last && JSON.stringify([last.source, last.target, last.kind]);
  return rows.length <= limit ? { items } : { items, next };
}

export async function changeLinks(
  session: Session,
  namespace: string,
  add: readonly Link[],
  remove: readonly LinkKey[],
): Promise<void> {
  for (const { source, target, kind } of remove)
    await session.query(
      "DELETE FROM link WHERE namespace = $1 AND source = $2 AND target = $3 AND ($4::text IS NULL OR kind = $4)",
      [namespace, source, target, kind ?? null],
    );
  for (const link of add) {
    checkLink(link);
    const { source, target, kind, weight, attributes = {}, recordedAt } = link;
    for (const end of [source, target]) await needNode(session, namespace, end);
    await session.query(
      `INSERT INTO link (namespace, source, target, kind, weight, attributes, recorded_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
       ON CONFLICT (namespace, source, target, kind) DO UPDATE SET weight = excluded.weight, attributes = excluded.attributes`,
      [namespace, source, target, kind, weight, checkMetadata(attributes), recordedAt],
    );
  }
}

async function needNode(session: Session, namespace: string, ref: NodeRef): Promise<void> {
  const [kind, id] = partsOf(ref);
  if (kind === "concept")
    await session.query(
      "INSERT INTO concept (namespace, id, kind, name, attributes, is_pinned) VALUES ($1, $2, 'node', $2, '{}', false) ON CONFLICT (namespace, id) DO NOTHING",
      [namespace, checkName("a concept's id", id)],
    );
  else if (
    (await session.query("SELECT 1 FROM episode WHERE namespace = $1 AND id = $2", [namespace, id])).length === 0
  )
    throw unknownEnd(id);
}

/** Distances from the seeds, and whether all within the limits are there. */
async function around(session: Session, namespace: string, seeds: readonly NodeRef[], options: NetworkOptions) {
  const { hops, mostNodes, mostLinks = MOST_LINKS } = options;
  const known = await session.query(
    `SELECT s.ref FROM unnest($2::text[]) WITH ORDINALITY AS s (ref, place)
     WHERE EXISTS (SELECT 1 FROM episode WHERE namespace = $1 AND 'episode:' || id = s.ref)
        OR EXISTS (SELECT 1 FROM concept WHERE namespace = $1 AND 'concept:' || id = s.ref) ORDER BY s.place`,
    [namespace, [...new Set(seeds)]],
  );
  const walk = new Walk(
    known.map(({ ref }) => ref as NodeRef),
    mostNodes,
  );
  for (let hop = 1; hop <= hops && walk.level.length > 0; hop++) {
    const rows = await session.query(
      `SELECT node, other FROM (
         SELECT n.place, n.node, l.other, l.weight, row_number() OVER (PARTITION BY n.place ORDER BY l.weight DESC, l.other) AS rank
         FROM unnest($2::text[]) WITH ORDINALITY AS n (node, place)
         CROSS JOIN LATERAL (SELECT other, max(weight) AS weight FROM (
           SELECT target AS other, weight FROM link WHERE namespace = $1 AND source = n.node AND ${wanted}
           UNION ALL SELECT source, weight FROM link WHERE namespace = $1 AND target = n.node AND ${wanted}) AS ends GROUP BY other) AS l) AS ranked
       WHERE rank <= $5 ORDER BY place, rank`,
      [namespace, walk.level, options.kinds ?? null, leastOf(options), mostLinks],
    );
    walk.go((rows as { other: NodeRef }[]).map(({ other }) => other));
  }
  return walk;
}

/** Of the kinds in $3, or all but contradictions; of the weight that $4 has for the kind. */
const wanted =
  "(CASE WHEN $3::text[] IS NULL THEN kind <> 'contradicts' ELSE kind = ANY($3) END) AND weight >= coalesce(($4::jsonb ->> kind)::float8, 0)";
const leastOf = ({ leastWeight = {} }: NetworkOptions): string => JSON.stringify(leastWeight);

export async function neighbours(
  session: Session,
  namespace: string,
  node: NodeRef,
  options: NetworkOptions,
): Promise<NodeRef[][]> {
  const { hopOf } = await around(session, namespace, [node], options);
  if (hopOf.size === 0) return [];
  const levels: NodeRef[][] = Array.from({ length: options.hops }, () => []);
  for (const [ref, hop] of hopOf) if (hop > 0) levels[hop - 1]?.push(ref);
  return levels;
}

export async function network(
  session: Session,
  namespace: string,
  seeds: readonly NodeRef[],
  options: NetworkOptions,
): Promise<Network> {
  const { hopOf, isWhole } = await around(session, namespace, seeds, options);
  const rows = await session.query(
    `SELECT * FROM link WHERE namespace = $1 AND source = ANY($2) AND target = ANY($2) AND ${wanted} ORDER BY source, target, kind`,
    [namespace, [...hopOf.keys()], options.kinds ?? null, leastOf(options)],
  );
  return { nodes: [...hopOf].map(([ref, hop]) => ({ ref, hop })), links: rows.map(linkOf), isWhole };
}

/** Links of episodes that are gone, and Concepts that nothing links to any more. */
export async function removeLinksOf(session: Session, namespace: string, ids: readonly string[]): Promise<void> {
  const refs = ids.map((id) => `episode:${id}`);
  const rows = await session.query(
    "DELETE FROM link WHERE namespace = $1 AND (source = ANY($2) OR target = ANY($2)) RETURNING source, target",
    [namespace, refs],
  );
  const ends = rows
    .flatMap(({ source, target }) => [source as string, target as string])
    .filter((end) => end.startsWith("concept:"));
  await dropAlone(
    session,
    namespace,
    ends.map((end) => end.slice("concept:".length)),
  );
}

async function dropAlone(session: Session, namespace: string, ids: readonly string[] | null): Promise<number> {
  const dropped = await session.query(
    `DELETE FROM concept c WHERE namespace = $1 AND NOT is_pinned AND ($2::text[] IS NULL OR id = ANY($2))
       AND NOT EXISTS (SELECT 1 FROM link WHERE namespace = $1 AND source = 'concept:' || c.id)
       AND NOT EXISTS (SELECT 1 FROM link WHERE namespace = $1 AND target = 'concept:' || c.id) RETURNING id`,
    [namespace, ids],
  );
  return dropped.length;
}

export async function fadeLinks(
  session: Session,
  namespace: string,
  { mostLinks, leastWeight, decay }: FadeOptions,
): Promise<FadeReport> {
  const removed = await session.query(
    `WITH pair AS (SELECT least(source, target) AS a, greatest(source, target) AS b, max(weight) AS weight FROM link
         WHERE namespace = $1 AND kind <> 'contradicts' GROUP BY 1, 2 HAVING max(weight) >= $2),
       kept AS (SELECT DISTINCT a, b FROM (
         SELECT a, b, row_number() OVER (PARTITION BY node ORDER BY weight DESC, other) AS place FROM (
           SELECT a, b, a AS node, b AS other, weight FROM pair UNION ALL SELECT a, b, b, a, weight FROM pair) AS ends) AS ranked WHERE place <= $3)
     DELETE FROM link l WHERE namespace = $1 AND kind <> 'contradicts'
       AND NOT EXISTS (SELECT 1 FROM kept k WHERE k.a = least(l.source, l.target) AND k.b = greatest(l.source, l.target)) RETURNING 1`,
    [namespace, leastWeight, mostLinks],
  );
  const faded = await session.query(
    "UPDATE link SET weight = weight * $2 WHERE namespace = $1 AND kind <> 'contradicts' RETURNING 1",
    [namespace, decay],
  );
  return {
    removedLinks: removed.length,
    fadedLinks: faded.length,
    removedConcepts: await dropAlone(session, namespace, null),
  };
}
