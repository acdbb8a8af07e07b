// Vectors in lists around centroids, inside the store's own transactions: found by scanning int8 codes of the nearest lists
// and comparing the best exactly. Lists split and merge by themselves; nothing is trained, and nothing built at opening.
// It does not know episodes, namespaces' names or filters.
import { IroriError, seededRandom } from "../../base/mod.ts";
import type { Connection, Row } from "../sqlite.ts";
import { Centroids } from "./centroids.ts";
import { CodeScan, encode, seqOf } from "./codes.ts";
import { recordBytes } from "./kernel.ts";
import { nearestOf, twoMeans } from "./two-means.ts";

/** A list of more members splits. */
const MOST_MEMBERS = 512;
/** A list of fewer, after deletes, is spread over its neighbours. */
const FEWEST_MEMBERS = 48;
/** Records of one row. */
const CHUNK = 64;
/** The newest records are rows of their own until there are so many: each such row costs a search as much as 20 records. */
const TAIL = 16;
/** Rows of a list in the chunk table: list * PARTS + n. */
const PARTS = 4096;
/** Lists among which the members of a split one are spread. */
const NEIGHBOURS = 24;
/** Namespaces of fewer vectors are searched whole, and exactly. */
export const EXACT_BELOW = 20_000;
/** Namespaces whose centroids stay in memory. */
const MOST_LOADED = 32;

export interface Near {
  readonly seq: number;
  /** Cosine. */
  readonly similarity: number;
}

export interface SearchSettings {
  readonly count: number;
  /** Which of these numbers may be in the result; asked with the best first. */
  readonly accept?: ((seqs: readonly number[]) => ReadonlySet<number>) | undefined;
  /** Whether all lists are searched. */
  readonly isExact: boolean;
  /** How many lists are searched otherwise. */
  readonly probes: number;
}

export class VectorLists {
  readonly dims: number;
  readonly #connection: Connection;
  readonly #space: number;
  readonly #scan: CodeScan;
  readonly #texts = new Map<string, string>();
  /** By namespace, least recently used first. */
  readonly #loaded = new Map<number, Centroids>();

  constructor(connection: Connection, space: number, dims: number) {
    this.#connection = connection;
    this.#space = space;
    this.dims = dims;
    this.#scan = new CodeScan(dims);
  }

  /** Forgets what is in memory: after an undone transaction it may be wrong. */
  forget(): void {
    this.#loaded.clear();
  }

