// A store in memory: real behaviour by the plainest means, exact at any size, gone when the process is. For tests and for
// data of a moment. It does not know files.
import { IroriError, seededRandom } from "../../base/mod.ts";
import { bm25 } from "../bm25.ts";
import { changedColumns } from "../columns.ts";
import type {
  Added,
  AddOptions,
  Concept,
  DataStore,
  EmbedderIdentity,
  FadeOptions,
  FadeReport,
  Found,
  IndexCheck,
  Invariant,
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
import { checkMetadata, checkName, type Episode, type EpisodeChange, type NewEpisode, unitVector } from "../episode.ts";
import { type Filter, matches } from "../filter.ts";
import type { NewId } from "../ids.ts";
import { partsOf } from "../node-ref.ts";
import { type PreparedEpisode, prepareEpisodes, prepareText } from "../prepared.ts";
import {
  changedInBetween,
  checkLink,
  cursorOf,
  noReindex,
  notFound,
  taken,
  unfinishedReindex,
  unknownEnd,
} from "../store-errors.ts";
import { dot } from "../vectors/lists.ts";
import { dropAlone, fadeLinks, hasNode, neighboursOf, networkOf } from "./knowledge.ts";
import { linkKey, type NamespaceState, type Row, State } from "./state.ts";

export function openInMemory(options: { readonly embedder: EmbedderIdentity; readonly newId: NewId }): DataStore {
  return new InMemoryDataStore(options.embedder, options.newId, new State());
}

class InMemoryDataStore implements DataStore {
  info: DataStore["info"];
  readonly #newId: NewId;
  #state: State;
  #isOver = false;
  /** Writes wait for the transaction that is going on. */
  #led: Promise<unknown> = Promise.resolve();

  constructor({ id, dims }: EmbedderIdentity, newId: NewId, state: State) {
    this.info = { kind: "in-memory", place: "this process", embedder: { id, dims } };
    this.#newId = newId;
    this.#state = state;
  }

  /** Nothing of a write that throws is kept. */
  async #write<T>(work: (state: State) => T): Promise<T> {
    await this.#led;
    if (this.#isOver)
      throw new IroriError("bad-input", { what: "a transaction that is over", next: "use the store itself" });
    const fork = this.#state.fork();
    const result = work(fork);
    this.#state = fork;
    return result;
  }

  async transaction<T>(work: (inside: DataStore) => Promise<T>): Promise<T> {
    const before = this.#led;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#led = before.then(() => promise);
    await before;
    const inside = new InMemoryDataStore(this.info.embedder, this.#newId, this.#state.fork());
    try {
      const result = await work(inside);
      this.#state = inside.#state;
      return result;
    } finally {
      inside.#isOver = true;
      resolve();
    }
  }

  async addEpisodes(
    namespace: string,
    episodes: readonly NewEpisode[],
    { repeats = "count" }: AddOptions = {},
  ): Promise<Added[]> {
    checkName("a namespace", namespace);
    const prepared = prepareEpisodes(episodes, this.info.embedder.dims, this.#newId);
    return await this.#write((state) =>
      prepared.map((episode) => addOne(state, namespace, episode, repeats === "count")),
    );
  }

  async getEpisodes(namespace: string, ids: readonly string[]): Promise<(Episode | undefined)[]> {
    return ids.map((id) => this.#state.find(namespace)?.rows.get(id)?.episode);
  }
  async vectorsOf(namespace: string, ids: readonly string[]): Promise<(Float32Array | undefined)[]> {
    return ids.map((id) => this.#state.find(namespace)?.rows.get(id)?.vector);
  }

  async updateEpisode(namespace: string, id: string, change: EpisodeChange, version?: number): Promise<Episode> {
    const { dims } = this.info.embedder;
    return await this.#write((state) => {
      const rows = state.find(namespace)?.rows;
      const row = rows?.get(id);
      if (rows === undefined || row === undefined) throw notFound(namespace, id);
      if (version !== undefined && version !== row.episode.version)
        throw changedInBetween(id, version, row.episode.version);
      changedColumns(change, row.episode.kind); // the same checks as in SQL
      const episode = changed(row.episode, change);
      const isNewText = change.text !== undefined && change.vector !== undefined;
      const text = isNewText && prepareText(change.text, change.vector as Float32Array, dims, episode);
      rows.set(id, { ...row, episode, ...(text && ofText(text)) });
      return episode;
    });
  }

  async deleteEpisodes(namespace: string, ids: readonly string[]): Promise<number> {
    return await this.#write((state) => {
      const space = state.find(namespace);
      return space === undefined ? 0 : ids.filter((id) => deleteOne(space, id)).length;
    });
  }

  async listEpisodes(namespace: string, options: ListOptions): Promise<Page<Episode>> {
    const { filter = {}, limit, after, order = "oldest" } = options;
    const isUp = order === "oldest";
    const start = after === undefined ? undefined : cursorOf(after);
    const rows = [...(this.#state.find(namespace)?.rows.values() ?? [])]
      .filter(({ seq }) => start === undefined || (isUp ? seq > start : seq < start))
      .filter(({ episode }) => matches(episode, filter))
      .sort((a, b) => (isUp ? a.seq - b.seq : b.seq - a.seq));
    const items = rows.slice(0, limit).map(({ episode }) => episode);
    return rows.length <= limit ? { items } : { items, next: String(rows[limit - 1]?.seq) };
  }

  async countEpisodes(namespace: string, filter: Filter = {}): Promise<number> {
    return [...(this.#state.find(namespace)?.rows.values() ?? [])].filter(({ episode }) => matches(episode, filter))
      .length;
  }

  async historyOf(namespace: string, id: string): Promise<Episode[]> {
    const rows = this.#state.find(namespace)?.rows ?? new Map<string, Row>();
    const found = new Set<string>();
    const older = (one: string) => {
      if (found.has(one) || !rows.has(one)) return;
      found.add(one);
      for (const { episode } of rows.values()) if (episode.supersededBy === one) older(episode.id);
    };
    older(id);
    for (
      let next = rows.get(id)?.episode.supersededBy;
      next !== undefined && !found.has(next);
      next = rows.get(next)?.episode.supersededBy
    )
      if (rows.has(next)) found.add(next);
    const all = [...found].map((one) => rows.get(one) as Row);
    return all.sort((a, b) => a.seq - b.seq).map(({ episode }) => episode);
  }

  async sampleVectors(namespace: string, count: number, seed: number): Promise<Sample[]> {
    const rows = [...(this.#state.find(namespace)?.rows.values() ?? [])].sort((a, b) => a.seq - b.seq);
    const random = seededRandom(seed);
    const chosen = new Set(
      Array.from({ length: rows.length === 0 ? 0 : count }, () => rows[Math.floor(random.next() * rows.length)] as Row),
    );
    return [...chosen].map(({ episode, vector }) => ({ id: episode.id, vector }));
  }

  async searchByVector(
    namespace: string,
    queries: readonly Float32Array[],
    { count, filter = {} }: SearchOptions,
  ): Promise<Found[][]> {
    const rows = [...(this.#state.find(namespace)?.rows.values() ?? [])].filter(({ episode }) =>
      matches(episode, filter),
    );
    return queries.map((query) => {
      const unit = unitVector(query, this.info.embedder.dims);
      const near = rows.map((row) => ({ row, score: dot(unit, row.vector) }));
      near.sort((a, b) => b.score - a.score || a.row.seq - b.row.seq);
      return near.slice(0, count).map(({ row, score }) => ({ episode: row.episode, score }));
    });
  }

  async searchByTerms(
    namespace: string,
    terms: readonly string[],
    { count, filter = {} }: SearchOptions,
  ): Promise<Found[]> {
    const rows = [...(this.#state.find(namespace)?.rows.values() ?? [])];
    const wanted = [...new Set(terms)];
    const holding = countsOf(rows, wanted);
    const corpus = {
      documents: rows.length,
      meanLength: rows.reduce((sum, { length }) => sum + length, 0) / rows.length,
      holding,
    };
    return rows
      .filter((row) => wanted.some((term) => row.terms.has(term)) && matches(row.episode, filter))
      .map((row) => ({
        row,
        score: bm25({ counts: wanted.map((term) => row.terms.get(term) ?? 0), length: row.length }, corpus),
      }))
      .sort((a, b) => b.score - a.score || a.row.seq - b.row.seq)
      .slice(0, count)
      .map(({ row, score }) => ({ episode: row.episode, score }));
  }

  async termCounts(namespace: string, terms: readonly string[]): Promise<number[]> {
    return countsOf([...(this.#state.find(namespace)?.rows.values() ?? [])], terms);
  }

  async putConcepts(namespace: string, concepts: readonly Concept[]): Promise<void> {
    await this.#write((state) => {
      for (const concept of concepts) {
        checkMetadata(concept.attributes);
        state.make(namespace).concepts.set(checkName("a concept's id", concept.id), concept);
      }
    });
  }
  async getConcepts(namespace: string, ids: readonly string[]): Promise<(Concept | undefined)[]> {
    return ids.map((id) => this.#state.find(namespace)?.concepts.get(id));
  }
  async findConcept(namespace: string, kind: string, name: string): Promise<Concept | undefined> {
    return [...(this.#state.find(namespace)?.concepts.values() ?? [])].find(
      (one) => one.kind === kind && one.name === name,
    );
  }

  async listConcepts(namespace: string, options: PageOptions): Promise<Page<Concept>> {
    return pageOf(this.#state.find(namespace)?.concepts ?? [], options);
  }
  async listLinks(namespace: string, options: PageOptions): Promise<Page<Link>> {
    return pageOf(this.#state.find(namespace)?.links ?? [], options);
  }
  async changeLinks(namespace: string, add: readonly Link[], remove: readonly LinkKey[] = []): Promise<void> {
    await this.#write((state) => {
      const space = state.make(namespace);
      for (const { source, target, kind } of remove)
        for (const [key, link] of space.links)
          if (link.source === source && link.target === target && (kind === undefined || link.kind === kind))
            space.links.delete(key);
      for (const link of add) {
        checkLink(link);
        for (const end of [link.source, link.target]) needNode(space, end);
        const known = space.links.get(linkKey(link));
        space.links.set(linkKey(link), {
          ...link,
          attributes: link.attributes ?? {},
          recordedAt: known?.recordedAt ?? link.recordedAt,
        });
      }
    });
  }
  async neighbours(namespace: string, node: NodeRef, options: NetworkOptions): Promise<NodeRef[][]> {
    const space = this.#state.find(namespace);
    return space === undefined ? [] : neighboursOf(space, node, options);
  }
  async network(namespace: string, seeds: readonly NodeRef[], options: NetworkOptions): Promise<Network> {
    const space = this.#state.find(namespace);
    return space === undefined ? { nodes: [], links: [], isWhole: true } : networkOf(space, seeds, options);
  }
  async fadeLinks(namespace: string, options: FadeOptions): Promise<FadeReport> {
    return await this.#write((state) => {
      const space = state.find(namespace);
      return space === undefined ? { removedLinks: 0, fadedLinks: 0, removedConcepts: 0 } : fadeLinks(space, options);
    });
  }

  async putRecord(namespace: string, kind: string, record: StoredRecord): Promise<void> {
    await this.#write((state) => {
      const { records } = state.make(namespace);
      const of = records.get(kind) ?? new Map<string, StoredRecord>();
      records.set(kind, of.set(checkName("a record's key", record.key), structuredClone(record)));
    });
  }
  async getRecord(namespace: string, kind: string, key: string): Promise<StoredRecord | undefined> {
    return this.#state.find(namespace)?.records.get(kind)?.get(key);
  }
  async listRecords(namespace: string, kind: string, options: RecordListOptions): Promise<Page<StoredRecord>> {
    const { prefix = "", tag, after, limit, order = "oldest" } = options;
    const up = order === "oldest" ? 1 : -1;
    const compare = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b)) * up;
    const all = [...(this.#state.find(namespace)?.records.get(kind)?.values() ?? [])]
      .filter(({ key }) => key.startsWith(prefix) && (after === undefined || compare(key, after) > 0))
      .filter((record) => tag === undefined || record.tag === tag)
      .sort((a, b) => compare(a.key, b.key));
    const items = all.slice(0, limit);
    return all.length <= limit ? { items } : { items, next: items.at(-1)?.key };
  }
  async deleteRecord(namespace: string, kind: string, key: string): Promise<boolean> {
    return await this.#write((state) => state.find(namespace)?.records.get(kind)?.delete(key) ?? false);
  }

  async namespaces(): Promise<string[]> {
    return [...this.#state.namespaces.keys()].sort();
  }
  async clearNamespace(namespace: string): Promise<void> {
    await this.#write((state) => state.namespaces.delete(namespace));
  }
  async stats(namespace: string): Promise<NamespaceStats> {
    const { rows, concepts, links, records } = this.#state.find(namespace) ?? new State().make(namespace);
    const sizes = [...records].filter(([, of]) => of.size > 0).map(([kind, of]) => [kind, of.size]);
    return {
      namespace,
      episodes: rows.size,
      concepts: concepts.size,
      links: links.size,
      records: Object.fromEntries(sizes),
    };
  }

  async tidy(): Promise<Upkeep> {
    return { lists: 0, isDone: true };
  }
  async checkIndex(namespace: string, samples: number, _seed: number): Promise<IndexCheck> {
    return {
      namespace,
      samples: Math.min(samples, await this.countEpisodes(namespace)),
      recall: 1,
      probes: 1,
      nextProbes: 1,
    };
  }
  async check(_options: { readonly repair: boolean }): Promise<Invariant[]> {
    const spaces = [...this.#state.namespaces.values()];
    const orphans = spaces.flatMap((space) =>
      [...space.links.values()].filter((link) => !hasNode(space, link.source) || !hasNode(space, link.target)),
    );
    return [
      {
        name: "links lead somewhere",
        isFine: orphans.length === 0,
        found: `${orphans.length} links to what is not there`,
      },
    ];
  }
  async scrub(): Promise<void> {}
  backup(): Promise<void> {
    return Promise.reject(new IroriError("unsupported", { what: "a backup of a store in memory", next: "export it" }));
  }

  async beginReindex({ id, dims }: EmbedderIdentity): Promise<void> {
    await this.#write((state) => {
      if (state.next?.id !== id || state.next.dims !== dims) state.next = { id, dims, vectors: new Map() };
    });
  }
  async unindexed(limit: number): Promise<Episode[]> {
    const { next, namespaces } = this.#state;
    if (next === undefined) return [];
    const rows = [...namespaces.values()].flatMap((space) => [...space.rows.values()]).sort((a, b) => a.seq - b.seq);
    const isMissing = ({ namespace, id, text }: Episode) => next.vectors.get(`${namespace}\n${id}`)?.text !== text;
    return rows
      .map(({ episode }) => episode)
      .filter(isMissing)
      .slice(0, limit);
  }
  async putVectors(vectors: readonly NewVector[]): Promise<void> {
    await this.#write((state) => {
      const { next } = state;
      if (next === undefined) throw noReindex();
      for (const { namespace, id, vector, version } of vectors) {
        const episode = state.find(namespace)?.rows.get(id)?.episode;
        if (episode?.version !== version) continue;
        next.vectors.set(`${namespace}\n${id}`, { vector: unitVector(vector, next.dims), text: episode.text });
      }
    });
  }
  async finishReindex(): Promise<void> {
    const [missing] = await this.unindexed(1);
    if (missing !== undefined) throw unfinishedReindex(missing.id);
    await this.#write((state) => {
      const { next } = state;
      if (next === undefined) throw noReindex();
      for (const [name, { rows }] of state.namespaces)
        for (const [id, row] of rows)
          rows.set(id, { ...row, vector: next.vectors.get(`${name}\n${id}`)?.vector as Float32Array });
      state.next = undefined;
      this.info = { ...this.info, embedder: { id: next.id, dims: next.dims } };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#led;
  }
}

function pageOf<T>(all: Iterable<readonly [string, T]>, { after, limit }: PageOptions): Page<T> {
  const rest = [...all].filter(([key]) => after === undefined || key > after).sort(([a], [b]) => (a < b ? -1 : 1));
  const page = rest.slice(0, limit);
  const items = page.map(([, value]) => value);
  return rest.length <= limit ? { items } : { items, next: page.at(-1)?.[0] };
}

function addOne(state: State, namespace: string, episode: PreparedEpisode, areRepeatsCounted: boolean): Added {
  const { rows } = state.make(namespace);
  const { id, key, recordedAt } = episode;
  const all = [...rows.values()];
  const known = key === null ? undefined : all.find((row) => row.episode.key === key);
  if (known !== undefined) return { id: known.episode.id, isNew: false, repeats: known.episode.repeats };
  const text = ofText(episode);
  const holds = ({ closedAt, expiresAt = Infinity }: Episode) => closedAt === undefined && expiresAt > recordedAt;
  const twin = areRepeatsCounted
    ? all.find((row) => row.fingerprint === text.fingerprint && holds(row.episode))
    : undefined;
  if (twin !== undefined) {
    const { repeats, seenAt, version } = twin.episode;
    const again = { ...twin.episode, repeats: repeats + 1, seenAt: Math.max(seenAt, recordedAt), version: version + 1 };
    rows.set(again.id, { ...twin, episode: again });
    return { id: again.id, isNew: false, repeats: again.repeats };
  }
  if (rows.has(id)) throw taken(namespace, id);
  rows.set(id, { seq: ++state.seq, episode: stored(namespace, episode), ...text });
  return { id, isNew: true, repeats: 0 };
}

function stored(namespace: string, prepared: PreparedEpisode): Episode {
  const { id, text, kind, confidence, recordedAt, isPinned } = prepared;
  return {
    ...{ id, namespace, text, kind, confidence, recordedAt, isPinned },
    ...{ key: prepared.key ?? undefined, user: prepared.user ?? undefined, agent: prepared.agent ?? undefined },
    thread: prepared.thread ?? undefined,
    source: prepared.source === null ? undefined : JSON.parse(prepared.source),
    metadata: JSON.parse(prepared.metadata),
    ...{ validFrom: prepared.validFrom ?? undefined, validTo: prepared.validTo ?? undefined },
    ...{
      closedAt: prepared.closedAt ?? undefined,
      expiresAt: prepared.expiresAt ?? undefined,
      supersededBy: undefined,
    },
    ...{ isRetracted: false, repeats: 0, seenAt: recordedAt, uses: 0, version: 1 },
  };
}

function ofText({ terms, vector, fingerprint }: { terms: string; vector: Float32Array; fingerprint: Uint8Array }) {
  const all = terms === "" ? [] : terms.split(" ");
  const counts = new Map<string, number>();
  for (const term of all) counts.set(term, (counts.get(term) ?? 0) + 1);
  return { vector, fingerprint: Buffer.from(fingerprint).toString("hex"), terms: counts, length: all.length };
}

function changed(episode: Episode, change: EpisodeChange): Episode {
  const { vector: _, ...rest } = change;
  const given = Object.entries(rest).filter(([, value]) => value !== undefined);
  const set = Object.fromEntries(given.map(([name, value]) => [name, value ?? undefined]));
  return { ...episode, ...set, version: episode.version + 1 };
}

function deleteOne(space: NamespaceState, id: string): boolean {
  if (!space.rows.delete(id)) return false;
  for (const [other, row] of space.rows)
    if (row.episode.supersededBy === id)
      space.rows.set(other, { ...row, episode: { ...row.episode, supersededBy: undefined } });
  const touched: string[] = [];
  for (const [key, { source, target }] of space.links) {
    if (source !== `episode:${id}` && target !== `episode:${id}`) continue;
    space.links.delete(key);
    for (const end of [source, target]) if (end.startsWith("concept:")) touched.push(end.slice("concept:".length));
  }
  dropAlone(space, touched);
  return true;
}

function needNode(space: NamespaceState, ref: NodeRef): void {
  if (hasNode(space, ref)) return;
  const [kind, id] = partsOf(ref);
  if (kind === "episode") throw unknownEnd(id);
  space.concepts.set(checkName("a concept's id", id), { id, kind: "node", name: id, attributes: {}, isPinned: false });
}

const countsOf = (rows: readonly Row[], terms: readonly string[]): number[] =>
  terms.map((term) => rows.filter((row) => row.terms.has(term)).length);
