// Rows of the tables as plain data and back, and namespaces by number.
// It does not know searching, nor transactions.
import { IroriError } from "../../base/mod.ts";
import type { NodeRef } from "../data-store.ts";
import { checkName, type Episode, type EpisodeKind, type Json, type Provenance } from "../episode.ts";
import { partsOf } from "../node-ref.ts";
import type { Connection, Row } from "../sqlite.ts";

/** Columns in the order that `episodeOf` reads them. */
export const EPISODE_COLUMNS =
  "e.seq, e.id, e.key, e.text, e.kind, e.user_name, e.agent_name, e.thread_name, e.source, e.metadata, e.confidence, " +
  "e.recorded_at, e.valid_from, e.valid_to, e.closed_at, e.is_retracted, e.superseded_by, e.expires_at, e.is_pinned, " +
  "e.repeats, e.seen_at, e.uses, e.version";

const orAbsent = <T>(value: unknown): T | undefined => (value === null ? undefined : (value as T));

export function episodeOf(namespace: string, row: Row): Episode {
  const source = orAbsent<string>(row[8]);
  return {
    id: row[1] as string,
    namespace,
    key: orAbsent<string>(row[2]),
    text: row[3] as string,
    kind: row[4] as EpisodeKind,
    user: orAbsent<string>(row[5]),
    agent: orAbsent<string>(row[6]),
    thread: orAbsent<string>(row[7]),
    source: source === undefined ? undefined : (JSON.parse(source) as Provenance),
    metadata: JSON.parse(row[9] as string) as Record<string, Json>,
    confidence: row[10] as number,
    recordedAt: row[11] as number,
    validFrom: orAbsent<number>(row[12]),
    validTo: orAbsent<number>(row[13]),
    closedAt: orAbsent<number>(row[14]),
    isRetracted: row[15] === 1,
    supersededBy: orAbsent<string>(row[16]),
    expiresAt: orAbsent<number>(row[17]),
    isPinned: row[18] === 1,
    repeats: row[19] as number,
    seenAt: row[20] as number,
    uses: row[21] as number,
    version: row[22] as number,
  };
}

/** Numbers of namespaces; one is made where something is first written into it. */
export class Namespaces {
  readonly #connection: Connection;
  readonly #numbers = new Map<string, number>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  forget(): void {
    this.#numbers.clear();
  }

  find(name: string): number | undefined {
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    checkName("a namespace", name);
    const found = this.#connection.sql("SELECT ns FROM namespace WHERE name = ?").cell<number>(name);
    if (found !== undefined) this.#numbers.set(name, found);
    return found;
  }

  /** Inside a write transaction. */
  make(name: string): number {
    const found = this.find(name);
    if (found !== undefined) return found;
    const ns = this.#connection.sql("INSERT INTO namespace (name) VALUES (?)").insert(name);
    this.#numbers.set(name, ns);
    return ns;
  }

  all(): { readonly ns: number; readonly name: string; readonly episodes: number }[] {
    const rows = this.#connection.sql("SELECT ns, name, episodes FROM namespace ORDER BY name").all();
    return rows.map(([ns, name, episodes]) => ({
      ns: ns as number,
      name: name as string,
      episodes: episodes as number,
    }));
  }

  episodes(ns: number): number {
    return this.#connection.sql("SELECT episodes FROM namespace WHERE ns = ?").cell<number>(ns) ?? 0;
  }

  /** Inside a write transaction. */
  count(ns: number, more: number): void {
    this.#connection.sql("UPDATE namespace SET episodes = episodes + ? WHERE ns = ?").run(more, ns);
  }
}

/** The number of a node in links: an episode's own, a concept's negative. */
export class Nodes {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  find(ns: number, ref: NodeRef): number | undefined {
    const [kind, id] = partsOf(ref);
    if (kind === "episode")
      return this.#connection.sql("SELECT seq FROM episode WHERE ns = ? AND id = ?").cell<number>(ns, id);
    const seq = this.#connection.sql("SELECT seq FROM concept WHERE ns = ? AND id = ?").cell<number>(ns, id);
    return seq === undefined ? undefined : -seq;
  }

  ref(node: number): NodeRef {
    const table = node > 0 ? "episode" : "concept";
    const id = this.#connection.sql(`SELECT id FROM ${table} WHERE seq = ?`).cell<string>(Math.abs(node));
    if (id === undefined)
      throw new IroriError("bad-file", {
        what: `${this.#connection.path}: a link leads to ${table} ${Math.abs(node)}, which is not there`,
        next: "`irori memory doctor --repair` removes such links",
      });
    return `${table}:${id}`;
  }
}
