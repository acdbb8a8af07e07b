// What every store of a memory can do, one asynchronous contract: SQLite, Postgres and the one in memory pass the same suite
// (test/memory-contract.ts). It does not know texts' meaning, embedders or who asks.
import type { Episode, EpisodeChange, Json, NewEpisode } from "./episode.ts";
import type { Filter } from "./filter.ts";

/** Whose vectors a store holds: vectors of different embedders do not compare. */
export interface EmbedderIdentity {
  readonly id: string;
  readonly dims: number;
}

export interface StoreInfo {
  readonly kind: "sqlite" | "postgres" | "in-memory";
  /** A path, or where the server is, without its password. */
  readonly place: string;
  readonly embedder: EmbedderIdentity;
}

export interface Added {
  readonly id: string;
  /** False where its key was used before, or it repeats a known text. */
  readonly isNew: boolean;
  /** How often the text was told again, this time included. */
  readonly repeats: number;
}

export interface AddOptions {
  /** The same text in the same scope again: counted on the first ("count", default), or kept beside it ("keep"). */
  readonly repeats?: "count" | "keep" | undefined;
}

export interface Sample {
  readonly id: string;
  readonly vector: Float32Array;
}

export interface Found {
  readonly episode: Episode;
  /** By vector: the cosine, −1 to 1. By text: BM25, larger is better. */
  readonly score: number;
}

export interface SearchOptions {
  readonly count: number;
  readonly filter?: Filter | undefined;
}

export interface ListOptions {
  readonly filter?: Filter | undefined;
  readonly limit: number;
  /** `next` of the page before. */
  readonly after?: string | undefined;
  /** In the order in which they were added, or newest first. Default "oldest". */
  readonly order?: "oldest" | "newest" | undefined;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Where the next page begins; absent: this was the last. */
  readonly next?: string | undefined;
}

/** A place in the Knowledge: an Episode or a Concept of the namespace. */
export type NodeRef = `episode:${string}` | `concept:${string}`;

export interface Concept {
  readonly id: string;
  /** "term", "entity", … */
  readonly kind: string;
  readonly name: string;
  readonly attributes: Readonly<Record<string, Json>>;
  readonly isPinned: boolean;
}

export interface Link {
  readonly source: NodeRef;
  readonly target: NodeRef;
  /** "similar", "mentions", "contradicts", a relation's name … */
  readonly kind: string;
  /** Above 0; 1 is as strong as can be. */
  readonly weight: number;
  readonly attributes?: Readonly<Record<string, Json>> | undefined;
  readonly recordedAt: number;
}

export type LinkKey = Pick<Link, "source" | "target"> & { readonly kind?: string | undefined };

export interface Network {
  /** Every node with its distance in links from the nearest seed. */
  readonly nodes: readonly { readonly ref: NodeRef; readonly hop: number }[];
  /** All links between these nodes. */
  readonly links: readonly Link[];
  /** False where the limit left nodes out. */
  readonly isWhole: boolean;
}

export interface NetworkOptions {
  readonly hops: number;
  /** Nodes in all, the seeds first, then by hop. */
  readonly mostNodes: number;
  /** Links followed from one node, the strongest first. Default 64. */
  readonly mostLinks?: number | undefined;
  /** Kinds of links that are followed. Default: all but "contradicts". */
  readonly kinds?: readonly string[] | undefined;
  /** Weight that a link of a kind must have to be followed. Default: any. */
  readonly leastWeight?: Readonly<Record<string, number>> | undefined;
}

export interface PageOptions {
  readonly limit: number;
  /** `next` of the page before. */
  readonly after?: string | undefined;
}

/** Anything kept by name: spikes, questions, jobs, values. */
export interface StoredRecord {
  readonly key: string;
  readonly tag?: string | undefined;
  readonly body: Json;
  readonly recordedAt: number;
}

export interface RecordListOptions {
  readonly prefix?: string | undefined;
  readonly tag?: string | undefined;
  readonly after?: string | undefined;
  readonly limit: number;
  readonly order?: "oldest" | "newest" | undefined;
}

export interface NamespaceStats {
  readonly namespace: string;
  readonly episodes: number;
  readonly concepts: number;
  readonly links: number;
  readonly records: Readonly<Record<string, number>>;
}

/** One thing that must hold of a store, and whether it does. */
export interface Invariant {
  readonly name: string;
  readonly isFine: boolean;
  readonly found: string;
  /** Derived data that was made anew. */
  readonly repaired?: string | undefined;
}

export interface Upkeep {
  /** Upkeep that was done: lists folded, split or merged. */
  readonly lists: number;
  /** Whether there is more to do. */
  readonly isDone: boolean;
}

/** recall@10 of the index against an exact search, on stored vectors. */
export interface IndexCheck {
  readonly namespace: string;
  readonly samples: number;
  readonly recall: number;
  /** Lists searched before and from now on. */
  readonly probes: number;
  readonly nextProbes: number;
}

export interface DataStore extends AsyncDisposable {
  readonly info: StoreInfo;

  /** All or none; durable when it returns. Throws "bad-input" for what cannot be stored. */
  addEpisodes(namespace: string, episodes: readonly NewEpisode[], options?: AddOptions): Promise<Added[]>;
  /** In the order asked; undefined where there is none. */
  getEpisodes(namespace: string, ids: readonly string[]): Promise<(Episode | undefined)[]>;
  vectorsOf(namespace: string, ids: readonly string[]): Promise<(Float32Array | undefined)[]>;
  /** Throws "not-found", and "conflict" where `version` is given and is no longer the episode's. */
  updateEpisode(namespace: string, id: string, change: EpisodeChange, version?: number): Promise<Episode>;
  /** For good: row, terms, vector, links, and Concepts that nothing mentions any more. How many there were. */
  deleteEpisodes(namespace: string, ids: readonly string[]): Promise<number>;
  listEpisodes(namespace: string, options: ListOptions): Promise<Page<Episode>>;
  countEpisodes(namespace: string, filter?: Filter): Promise<number>;
  /** What an episode took the place of and what took its place, oldest first; itself included. */
  historyOf(namespace: string, id: string): Promise<Episode[]>;