  /** Inside a write transaction. @param vector of unit length */
  add(ns: number, seq: number, vector: Float32Array): void {
    this.#sql("INSERT INTO vector_$ (seq, vector) VALUES (?, ?)").run(seq, bytesOf(vector));
    const centroids = this.#centroids(ns);
    const list = centroids.nearest(vector) ?? this.#newList(ns, vector);
    this.#sql("INSERT INTO place_$ (seq, list) VALUES (?, ?)").run(seq, list);
    if (this.#addToTail(list, encode(vector, seq), seq) === TAIL) this.#flag(list);
  }

  /** Inside a write transaction. Whether there was one. */
  remove(seq: number): boolean {
    const list = this.#sql("SELECT list FROM place_$ WHERE seq = ?").cell<number>(seq);
    if (list === undefined) return false;
    const wasInTail = this.#sql("DELETE FROM tail_$ WHERE list = ? AND seq = ?").run(list, seq) > 0;
    if (!wasInTail) this.#removeFromChunks(list, seq);
    this.#sql("UPDATE size_$ SET members = members - 1, tail = tail - ? WHERE list = ?").run(wasInTail ? 1 : 0, list);
    this.#sql("DELETE FROM place_$ WHERE seq = ?").run(seq);
    this.#sql("DELETE FROM vector_$ WHERE seq = ?").run(seq);
    if (this.#size(list).members < FEWEST_MEMBERS) this.#flag(list);
    return true;
  }

  /** Inside a write transaction: all that a namespace has. */
  removeAll(ns: number): void {
    const lists = this.#sql("SELECT list FROM list_$ WHERE ns = ?").column<number>(ns);
    for (const list of lists) {
      this.#sql("DELETE FROM vector_$ WHERE seq IN (SELECT seq FROM place_$ WHERE list = ?)").run(list);
      this.#sql("DELETE FROM place_$ WHERE list = ?").run(list);
      this.#emptyList(list);
      this.#sql("DELETE FROM untidy_$ WHERE list = ?").run(list);
      this.#dropList(ns, list);
    }
  }

  has(seq: number): boolean {
    return this.#sql("SELECT 1 FROM place_$ WHERE seq = ?").cell(seq) !== undefined;
  }

  vectorOf(seq: number): Float32Array | undefined {
    const bytes = this.#sql("SELECT vector FROM vector_$ WHERE seq = ?").cell<Uint8Array<ArrayBuffer>>(seq);
    return bytes && floatsOf(bytes, this.dims);
  }

  /** The most similar of these alone, best first, exactly. */
  among(query: Float32Array, seqs: readonly number[], count: number): Near[] {
    return this.#compared(query, seqs).slice(0, count);
  }

  /** The most similar, best first; equal ones in the order of their numbers. Inside a transaction, so that it is one view. */
  search(ns: number, query: Float32Array, settings: SearchSettings): Near[] {
    const centroids = this.#centroids(ns);
    const all = centroids.count;
    let probes = settings.isExact ? all : Math.min(settings.probes, all);
    let lists = centroids.near(query, probes);
    this.#scan.begin(query);
    let scanned = 0;
    let wanted = Math.max(40, settings.count * 4);
    for (;;) {
      for (; scanned < probes; scanned++) this.#scanList(lists[scanned] as number);
      const best = settings.isExact
        ? this.#scan.bestWithin(Math.max(settings.count, wanted / 4))
        : this.#scan.best(wanted);
      const near = this.#compared(query, best);
      const accepted = settings.accept?.(near.map(({ seq }) => seq));
      const kept = accepted === undefined ? near : near.filter(({ seq }) => accepted.has(seq));
      const isWhole = best.length === this.#scan.count;
      if (kept.length >= settings.count || (isWhole && probes === all)) return kept.slice(0, settings.count);
      // a filter has left too few: look at more of what was scanned, then at more lists
      if (isWhole || wanted > this.#scan.count / 2) {
        probes = Math.min(all, probes * 2);
        lists = centroids.near(query, probes); // begins with those that were scanned
      }
      wanted *= 4;
    }
  }

  /** Reads what a search needs of a namespace before it looks at lists. */
  warm(ns: number): void {
    this.#centroids(ns);
  }

  /** Code records of every list, one list after another, for whoever looks at all of them. */
  *everyList(ns: number): Generator<{ readonly list: number; readonly records: readonly Uint8Array[] }> {
    const lists = this.#sql(
      "SELECT list FROM list_$ WHERE ns = ? AND centroid IS NOT NULL ORDER BY list",
    ).column<number>(ns);
    for (const list of lists) yield { list, records: this.#records(list) };
  }

  /** Members that a list is said to have. */
  sizeOf(list: number): number {
    return this.#size(list).members;
  }

  /** Lists that wait for upkeep. */
  untidy(most: number): number[] {
    return this.#sql("SELECT list FROM untidy_$ ORDER BY list LIMIT ?").column<number>(most);
  }

  listCount(ns: number): number {
    return this.#sql("SELECT count(*) FROM list_$ WHERE ns = ? AND centroid IS NOT NULL").cell<number>(ns) ?? 0;
  }

  /** Inside a write transaction: brings one flagged list into shape. Lists that grew by it are flagged in turn. */
  tidy(list: number): void {
    const row = this.#sql("SELECT ns, centroid IS NULL FROM list_$ WHERE list = ?").row(list);
    this.#sql("DELETE FROM untidy_$ WHERE list = ?").run(list);
    if (row === undefined || row[1] === 1) return;
    const ns = row[0] as number;
    const { members } = this.#size(list);
    if (members > MOST_MEMBERS) this.#split(ns, list);
    else if (members < FEWEST_MEMBERS && this.listCount(ns) > 1) this.#dissolve(ns, list);
    else this.#fold(list);
  }

  /** `_$` in a statement stands for the tables of this space. */
  #sql(text: string) {
    const known = this.#texts.get(text) ?? text.replaceAll("_$", `_${this.#space}`);
    this.#texts.set(text, known);
    return this.#connection.sql(known);
  }

  #centroids(ns: number): Centroids {
    const known = this.#loaded.get(ns) ?? new Centroids(this.dims);
    this.#loaded.delete(ns);
    this.#loaded.set(ns, known);
    if (this.#loaded.size > MOST_LOADED) this.#loaded.delete(this.#loaded.keys().next().value as number);
    const version = this.#sql("SELECT max(version) FROM list_$ WHERE ns = ?").cell<number | null>(ns) ?? 0;
    if (version !== known.version) {
      const rows = this.#sql("SELECT list, centroid FROM list_$ WHERE ns = ? AND version > ? ORDER BY version").all(
        ns,
        known.version,
      );
      for (const [list, centroid] of rows as [number, Uint8Array<ArrayBuffer> | null][])
        known.set(list, centroid && floatsOf(centroid, this.dims));
      known.version = version;
    }
    return known;
  }

