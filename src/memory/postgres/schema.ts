// The tables of a store on Postgres. The namespace leads every key, so that they can be distributed by it.
// It does not know what reads them.
import { IroriError } from "../../base/mod.ts";
import type { EmbedderIdentity } from "../data-store.ts";
import type { Session } from "../postgres.ts";

const SCHEMA_VERSION = 1;
/** Whoever makes or migrates tables holds this lock of the database. */
const MIGRATION_LOCK = 0x49524f52;

/*
 * terms     every term of the text behind its namespace ("ns·term"), repeats kept: one GIN index serves all namespaces
 * vector_N  vectors of one embedder; pgvector's HNSW finds them where a namespace is large
 */
const tables = `
  CREATE TABLE meta (key text PRIMARY KEY, value text NOT NULL);
  CREATE SEQUENCE episode_seq;
  CREATE TABLE episode (
    namespace text NOT NULL, id text COLLATE "C" NOT NULL, seq bigint NOT NULL DEFAULT nextval('episode_seq'), key text, fingerprint bytea NOT NULL,
    kind text NOT NULL, user_name text, agent_name text, thread_name text, uri text, source text, metadata jsonb NOT NULL,
    confidence double precision NOT NULL, recorded_at bigint NOT NULL, valid_from bigint, valid_to bigint, closed_at bigint,
    is_retracted boolean NOT NULL DEFAULT false, superseded_by text, expires_at bigint, is_pinned boolean NOT NULL,
    repeats integer NOT NULL DEFAULT 0, seen_at bigint NOT NULL, uses integer NOT NULL DEFAULT 0, version integer NOT NULL DEFAULT 1,
    text text NOT NULL, terms text[] NOT NULL, PRIMARY KEY (namespace, id)
  );
  CREATE UNIQUE INDEX episode_key ON episode (namespace, key) WHERE key IS NOT NULL;
  CREATE INDEX episode_order ON episode (namespace, seq);
  CREATE INDEX episode_fingerprint ON episode (namespace, fingerprint);
  CREATE INDEX episode_recorded ON episode (namespace, recorded_at);
  CREATE INDEX episode_user ON episode (namespace, user_name) WHERE user_name IS NOT NULL;
  CREATE INDEX episode_thread ON episode (namespace, thread_name) WHERE thread_name IS NOT NULL;
  CREATE INDEX episode_superseded ON episode (namespace, superseded_by) WHERE superseded_by IS NOT NULL;
  CREATE INDEX episode_metadata ON episode USING gin (metadata jsonb_path_ops);
  CREATE INDEX episode_terms ON episode USING gin (terms);
  CREATE TABLE concept (namespace text NOT NULL, id text COLLATE "C" NOT NULL, kind text NOT NULL, name text NOT NULL,
    attributes text NOT NULL, is_pinned boolean NOT NULL, PRIMARY KEY (namespace, id));
  CREATE INDEX concept_name ON concept (namespace, kind, name);
  CREATE TABLE link (namespace text NOT NULL, source text COLLATE "C" NOT NULL, target text COLLATE "C" NOT NULL, kind text COLLATE "C" NOT NULL,
    weight double precision NOT NULL, attributes text NOT NULL, recorded_at bigint NOT NULL, PRIMARY KEY (namespace, source, target, kind));
  CREATE INDEX link_back ON link (namespace, target);
  CREATE TABLE record (namespace text NOT NULL, kind text NOT NULL, key text COLLATE "C" NOT NULL, tag text, body text NOT NULL,
    recorded_at bigint NOT NULL, PRIMARY KEY (namespace, kind, key));
`;

export const spaceTables = (space: number, dims: number): string => `
  CREATE TABLE vector_${space} (namespace text NOT NULL, id text COLLATE "C" NOT NULL, embedding vector(${dims}) NOT NULL, PRIMARY KEY (namespace, id));
  CREATE INDEX vector_near_${space} ON vector_${space} USING hnsw (embedding vector_cosine_ops) WITH (m = 16, ef_construction = 96);
`;

export interface Spaces {
  readonly active: EmbedderIdentity & { readonly number: number };
  readonly next?: (EmbedderIdentity & { readonly number: number }) | undefined;
}

export async function spacesOf(session: Session): Promise<Spaces> {
  const [row] = await session.query("SELECT value FROM meta WHERE key = 'spaces'");
  return JSON.parse(row?.value as string) as Spaces;
}

export async function keepSpaces(session: Session, spaces: Spaces): Promise<void> {
  await session.query("UPDATE meta SET value = $1 WHERE key = 'spaces'", [JSON.stringify(spaces)]);
}

/** Makes the tables where there are none. Throws "unsupported" without pgvector or for a newer store, "conflict" for another embedder. */
export async function prepareSchema(session: Session, embedder: EmbedderIdentity, place: string): Promise<void> {
  await session.transaction(async (inside) => {
    await inside.query("SELECT pg_advisory_xact_lock($1)", [MIGRATION_LOCK]);
    const [found] = await inside.query("SELECT to_regclass('meta') IS NOT NULL AS is_there");
    if (found?.is_there !== true) await create(inside, embedder, place);
  });
  const [row] = await session.query("SELECT value FROM meta WHERE key = 'schema'");
  if (Number(row?.value) > SCHEMA_VERSION)
    throw new IroriError("unsupported", {
      what: `the store at ${place} was written by a newer Irori`,
      got: `schema ${row?.value}`,
      wanted: `at most ${SCHEMA_VERSION}`,
      next: "update Irori",
    });
  const { active } = await spacesOf(session);
  if (active.id !== embedder.id || active.dims !== embedder.dims)
    throw new IroriError("conflict", {
      what: `${place} holds vectors of another embedder`,
      got: `${embedder.id} (${embedder.dims} numbers)`,
      wanted: `${active.id} (${active.dims} numbers)`,
      next: `open it with ${active.id}, or change it with \`irori memory reindex --embedder ${embedder.id}\``,
    });
}

async function create(session: Session, { id, dims }: EmbedderIdentity, place: string): Promise<void> {
  const [available] = await session.query("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'");
  if (available === undefined)
    throw new IroriError("unsupported", {
      what: `${place} has no pgvector`,
      next: "install the extension vector, 0.8 or newer",
    });
  await session.query("CREATE EXTENSION IF NOT EXISTS vector");
  await session.query(tables + spaceTables(1, dims));
  await session.query("INSERT INTO meta (key, value) VALUES ('schema', $1), ('spaces', $2)", [
    String(SCHEMA_VERSION),
    JSON.stringify({ active: { id, dims, number: 1 } } satisfies Spaces),
  ]);
}