  /** So many episodes' vectors, chosen by the seed alone as long as nothing is added or removed; fewer where there are fewer. */
  sampleVectors(namespace: string, count: number, seed: number): Promise<Sample[]>;
  /** The most similar of each query, best first; the same order as an exact search below 20,000 episodes. */
  searchByVector(namespace: string, queries: readonly Float32Array[], options: SearchOptions): Promise<Found[][]>;
  /** The best by BM25 over terms (text/terms.ts); nothing where no term is known. */
  searchByTerms(namespace: string, terms: readonly string[], options: SearchOptions): Promise<Found[]>;
  /** In how many episodes each term stands. */
  termCounts(namespace: string, terms: readonly string[]): Promise<number[]>;

  /** Adds Concepts, or changes those of the same id. */
  putConcepts(namespace: string, concepts: readonly Concept[]): Promise<void>;
  getConcepts(namespace: string, ids: readonly string[]): Promise<(Concept | undefined)[]>;
  findConcept(namespace: string, kind: string, name: string): Promise<Concept | undefined>;
  /** Every Concept, each once, in an order of the store's. */
  listConcepts(namespace: string, options: PageOptions): Promise<Page<Concept>>;
  /** Every Link, each once, in an order of the store's. */
  listLinks(namespace: string, options: PageOptions): Promise<Page<Link>>;
  /** Adds links or sets their weight; removes those named, of every kind where none is given. Unknown Concepts are made. */
  changeLinks(namespace: string, add: readonly Link[], remove?: readonly LinkKey[]): Promise<void>;
  /** The nodes at each distance from 1 to `hops`, each in one place only; nothing for an unknown node. */
  neighbours(namespace: string, node: NodeRef, options: NetworkOptions): Promise<NodeRef[][]>;
  /** What lies around the seeds, with the links inside it; hops 0 is the subgraph of the seeds. */
  network(namespace: string, seeds: readonly NodeRef[], options: NetworkOptions): Promise<Network>;
  /** Removes weak links, lets weights fade, removes Concepts left without links (reference §2.8). */
  fadeLinks(namespace: string, options: FadeOptions): Promise<FadeReport>;

  putRecord(namespace: string, kind: string, record: StoredRecord): Promise<void>;
  getRecord(namespace: string, kind: string, key: string): Promise<StoredRecord | undefined>;
  listRecords(namespace: string, kind: string, options: RecordListOptions): Promise<Page<StoredRecord>>;
  deleteRecord(namespace: string, kind: string, key: string): Promise<boolean>;

  /**
   * Everything that `work` does through its argument, or nothing of it. Inside another transaction it is a savepoint. Others
   * do not see it before it ends, and other writers wait for it.
   */
  transaction<T>(work: (inside: DataStore) => Promise<T>): Promise<T>;

  namespaces(): Promise<string[]>;
  clearNamespace(namespace: string): Promise<void>;
  stats(namespace: string): Promise<NamespaceStats>;
  /** One piece of the index's upkeep, a few milliseconds. It also happens by itself when nobody writes. */
  tidy(): Promise<Upkeep>;
  /** Compares the index with an exact search, and raises its probes where recall is below .99. */
  checkIndex(namespace: string, samples: number, seed: number): Promise<IndexCheck>;
  /** Every invariant; derived data is made anew where `repair` is asked. */
  check(options: { readonly repair: boolean }): Promise<Invariant[]>;
  /** Frees what deletes left behind, so that nothing of them remains on the disk. */
  scrub(): Promise<void>;
  /** A whole copy, while others go on. Throws "unsupported" where the store has means of its own. */
  backup(path: string): Promise<void>;

  /** Begins or goes on with another embedder's vectors beside the ones in use. */
  beginReindex(embedder: EmbedderIdentity): Promise<void>;
  /** Episodes of all namespaces that the new embedder has not seen: at most so many. */
  unindexed(limit: number): Promise<Episode[]>;
  putVectors(vectors: readonly NewVector[]): Promise<void>;
  /** The new vectors take the place of the old. Throws "conflict" where some are still missing. */
  finishReindex(): Promise<void>;
}

export interface NewVector {
  readonly namespace: string;
  readonly id: string;
  readonly vector: Float32Array;
  /** Version of the episode that was embedded: of a newer one it is ignored. */
  readonly version: number;
}

export interface FadeOptions {
  /** Links kept of a node: its strongest. A link is kept where one of its ends keeps it. */
  readonly mostLinks: number;
  /** Weaker links go. */
  readonly leastWeight: number;
  /** What is left of a weight. */
  readonly decay: number;
}

export interface FadeReport {
  readonly removedLinks: number;
  readonly fadedLinks: number;
  readonly removedConcepts: number;
}

/** Every episode that matches, page by page: the next page is read when the one before has been used. */
export async function* everyEpisode(
  store: DataStore,
  namespace: string,
  { filter, batch = 500 }: { readonly filter?: Filter; readonly batch?: number } = {},
): AsyncGenerator<Episode> {
  yield* everyItem((after) => store.listEpisodes(namespace, { filter, limit: batch, after }));
}

/** The items of all pages. */
export async function* everyItem<T>(page: (after: string | undefined) => Promise<Page<T>>): AsyncGenerator<T> {
  let after: string | undefined;
  do {
    const { items, next } = await page(after);
    yield* items;
    after = next;
  } while (after !== undefined);
}
