// Concepts and Links in their tables, and what lies around a node: read level by level, never as a whole.
// Everything runs inside the caller's transaction. It does not know what a link means.
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
import { checkMetadata, checkName, type Json } from "../episode.ts";
import { partsOf } from "../node-ref.ts";
import type { Connection, Row } from "../sqlite.ts";
import { checkLink, unknownEnd } from "../store-errors.ts";
import { MOST_LINKS, Walk } from "../walk.ts";
import type { Namespaces, Nodes } from "./tables.ts";

export class KnowledgeTables {
  readonly #connection: Connection;
  readonly #namespaces: Namespaces;
  readonly #nodes: Nodes;

  constructor(connection: Connection, namespaces: Namespaces, nodes: Nodes) {
    this.#connection = connection;
    this.#namespaces = namespaces;
    this.#nodes = nodes;
  }

  putConcepts(namespace: string, concepts: readonly Concept[]): void {
    const ns = this.#namespaces.make(namespace);
    for (const { id, kind, name, attributes, isPinned } of concepts)
      this.#sql(
        `INSERT INTO concept (ns, id, kind, name, attributes, is_pinned) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (ns, id) DO UPDATE SET kind = excluded.kind, name = excluded.name, attributes = excluded.attributes, is_pinned = excluded.is_pinned`,
      ).run(ns, checkName("a concept's id", id), kind, name, checkMetadata(attributes), isPinned ? 1 : 0);
  }

  getConcepts(namespace: string, ids: readonly string[]): (Concept | undefined)[] {
    const ns = this.#namespaces.find(namespace);
    if (ns === undefined) return ids.map(() => undefined);
    const one = this.#sql("SELECT id, kind, name, attributes, is_pinned FROM concept WHERE ns = ? AND id = ?");
    return ids.map((id) => conceptOf(one.row(ns, id)));
  }

  findConcept(namespace: string, kind: string, name: string): Concept | undefined {
    const ns = this.#namespaces.find(namespace);
    if (ns === undefined) return undefined;
    return conceptOf(
      this.#sql(
        "SELECT id, kind, name, attributes, is_pinned FROM concept WHERE ns = ? AND kind = ? AND name = ? ORDER BY seq LIMIT 1",
      ).row(ns, kind, name),
    );
  }

  listConcepts(namespace: string, { after, limit }: PageOptions): Page<Concept> {
    const ns = this.#namespaces.find(namespace);
    if (ns === undefined) return { items: [] };
    const rows = this.#sql(
      "SELECT id, kind, name, attributes, is_pinned FROM concept WHERE ns = ? AND id > ? ORDER BY id LIMIT ?",
    ).all(ns, after ?? "", limit + 1);
    const items = rows.slice(0, limit).map((row) => conceptOf(row) as Concept);
    return rows.length <= limit ? { items } : { items, next: items.at(-1)?.id };
  }

  listLinks(namespace: string, { after, limit }: PageOptions): Page<Link> {
    const ns = this.#namespaces.find(namespace);
    if (ns === undefined) return { items: [] };
    const [source, target, kind] = after === undefined ? [-Infinity, 0, ""] : JSON.parse(after);
    const rows = this.#sql(
      `SELECT source, target, kind, weight, attributes, recorded_at FROM link
       WHERE ns = ? AND (source, target, kind) > (?, ?, ?) ORDER BY source, target, kind LIMIT ?`,
    ).all(ns, source, target, kind, limit + 1);
    const page = rows.slice(0, limit);
    const items = page.map(([from, to, ...rest]): Link => {
      const [name, weight, attributes, recordedAt] = rest as [string, number, string, number];
      return {
        ...{ source: this.#nodes.ref(from as number), target: this.#nodes.ref(to as number), kind: name, weight },
        ...{ attributes: JSON.parse(attributes) as Record<string, Json>, recordedAt },
      };
    });
    return rows.length <= limit ? { items } : { items, next: JSON.stringify(page.at(-1)?.slice(0, 3)) };
  }

  changeLinks(namespace: string, add: readonly Link[], remove: readonly LinkKey[]): void {
    const ns = this.#namespaces.make(namespace);
    for (const { source, target, kind } of remove) {
      const [from, to] = [this.#nodes.find(ns, source), this.#nodes.find(ns, target)];
      if (from === undefined || to === undefined) continue;
      if (kind === undefined)
        this.#sql("DELETE FROM link WHERE ns = ? AND source = ? AND target = ?").run(ns, from, to);
      else
        this.#sql("DELETE FROM link WHERE ns = ? AND source = ? AND target = ? AND kind = ?").run(ns, from, to, kind);
    }
    for (const link of add) {
      checkLink(link);
      const { source, target, kind, weight, attributes = {}, recordedAt } = link;
      this.#sql(
        `INSERT INTO link (ns, source, target, kind, weight, attributes, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (ns, source, target, kind) DO UPDATE SET weight = excluded.weight, attributes = excluded.attributes`,
      ).run(ns, this.#need(ns, source), this.#need(ns, target), kind, weight, checkMetadata(attributes), recordedAt);
    }
  }

  /** A node's number; an unknown Concept is made, an unknown Episode is an error. */
  #need(ns: number, ref: NodeRef): number {
    const found = this.#nodes.find(ns, ref);
    if (found !== undefined) return found;
    const [kind, id] = partsOf(ref);
    if (kind === "episode") throw unknownEnd(id);
    const insert = this.#sql(
      "INSERT INTO concept (ns, id, kind, name, attributes, is_pinned) VALUES (?, ?, 'node', ?, '{}', 0)",
    );
    return -insert.insert(ns, checkName("a concept's id", id), id);
  }

  /** Numbers of nodes by their distance from the seeds, and whether all within the limits are there. */
  around(ns: number, seeds: readonly number[], options: NetworkOptions) {
    const { hops, mostNodes, mostLinks = MOST_LINKS } = options;
    const walk = new Walk(seeds, mostNodes);
    for (let hop = 1; hop <= hops && walk.level.length > 0; hop++)
      walk.go(walk.level.flatMap((node) => this.#linksOf(ns, node, mostLinks, options).map(([other]) => other)));
    return walk;
  }

  neighbours(namespace: string, node: NodeRef, options: NetworkOptions): NodeRef[][] {
    const ns = this.#namespaces.find(namespace);
    const seed = ns === undefined ? undefined : this.#nodes.find(ns, node);
    if (ns === undefined || seed === undefined) return [];
    const levels: NodeRef[][] = Array.from({ length: options.hops }, () => []);
    for (const [found, hop] of this.around(ns, [seed], options).hopOf)
      if (hop > 0) levels[hop - 1]?.push(this.#nodes.ref(found));
    return levels;
  }

  network(namespace: string, seeds: readonly NodeRef[], options: NetworkOptions): Network {
    const ns = this.#namespaces.find(namespace);
    if (ns === undefined) return { nodes: [], links: [], isWhole: true };
    const known = seeds.map((seed) => this.#nodes.find(ns, seed)).filter((seed) => seed !== undefined);
    const { hopOf, isWhole } = this.around(ns, [...new Set(known)], options);
    const refs = new Map([...hopOf.keys()].map((node) => [node, this.#nodes.ref(node)]));
    const links: Link[] = [];
    const from = this.#sql(
      "SELECT target, kind, weight, attributes, recorded_at FROM link WHERE ns = ? AND source = ? ORDER BY target, kind",
    );
    for (const [node, source] of refs)
      for (const [other, kind, weight, attributes, recordedAt] of from.all(ns, node)) {
        const target = refs.get(other as number);
        if (target === undefined || !isWanted(kind as string, weight as number, options)) continue;
        links.push({
          ...{ source, target, kind: kind as string, weight: weight as number },
          ...{ attributes: JSON.parse(attributes as string) as Record<string, Json>, recordedAt: recordedAt as number },
        });
      }
    return { nodes: [...refs].map(([node, ref]) => ({ ref, hop: hopOf.get(node) as number })), links, isWhole };
  }

  /** Other ends of a node's links, the strongest first, each once. */
  #linksOf(ns: number, node: number, limit: number, wanted: Wanted): [number, number][] {
    const rows = this.#sql(
      `SELECT target, kind, weight FROM link WHERE ns = ?1 AND source = ?2
       UNION ALL SELECT l.source, l.kind, l.weight FROM link l INDEXED BY link_back WHERE l.ns = ?1 AND l.target = ?2`,
    ).all(ns, node) as [number, string, number][];
    const best = new Map<number, number>();
    for (const [other, kind, weight] of rows)
      if (isWanted(kind, weight, wanted)) best.set(other, Math.max(weight, best.get(other) ?? 0));
    return [...best].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, limit);
  }

  /** Links of nodes that are going, and Concepts that nothing links to any more. */
  removeLinksOf(namespace: string, nodes: readonly number[]): void {
    const ns = this.#namespaces.find(namespace);
    if (ns === undefined) return;
    const touched = new Set<number>();
    for (const node of nodes) {
      for (const [other] of this.#linksOf(ns, node, Infinity, {})) touched.add(other);
      this.#sql("DELETE FROM link WHERE ns = ? AND source = ?").run(ns, node);
      this.#sql("DELETE FROM link WHERE ns = ? AND target = ?").run(ns, node);
    }
    for (const node of touched) if (node < 0) this.#dropIfAlone(ns, node);
  }

  #dropIfAlone(ns: number, node: number): boolean {
    const isLinked = this.#sql(
      "SELECT 1 FROM link WHERE ns = ?1 AND source = ?2 UNION ALL SELECT 1 FROM link WHERE ns = ?1 AND target = ?2 LIMIT 1",
    );
    if (isLinked.row(ns, node) !== undefined) return false;
    return this.#sql("DELETE FROM concept WHERE seq = ? AND is_pinned = 0").run(-node) > 0;
  }

  /** Pairs of nodes without direction; of each node its strongest links that are strong enough are kept. */
  fade(namespace: string, { mostLinks, leastWeight, decay }: FadeOptions): FadeReport {
    const ns = this.#namespaces.find(namespace);
    if (ns === undefined) return { removedLinks: 0, fadedLinks: 0, removedConcepts: 0 };
    // a pair weighs as much as its strongest link; ties are broken by the numbers of the nodes
    this.#connection.exec(
      "CREATE TEMP TABLE IF NOT EXISTS pair (a INTEGER, b INTEGER, weight REAL, PRIMARY KEY (a, b)) WITHOUT ROWID",
    );
    this.#connection.exec("DELETE FROM temp.pair");
    this.#sql(
      `INSERT INTO temp.pair SELECT min(source, target), max(source, target), max(weight) FROM link
       WHERE ns = ? AND kind <> 'contradicts' GROUP BY 1, 2`,
    ).run(ns);
    this.#connection.exec(
      `CREATE TEMP TABLE IF NOT EXISTS kept (a INTEGER, b INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID; DELETE FROM temp.kept`,
    );
    this.#sql(
      `INSERT OR IGNORE INTO temp.kept SELECT a, b FROM (
         SELECT a, b, row_number() OVER (PARTITION BY node ORDER BY weight DESC, other) AS place FROM (
           SELECT a, b, a AS node, b AS other, weight FROM temp.pair WHERE weight >= ?1
           UNION ALL SELECT a, b, b, a, weight FROM temp.pair WHERE weight >= ?1))
       WHERE place <= ?2`,
    ).run(leastWeight, mostLinks);
    const removedLinks = this.#sql(
      `DELETE FROM link WHERE ns = ? AND kind <> 'contradicts'
       AND NOT EXISTS (SELECT 1 FROM temp.kept k WHERE k.a = min(source, target) AND k.b = max(source, target))`,
    ).run(ns);
    const fadedLinks = this.#sql("UPDATE link SET weight = weight * ? WHERE ns = ? AND kind <> 'contradicts'").run(
      decay,
      ns,
    );
    const removedConcepts = this.#sql(
      `DELETE FROM concept WHERE ns = ?1 AND is_pinned = 0
       AND NOT EXISTS (SELECT 1 FROM link WHERE ns = ?1 AND source = -concept.seq)
       AND NOT EXISTS (SELECT 1 FROM link WHERE ns = ?1 AND target = -concept.seq)`,
    ).run(ns);
    return { removedLinks, fadedLinks, removedConcepts };
  }

  #sql(text: string) {
    return this.#connection.sql(text);
  }
}

type Wanted = Pick<NetworkOptions, "kinds" | "leastWeight">;

const isWanted = (kind: string, weight: number, { kinds, leastWeight }: Wanted): boolean =>
  (kinds === undefined ? kind !== "contradicts" : kinds.includes(kind)) && weight >= (leastWeight?.[kind] ?? 0);

function conceptOf(row: Row | undefined): Concept | undefined {
  if (row === undefined) return undefined;
  const [id, kind, name, attributes, isPinned] = row as [string, string, string, string, number];
  return { id, kind, name, attributes: JSON.parse(attributes) as Record<string, Json>, isPinned: isPinned === 1 };
}
