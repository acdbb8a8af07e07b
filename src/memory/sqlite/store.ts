// One connection's store: every method of the contract, synchronous, and whether it writes. The worker runs it by name.
// It does not know messages, promises of callers or threads.
import { IroriError, seededRandom } from "../../base/mod.ts";
import type {
  Added,
  AddOptions,
  Concept,
  EmbedderIdentity,
  FadeOptions,
  FadeReport,
  Found,
  IndexCheck,
  Link,
  LinkKey,
  ListOptions,
  NamespaceStats,
  Network,
  NetworkOptions,
  NewVector,
  NodeRef,
  Page,
  PageOptions,
  RecordListOptions,
  Sample,
  SearchOptions,
  StoredRecord,
  Upkeep,
} from "../data-store.ts";
import { type Episode, type EpisodeChange, unitVector } from "../episode.ts";
import type { Filter } from "../filter.ts";
import type { PreparedEpisode, PreparedText } from "../prepared.ts";
import { Connection, type ConnectionOptions } from "../sqlite.ts";
import { unfinishedReindex } from "../store-errors.ts";
import { exactCandidates } from "../vectors/exact.ts";
import { EXACT_BELOW, type Near } from "../vectors/lists.ts";
import { Episodes } from "./episodes.ts";
import { KnowledgeTables } from "./knowledge.ts";
import { Records } from "./records.ts";
import { migrate, versionOf } from "./schema.ts";
import { Namespaces, Nodes } from "./tables.ts";
import { TermIndex } from "./term-index.ts";
import { VectorSpaces } from "./vector-spaces.ts";

export interface SqliteStoreOptions extends ConnectionOptions {
  readonly embedder: EmbedderIdentity;
  /** Of the terms that a new store is made with. */
  readonly termsVersion: number;
}

/** Below it the index looks at more lists. */
const LEAST_RECALL = 0.99;
const RECALL_AT = 10;

export class SqliteStore {
  readonly connection: Connection;
  readonly namespaces: Namespaces;
  readonly spaces: VectorSpaces;
  readonly episodes: Episodes;
  readonly terms: TermIndex;
  readonly #nodes: Nodes;
  readonly #knowledge: KnowledgeTables;
  readonly #records: Records;

  constructor(options: SqliteStoreOptions) {
    this.connection = new Connection(options);
    try {
      if (!options.isReadOnly) open(this.connection, options);
      this.namespaces = new Namespaces(this.connection);
      this.spaces = new VectorSpaces(this.connection, options.embedder);
      this.terms = new TermIndex(this.connection);
      const { connection, namespaces, spaces, terms } = this;
      this.episodes = new Episodes({ connection, namespaces, spaces, terms });
      this.#nodes = new Nodes(connection);
      this.#knowledge = new KnowledgeTables(connection, namespaces, this.#nodes);
      this.#records = new Records(connection, namespaces);
    } catch (error) {
      this.connection.close();
      throw error;
    }
    this.connection.onUndone = () => {
      this.namespaces.forget();
      this.spaces.forget();
    };
  }

  addEpisodes(namespace: string, episodes: readonly PreparedEpisode[], options: AddOptions): Added[] {
    return this.episodes.add(namespace, episodes, options);
  }
  getEpisodes(namespace: string, ids: readonly string[]): (Episode | undefined)[] {
    return this.episodes.get(namespace, ids);
  }
  vectorsOf(namespace: string, ids: readonly string[]): (Float32Array | undefined)[] {
    const ns = this.namespaces.find(namespace);
    return ids.map((id) => {
      const seq = ns === undefined ? undefined : this.episodes.seqOf(ns, id);
      return seq === undefined ? undefined : this.spaces.lists.vectorOf(seq);
    });
  }
  updateEpisode(
    namespace: string,
    id: string,
    change: EpisodeChange,
    version: number | undefined,
    replacement: PreparedText | undefined,
  ): Episode {
    return this.episodes.update(namespace, id, change, version, replacement);
  }
  deleteEpisodes(namespace: string, ids: readonly string[]): number {
    const removed = this.episodes.remove(namespace, ids);
    this.#knowledge.removeLinksOf(namespace, removed);
    return removed.length;
  }
  listEpisodes(namespace: string, options: ListOptions): Page<Episode> {
    return this.episodes.list(namespace, options);
  }
  countEpisodes(namespace: string, filter: Filter = {}): number {
    return this.episodes.count(namespace, filter);
  }
  historyOf(namespace: string, id: string): Episode[] {
    return this.episodes.history(namespace, id);
  }