  #centroid(list: number): Float32Array {
    const bytes = this.#sql("SELECT centroid FROM list_$ WHERE list = ?").cell<Uint8Array<ArrayBuffer>>(list);
    return floatsOf(bytes as Uint8Array<ArrayBuffer>, this.dims);
  }

  #nextVersion(ns: number): number {
    return (this.#sql("SELECT max(version) FROM list_$ WHERE ns = ?").cell<number | null>(ns) ?? 0) + 1;
  }

  #newList(ns: number, centroid: Float32Array): number {
    return this.#sql("INSERT INTO list_$ (ns, version, centroid) VALUES (?, ?, ?)").insert(
      ns,
      this.#nextVersion(ns),
      bytesOf(centroid),
    );
  }

  #moveList(ns: number, list: number, centroid: Float32Array): void {
    const version = this.#nextVersion(ns);
    this.#sql("UPDATE list_$ SET version = ?, centroid = ? WHERE list = ?").run(version, bytesOf(centroid), list);
  }

  /** The row stays, so that other processes learn of it. */
  #dropList(ns: number, list: number): void {
    this.#sql("UPDATE list_$ SET version = ?, centroid = NULL WHERE list = ?").run(this.#nextVersion(ns), list);
  }

  #flag(list: number): void {
    this.#sql("INSERT OR IGNORE INTO untidy_$ (list) VALUES (?)").run(list);
  }

  #size(list: number): { readonly members: number; readonly tail: number } {
    const [members, tail] = this.#sql("SELECT members, tail FROM size_$ WHERE list = ?").row(list) ?? [0, 0];
    return { members: members as number, tail: tail as number };
  }

  #chunks(list: number): Row[] {
    return this.#sql("SELECT records FROM chunk_$ WHERE part >= ? AND part < ?").all(...parts(list));
  }

  #scanList(list: number): void {
    const tail = this.#sql("SELECT record FROM tail_$ WHERE list = ?").all(list);
    for (const [records] of [...this.#chunks(list), ...tail] as [Uint8Array<ArrayBuffer>][]) {
      this.#scan.take(records);
      records.buffer.transfer(0); // freed now: a search reads 10 MB, and the collector would let 80 MB gather
    }
  }

  #records(list: number): Uint8Array[] {
    const size = recordBytes(this.dims);
    const records: Uint8Array[] = [];
    for (const [chunk] of this.#chunks(list) as [Uint8Array][])
      for (let at = 0; at < chunk.length; at += size) records.push(chunk.subarray(at, at + size));
    return records.concat(this.#sql("SELECT record FROM tail_$ WHERE list = ?").column<Uint8Array<ArrayBuffer>>(list));
  }

  #compared(query: Float32Array, seqs: readonly number[]): Near[] {
    const near: Near[] = [];
    for (const seq of seqs) {
      const vector = this.vectorOf(seq);
      if (vector !== undefined) near.push({ seq, similarity: dot(query, vector) });
    }
    return near.sort((a, b) => b.similarity - a.similarity || a.seq - b.seq);
  }

  #removeFromChunks(list: number, seq: number): void {
    const size = recordBytes(this.dims);
    const rows = this.#sql("SELECT part, records FROM chunk_$ WHERE part >= ? AND part < ?").all(...parts(list));
    for (const [part, records] of rows as [number, Uint8Array][])
      for (let at = 0; at < records.length; at += size) {
        if (seqOf(records.subarray(at, at + size)) !== seq) continue;
        const rest = Buffer.concat([records.subarray(0, at), records.subarray(at + size)]);
        if (rest.length === 0) this.#sql("DELETE FROM chunk_$ WHERE part = ?").run(part);
        else this.#sql("UPDATE chunk_$ SET records = ? WHERE part = ?").run(rest, part);
        return;
      }
    throw new IroriError("bad-file", {
      what: `${this.#connection.path}: vector ${seq} is not in list ${list}`,
      next: "`irori memory doctor --repair` makes the index anew",
    });
  }

  #emptyList(list: number): void {
    this.#sql("DELETE FROM chunk_$ WHERE part >= ? AND part < ?").run(...parts(list));
    this.#sql("DELETE FROM tail_$ WHERE list = ?").run(list);
    this.#sql("DELETE FROM size_$ WHERE list = ?").run(list);
  }

  /** Rows of single records join the last chunk, and new ones. */
  #fold(list: number): void {
    const tail = this.#sql("SELECT record FROM tail_$ WHERE list = ? ORDER BY seq").column<Uint8Array<ArrayBuffer>>(
      list,
    );
    if (tail.length < TAIL) return;
    const last = this.#sql(
      "SELECT part, records FROM chunk_$ WHERE part >= ? AND part < ? ORDER BY part DESC LIMIT 1",
    ).row(...parts(list));
    const [part, records] = (last ?? [list * PARTS - 1, new Uint8Array()]) as [number, Uint8Array];
    const isFull = last === undefined || records.length >= CHUNK * recordBytes(this.dims);
    const first = isFull ? part + 1 : part;
    if (first + Math.ceil((tail.length + CHUNK) / CHUNK) > (list + 1) * PARTS) {
      this.#write(list, this.#records(list)); // the numbers are used up: from the start
      return;
    }
    this.#putChunks(first, isFull ? tail : [records, ...tail]);
    this.#sql("DELETE FROM tail_$ WHERE list = ?").run(list);
    this.#sql("UPDATE size_$ SET tail = 0 WHERE list = ?").run(list);
  }

  /** The list's records are these, and no others. */
  #write(list: number, records: readonly Uint8Array[]): void {
    this.#emptyList(list);
    this.#putChunks(list * PARTS, records);
    this.#sql("INSERT INTO size_$ (list, members, tail) VALUES (?, ?, 0)").run(list, records.length);
  }

  #putChunks(first: number, records: readonly Uint8Array[]): void {
    const bytes = Buffer.concat(records);
    const size = CHUNK * recordBytes(this.dims);
    const put = this.#sql("INSERT OR REPLACE INTO chunk_$ (part, records) VALUES (?, ?)");
    for (let at = 0; at < bytes.length; at += size) put.run(first + at / size, bytes.subarray(at, at + size));
  }

  /** The tail's length afterwards. */
  #addToTail(list: number, record: Uint8Array, seq: number): number {
    this.#sql("INSERT INTO tail_$ (list, seq, record) VALUES (?, ?, ?)").run(list, seq, record);
    // no RETURNING: SQLite makes a table for it at every call
    if (this.#sql("UPDATE size_$ SET members = members + 1, tail = tail + 1 WHERE list = ?").run(list) === 0)
      this.#sql("INSERT INTO size_$ (list, members, tail) VALUES (?, 1, 1)").run(list);
    return this.#size(list).tail;
  }

  /** Two centres instead of one; every member goes to the nearest list of the neighbourhood. */
  #split(ns: number, list: number): void {
    const records = this.#records(list);
    const [first, second] = twoMeans(records, this.dims, seededRandom(list));
    this.#moveList(ns, list, first);
    const other = this.#newList(ns, second);
    const around = [first, second].flatMap((centre) => this.#centroids(ns).near(centre, NEIGHBOURS / 2));
    this.#spread(list, records, [...new Set([list, other, ...around])], new Set([list, other]));
  }

  /** A list that has lost most of its members goes up in its neighbours. */
  #dissolve(ns: number, list: number): void {
    const records = this.#records(list);
    const centre = this.#centroid(list);
    this.#dropList(ns, list);
    this.#spread(list, records, this.#centroids(ns).near(centre, NEIGHBOURS), new Set());
  }

  #spread(list: number, records: readonly Uint8Array[], lists: readonly number[], whole: ReadonlySet<number>): void {
    const places = nearestOf(
      records,
      lists.map((one) => this.#centroid(one)),
      this.dims,
    );
    let groups = Map.groupBy(records.keys(), (i) => lists[places[i] as number] as number);
    // members that no centre tells apart (thousands of one vector) are halved as they come
    const [one, other] = whole;
    if (
      one !== undefined &&
      other !== undefined &&
      [...groups.values()].some(({ length }) => length > records.length * 0.9)
    )
      groups = Map.groupBy(records.keys(), (i) => (i < records.length / 2 ? one : other));
    this.#emptyList(list);
    for (const one of whole)
      this.#write(
        one,
        (groups.get(one) ?? []).map((i) => records[i] as Uint8Array),
      );
    for (const [to, members] of groups) {
      for (const i of members) {
        const record = records[i] as Uint8Array;
        if (to !== list) this.#sql("UPDATE place_$ SET list = ? WHERE seq = ?").run(to, seqOf(record));
        if (!whole.has(to)) this.#addToTail(to, record, seqOf(record));
      }
      const { members: count, tail } = this.#size(to);
      if (tail >= TAIL || count > MOST_MEMBERS) this.#flag(to);
    }
  }
}

const parts = (list: number): [number, number] => [list * PARTS, (list + 1) * PARTS];
const bytesOf = (vector: Float32Array): Uint8Array =>
  new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);

function floatsOf(bytes: Uint8Array<ArrayBuffer>, dims: number): Float32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Float32Array(aligned.buffer, aligned.byteOffset, dims);
}

/** In double precision, one order of adding: the same everywhere. */
export function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}
