// The text index: terms of an episode in FTS5, each behind its namespace, so that no other namespace's episode can match.
// Terms of added texts come ready; those of removed ones are made here. It does not know episodes.
import type { Connection } from "../sqlite.ts";

/** Postings that one question may read: about 10 ms. Its commonest terms are left out where they would exceed it. */
const MOST_POSTINGS = 25_000;
/** Terms of a question that are looked at, the rarest. */
const MOST_TERMS = 32;

export class TermIndex {
  readonly #connection: Connection;

  #termsOf: ((text: string) => string[]) | undefined;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Needed before a text is removed; by itself the index only adds and finds, so that a store opens without it. */
  learn(termsOf: (text: string) => string[]): void {
    this.#termsOf = termsOf;
  }

  termsOf(text: string): string[] {
    if (this.#termsOf === undefined) throw new Error("the text index has not learnt what terms are");
    return this.#termsOf(text);
  }

  /** @param terms with a space between */
  add(ns: number, seq: number, terms: string): void {
    this.#connection.sql("INSERT INTO term_index (rowid, terms) VALUES (?, ?)").run(seq, written(ns, terms));
  }

  /** The text must be the one whose terms were added. */
  remove(ns: number, seq: number, text: string): void {
    const terms = this.termsOf(text).join(" ");
    this.#connection
      .sql("INSERT INTO term_index (term_index, rowid, terms) VALUES ('delete', ?, ?)")
      .run(seq, written(ns, terms));
  }

  counts(ns: number, terms: readonly string[]): number[] {
    const one = this.#connection.sql("SELECT doc FROM term_count WHERE term = ?");
    return terms.map((term) => one.cell<number>(marked(ns, term)) ?? 0);
  }

  /** Numbers and BM25 scores, best first: all that match the question's telling terms. */
  search(ns: number, terms: readonly string[], limit: number): [seq: number, score: number][] {
    const telling = this.#telling(ns, [...new Set(terms)]);
    if (telling.length === 0) return [];
    const question = this.question(ns, telling);
    const rows = this.#connection
      .sql("SELECT rowid, -bm25(term_index) FROM term_index WHERE term_index MATCH ? ORDER BY rank, rowid LIMIT ?")
      .all(question, limit);
    return rows as [number, number][];
  }

  /** A question in FTS5's language: any of the terms. */
  question(ns: number, terms: readonly string[]): string {
    return terms.map((term) => `"${marked(ns, term)}"`).join(" OR ");
  }

  /** The rarest known terms, as many as may be read; at least one. */
  #telling(ns: number, terms: readonly string[]): string[] {
    const counts = this.counts(ns, terms);
    const known = terms
      .map((term, i) => ({ term, count: counts[i] as number }))
      .filter(({ count }) => count > 0)
      .sort((a, b) => a.count - b.count)
      .slice(0, MOST_TERMS);
    const telling: string[] = [];
    let postings = 0;
    for (const { term, count } of known) {
      postings += count;
      if (postings > MOST_POSTINGS && telling.length > 0) break;
      telling.push(term);
    }
    return telling;
  }
}

/** "·" is a letter to the tokenizer "ascii" and never part of a term. */
const mark = (ns: number): string => `${ns.toString(36)}·`;
const marked = (ns: number, term: string): string => mark(ns) + term.replaceAll('"', "");
const written = (ns: number, terms: string): string =>
  terms === "" ? "" : mark(ns) + terms.replaceAll(" ", ` ${mark(ns)}`);
