// Which embedder's vectors are in use, and which are being made beside them. Everything runs inside the caller's transaction.
// It does not know episodes.
import { IroriError } from "../../base/mod.ts";
import type { EmbedderIdentity } from "../data-store.ts";
import { unitVector } from "../episode.ts";
import type { Connection } from "../sqlite.ts";
import { noReindex } from "../store-errors.ts";
import { VectorLists } from "../vectors/lists.ts";
import { SPACE_TABLES, spaceTables } from "./schema.ts";

/** Lists searched of a namespace that is not searched whole, until the index finds that it needs more. */
const START_PROBES = 64;

interface Space extends EmbedderIdentity {
  readonly number: number;
  readonly probes: number;
}

interface Spaces {
  readonly active: Space;
  /** Being filled by `reindex`. */
  readonly next?: Space | undefined;
}

export class VectorSpaces {
  readonly #connection: Connection;
  readonly #expected: EmbedderIdentity;
  /** What `#spaces` was read from. */
  #text: string | undefined;
  #spaces: Spaces | undefined;
  #active: VectorLists | undefined;
  #next: VectorLists | undefined;

  /** @param expected whose vectors the caller will hand in */
  constructor(connection: Connection, expected: EmbedderIdentity) {
    this.#connection = connection;
    this.#expected = expected;
  }

  /** The first space of a new store. */
  static create(connection: Connection, embedder: EmbedderIdentity): void {
    const active: Space = { ...embedder, number: 1, probes: START_PROBES };
    connection.exec(spaceTables(1));
    connection.sql("INSERT INTO meta (key, value) VALUES ('spaces', ?)").run(JSON.stringify({ active }));
  }

  static read(connection: Connection): Spaces | undefined {
    const value = connection.sql("SELECT value FROM meta WHERE key = 'spaces'").cell<string>();
    return value === undefined ? undefined : (JSON.parse(value) as Spaces);
  }

  get dims(): number {
    return this.#expected.dims;
  }
  get probes(): number {
    return this.#now().active.probes;
  }
  get next(): EmbedderIdentity | undefined {
    return this.#now().next;
  }
  get activeNumber(): number {
    return this.#now().active.number;
  }
  get nextNumber(): number | undefined {
    return this.#now().next?.number;
  }
  /** The lists in use. Throws "conflict" where another process has put another embedder's in their place. */
  get lists(): VectorLists {
    this.#now();
    return this.#active as VectorLists;
  }
  get nextLists(): VectorLists | undefined {
    this.#now();
    return this.#next;
  }

  forget(): void {
    this.#text = undefined;
    this.#active?.forget();
    this.#next?.forget();
  }

  add(ns: number, seq: number, vector: Float32Array): void {
    this.lists.add(ns, seq, vector);
  }
  remove(seq: number): void {
    this.lists.remove(seq);
    this.#next?.remove(seq);
  }
  /** The new embedder, if any, will see the episode again. */
  replace(ns: number, seq: number, vector: Float32Array): void {
    this.remove(seq);
    this.add(ns, seq, vector);
  }
  removeAll(ns: number): void {
    this.lists.removeAll(ns);
    this.#next?.removeAll(ns);
  }

  begin(embedder: EmbedderIdentity): void {
    const { active, next } = this.#now();
    if (next?.id === embedder.id && next.dims === embedder.dims) return;
    if (next !== undefined) this.#drop(next.number);
    const number = Math.max(active.number, next?.number ?? 0) + 1;
    this.#connection.exec(spaceTables(number));
    this.#keep({ active, next: { ...embedder, number, probes: START_PROBES } });
  }

  addNext(ns: number, seq: number, vector: Float32Array): void {
    const lists = this.nextLists;
    if (lists === undefined) throw noReindex();
    lists.remove(seq);
    lists.add(ns, seq, unitVector(vector, lists.dims));
  }

  finish(): void {
    const { active, next } = this.#now();
    if (next === undefined) throw noReindex();
    this.#keep({ active: next });
    this.#drop(active.number);
  }

  setProbes(probes: number): void {
    const { active, next } = this.#now();
    this.#keep({ active: { ...active, probes }, next });
  }

  /** Derived anew from the vectors: centroids, lists, codes. */
  rebuild(rows: Iterable<{ readonly ns: number; readonly seq: number; readonly vector: Float32Array }>): void {
    const { active, next } = this.#now();
    const number = Math.max(active.number, next?.number ?? 0) + 1;
    this.#connection.exec(spaceTables(number));
    const lists = new VectorLists(this.#connection, number, active.dims);
    for (const { ns, seq, vector } of rows) {
      lists.add(ns, seq, vector);
      for (const list of lists.untidy(64)) lists.tidy(list);
    }
    this.#keep({ active: { ...active, number }, next });
    this.#drop(active.number);
  }

  #keep(spaces: Spaces): void {
    this.#connection.sql("UPDATE meta SET value = ? WHERE key = 'spaces'").run(JSON.stringify(spaces));
    this.#text = undefined;
  }

  #drop(number: number): void {
    this.#connection.forgetStatements();
    for (const table of SPACE_TABLES) this.#connection.exec(`DROP TABLE ${table}_${number}`);
  }

  /** As the store has it now; read again where anybody has changed the file. */
  #now(): Spaces {
    const text = this.#connection.sql("SELECT value FROM meta WHERE key = 'spaces'").cell<string>() as string;
    if (this.#spaces !== undefined && this.#text === text) return this.#spaces;
    const spaces = JSON.parse(text) as Spaces;
    const { active, next } = spaces;
    if (active.id !== this.#expected.id || active.dims !== this.#expected.dims)
      throw new IroriError("conflict", {
        what: `${this.#connection.path} was given another embedder in between`,
        got: this.#expected.id,
        wanted: active.id,
        next: `open it again with ${active.id}`,
      });
    if (this.#spaces?.active.number !== active.number)
      this.#active = new VectorLists(this.#connection, active.number, active.dims);
    if (this.#spaces?.next?.number !== next?.number)
      this.#next = next && new VectorLists(this.#connection, next.number, next.dims);
    this.#spaces = spaces;
    this.#text = text;
    return spaces;
  }
}