  searchByVector(
    namespace: string,
    queries: readonly Float32Array[],
    { count, filter = {} }: SearchOptions,
  ): Found[][] {
    const ns = this.namespaces.find(namespace);
    const units = queries.map((query) => unitVector(query, this.spaces.dims));
    if (ns === undefined) return units.map(() => []);
    return units.map((query) =>
      this.#near(ns, query, count, filter).map(({ seq, similarity }) => ({
        episode: this.episodes.bySeq(namespace, seq) as Episode,
        score: similarity,
      })),
    );
  }

  /** What a first search would wait for: the middles of the lists of the largest namespace. */
  warm(): void {
    const [largest] = this.namespaces.all().sort((a, b) => b.episodes - a.episodes);
    if (largest !== undefined) this.connection.read(() => this.spaces.lists.warm(largest.ns));
  }

  sampleVectors(namespace: string, count: number, seed: number): Sample[] {
    const ns = this.namespaces.find(namespace);
    if (ns === undefined) return [];
    const id = this.connection.sql("SELECT id FROM episode WHERE seq = ?");
    return this.#sample(ns, count, seed).map((seq) => ({
      id: id.cell<string>(seq) as string,
      vector: this.spaces.lists.vectorOf(seq) as Float32Array,
    }));
  }

  #near(ns: number, query: Float32Array, count: number, filter: Filter): Near[] {
    const { lists, probes } = this.spaces;
    const few = this.episodes.narrow(ns, filter);
    if (few !== undefined) return lists.among(query, few, count);
    const isExact = this.namespaces.episodes(ns) < EXACT_BELOW;
    const accept = (seqs: readonly number[]) => this.episodes.accepted(ns, filter, seqs);
    return lists.search(ns, query, { count, probes, isExact, accept });
  }

  searchByTerms(namespace: string, terms: readonly string[], { count, filter = {} }: SearchOptions): Found[] {
    const ns = this.namespaces.find(namespace);
    if (ns === undefined) return [];
    for (let limit = count * 4; ; limit *= 8) {
      const hits = this.terms.search(ns, terms, limit);
      const accepted = this.episodes.accepted(
        ns,
        filter,
        hits.map(([seq]) => seq),
      );
      const kept = hits.filter(([seq]) => accepted.has(seq));
      if (kept.length < count && hits.length === limit) continue;
      return kept
        .slice(0, count)
        .map(([seq, score]) => ({ episode: this.episodes.bySeq(namespace, seq) as Episode, score }));
    }
  }

  termCounts(namespace: string, terms: readonly string[]): number[] {
    const ns = this.namespaces.find(namespace);
    return ns === undefined ? terms.map(() => 0) : this.terms.counts(ns, terms);
  }

  putConcepts(namespace: string, concepts: readonly Concept[]): void {
    this.#knowledge.putConcepts(namespace, concepts);
  }
  getConcepts(namespace: string, ids: readonly string[]): (Concept | undefined)[] {
    return this.#knowledge.getConcepts(namespace, ids);
  }
  findConcept(namespace: string, kind: string, name: string): Concept | undefined {
    return this.#knowledge.findConcept(namespace, kind, name);
  }
  listConcepts(namespace: string, options: PageOptions): Page<Concept> {
    return this.#knowledge.listConcepts(namespace, options);
  }
  listLinks(namespace: string, options: PageOptions): Page<Link> {
    return this.#knowledge.listLinks(namespace, options);
  }
  changeLinks(namespace: string, add: readonly Link[], remove: readonly LinkKey[] = []): void {
    this.#knowledge.changeLinks(namespace, add, remove);
  }
  neighbours(namespace: string, node: NodeRef, options: NetworkOptions): NodeRef[][] {
    return this.#knowledge.neighbours(namespace, node, options);
  }
  network(namespace: string, seeds: readonly NodeRef[], options: NetworkOptions): Network {
    return this.#knowledge.network(namespace, seeds, options);
  }
  fadeLinks(namespace: string, options: FadeOptions): FadeReport {
    return this.#knowledge.fade(namespace, options);
  }

  putRecord(namespace: string, kind: string, record: StoredRecord): void {
    this.#records.put(namespace, kind, record);
  }
  getRecord(namespace: string, kind: string, key: string): StoredRecord | undefined {
    return this.#records.get(namespace, kind, key);
  }
  listRecords(namespace: string, kind: string, options: RecordListOptions): Page<StoredRecord> {
    return this.#records.list(namespace, kind, options);
  }
  deleteRecord(namespace: string, kind: string, key: string): boolean {
    return this.#records.remove(namespace, kind, key);
  }

  listNamespaces(): string[] {
    return this.namespaces.all().map(({ name }) => name);
  }

  clearNamespace(namespace: string): void {
    const ns = this.namespaces.find(namespace);
    if (ns === undefined) return;
    for (;;) {
      const { items } = this.episodes.list(namespace, { limit: 1_000 });
      if (items.length === 0) break;
      this.episodes.remove(
        namespace,
        items.map(({ id }) => id),
      );
    }
    this.spaces.removeAll(ns);
    for (const table of ["link", "concept", "record", "label", "namespace"])
      this.connection.sql(`DELETE FROM ${table} WHERE ns = ?`).run(ns);
    this.namespaces.forget();
  }

  stats(namespace: string): NamespaceStats {
    const ns = this.namespaces.find(namespace);
    const count = (table: string) =>
      this.connection.sql(`SELECT count(*) FROM ${table} WHERE ns = ?`).cell<number>(ns ?? -1) as number;
    const records = this.connection.sql("SELECT kind, count(*) FROM record WHERE ns = ? GROUP BY kind").all(ns ?? -1);
    return {
      namespace,
      episodes: ns === undefined ? 0 : this.namespaces.episodes(ns),
      concepts: count("concept"),
      links: count("link"),
      records: Object.fromEntries(records as [string, number][]),
    };
  }

  /** One list, in a transaction of its own. */
  tidy(mostMs: number): Upkeep {
    if (this.untidyCount() === 0) return { lists: 0, isDone: true };
    const end = performance.now() + mostMs;
    let lists = 0;
    this.connection.write(() => {
      for (const one of this.#allLists())
        for (let next = one.untidy(1); next.length > 0 && performance.now() < end; next = one.untidy(1), lists++)
          one.tidy(next[0] as number);
    });
    return { lists, isDone: this.untidyCount() === 0 };
  }

  /** Lists that wait for upkeep, as far as counting goes. */
  untidyCount(): number {
    return this.#allLists().reduce((sum, lists) => sum + lists.untidy(64).length, 0);
  }

  #allLists() {
    return [this.spaces.lists, this.spaces.nextLists].filter((lists) => lists !== undefined);
  }

  /** Exact and indexed answers for stored vectors; `pause` lets others run between pieces. */
  async checkIndex(namespace: string, samples: number, seed: number, pause: () => Promise<void>): Promise<IndexCheck> {
    const ns = this.namespaces.find(namespace);
    const { probes } = this.spaces;
    const none = { namespace, samples: 0, recall: 1, probes, nextProbes: probes };
    if (ns === undefined) return none;
    const seqs = this.connection.read(() => this.#sample(ns, samples, seed));
    const queries = seqs.map((seq) => this.spaces.lists.vectorOf(seq)).filter((vector) => vector !== undefined);
    if (queries.length === 0) return none;
    const { lists } = this.spaces;
    const exact = exactCandidates(queries, lists.dims);
    for (const { records } of lists.everyList(ns)) {
      exact.take(records);
      await pause();
    }
    const wanted = exact.best().map((best, q) => lists.among(queries[q] as Float32Array, best, RECALL_AT));
    let found = 0;
    let all = 0;
    for (const [q, query] of queries.entries()) {
      const near = new Set(this.connection.read(() => this.#near(ns, query, RECALL_AT, {})).map(({ seq }) => seq));
      all += (wanted[q] as Near[]).length;
      found += (wanted[q] as Near[]).filter(({ seq }) => near.has(seq)).length;
      await pause();
    }
    const recall = found / all;
    const nextProbes = recall < LEAST_RECALL ? Math.ceil(probes * 1.5) : probes;
    return { namespace, samples: queries.length, recall, probes, nextProbes };
  }

  setProbes(probes: number): void {
    this.spaces.setProbes(probes);
  }

  #sample(ns: number, count: number, seed: number): number[] {
    const random = seededRandom(seed);
    const first = "SELECT seq FROM episode INDEXED BY episode_order WHERE ns = ? AND seq >= ? ORDER BY seq";
    const next = this.connection.sql(`${first} LIMIT 1`);
    const least = next.cell<number>(ns, 0);
    const most = this.connection.sql(`${first} DESC LIMIT 1`).cell<number>(ns, 0);
    if (least === undefined || most === undefined) return [];
    const seqs = Array.from({ length: count }, () =>
      next.cell<number>(ns, least + Math.floor(random.next() * (most - least + 1))),
    );
    return [...new Set(seqs)].filter((seq) => seq !== undefined);
  }

  beginReindex(embedder: EmbedderIdentity): void {
    this.spaces.begin(embedder);
  }
  unindexed(limit: number): Episode[] {
    const next = this.spaces.nextNumber;
    if (next === undefined) return [];
    const rows = this.connection
      .sql(
        `SELECT n.name, e.id FROM episode e JOIN namespace n ON n.ns = e.ns
         WHERE NOT EXISTS (SELECT 1 FROM place_${next} p WHERE p.seq = e.seq) ORDER BY e.seq LIMIT ?`,
      )
      .all(limit) as [string, string][];
    return rows.map(([name, id]) => this.episodes.get(name, [id])[0] as Episode);
  }
  putVectors(vectors: readonly NewVector[]): void {
    for (const { namespace, id, vector, version } of vectors) {
      const [episode] = this.episodes.get(namespace, [id]);
      if (episode === undefined || episode.version !== version) continue; // gone or changed: it is asked for again
      const ns = this.namespaces.find(namespace) as number;
      this.spaces.addNext(ns, this.episodes.seqOf(ns, id) as number, vector);
    }
  }
  finishReindex(): void {
    const [missing] = this.unindexed(1);
    if (missing !== undefined) throw unfinishedReindex(missing.id);
    this.spaces.finish();
  }

  close(): void {
    this.connection.close();
  }
}

/** Makes or migrates the tables, and refuses another embedder's store. */
function open(connection: Connection, { embedder, termsVersion }: SqliteStoreOptions): void {
  migrate(connection);
  if (VectorSpaces.read(connection) === undefined)
    connection.write(() => {
      if (VectorSpaces.read(connection) !== undefined) return; // another process was faster
      VectorSpaces.create(connection, embedder);
      connection.sql("INSERT INTO meta (key, value) VALUES ('terms', ?)").run(String(termsVersion));
    });
  versionOf(connection);
  const { active } = VectorSpaces.read(connection) as { active: EmbedderIdentity };
  if (active.id !== embedder.id || active.dims !== embedder.dims)
    throw new IroriError("conflict", {
      what: `${connection.path} holds vectors of another embedder`,
      got: `${embedder.id} (${embedder.dims} numbers)`,
      wanted: `${active.id} (${active.dims} numbers)`,
      next: `open it with ${active.id}, or change it with \`irori memory reindex --embedder ${embedder.id}\``,
    });
}
