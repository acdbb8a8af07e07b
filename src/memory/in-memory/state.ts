// All that a store in memory holds, as immutable values in maps: a copy of the maps is a transaction's own view.
// It does not know the contract's rules.
import type { Concept, Link, StoredRecord } from "../data-store.ts";
import type { Episode } from "../episode.ts";

export interface Row {
  readonly seq: number;
  readonly episode: Episode;
  readonly vector: Float32Array;
  readonly fingerprint: string;
  /** How often each term stands in the text. */
  readonly terms: ReadonlyMap<string, number>;
  readonly length: number;
}

export interface NamespaceState {
  readonly rows: Map<string, Row>;
  readonly concepts: Map<string, Concept>;
  /** By source, target and kind. */
  readonly links: Map<string, Link>;
  /** By kind, then by key. */
  readonly records: Map<string, Map<string, StoredRecord>>;
}

export class State {
  readonly namespaces: Map<string, NamespaceState>;
  seq: number;
  /** Vectors of another embedder in the making, by namespace and id. */
  next:
    | {
        readonly id: string;
        readonly dims: number;
        readonly vectors: Map<string, { vector: Float32Array; text: string }>;
      }
    | undefined;

  constructor(namespaces = new Map<string, NamespaceState>(), seq = 0, next: State["next"] = undefined) {
    this.namespaces = namespaces;
    this.seq = seq;
    this.next = next;
  }

  fork(): State {
    const namespaces = [...this.namespaces].map(
      ([name, { rows, concepts, links, records }]): [string, NamespaceState] => [
        name,
        {
          rows: new Map(rows),
          concepts: new Map(concepts),
          links: new Map(links),
          records: new Map([...records].map(([kind, of]) => [kind, new Map(of)])),
        },
      ],
    );
    const next = this.next && { ...this.next, vectors: new Map(this.next.vectors) };
    return new State(new Map(namespaces), this.seq, next);
  }

  find(name: string): NamespaceState | undefined {
    return this.namespaces.get(name);
  }
  make(name: string): NamespaceState {
    const known = this.namespaces.get(name) ?? {
      rows: new Map(),
      concepts: new Map(),
      links: new Map(),
      records: new Map(),
    };
    this.namespaces.set(name, known);
    return known;
  }
}

export const linkKey = ({ source, target, kind }: { source: string; target: string; kind: string }): string =>
  `${source}\n${target}\n${kind}`;
