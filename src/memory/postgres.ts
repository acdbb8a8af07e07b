// The only file that knows pg: a pool of connections, transactions with savepoints, errors as sentences.
// It does not know tables. The package is optional: it is loaded when a Postgres store is opened.
import type { Pool, PoolClient } from "pg";
import { IroriError } from "../base/mod.ts";

export type Value = string | number | boolean | null | Uint8Array | readonly (string | number | null)[];
export type PgRow = Record<string, unknown>;

/** Whatever runs statements: the pool, or a transaction. */
export interface Session {
  query(sql: string, values?: readonly Value[]): Promise<PgRow[]>;
  /** All of `work` or nothing; inside another one a savepoint. */
  transaction<T>(work: (inside: Session) => Promise<T>): Promise<T>;
}

/** Tries of a transaction that Postgres ended because of another one, where it was begun here. */
const TRIES = 5;
const [SERIALIZATION, DEADLOCK] = ["40001", "40P01"];

export class PostgresPool implements Session, AsyncDisposable {
  readonly #pool: Pool;
  /** Host, port and database, without user and password. */
  readonly place: string;

  private constructor(pool: Pool, place: string) {
    this.#pool = pool;
    this.place = place;
  }

  /** @param url "postgres://user:password@host:port/database" */
  static async open(url: string, connections: number): Promise<PostgresPool> {
    const pg = await import("pg").catch((error: unknown) => {
      throw new IroriError("unsupported", {
        what: "a Postgres store needs the package pg",
        next: "npm install pg",
        cause: error,
      });
    });
    const { Pool, types } = pg.default;
    const place = placeOf(url);
    const pool = new Pool({
      connectionString: url,
      max: connections,
      types: {
        // whole numbers of 64 bits come as numbers: moments and counts fit
        getTypeParser: (oid: number, format?: "text" | "binary") =>
          oid === 20 ? (text: string) => Number(text) : types.getTypeParser(oid, format as "text"),
      },
    });
    pool.on("error", () => undefined); // an idle connection was lost: the next query opens another, or says why not
    const opened = new PostgresPool(pool, place);
    await opened.query("SELECT 1").catch(async (error: unknown) => {
      await pool.end();
      throw error;
    });
    return opened;
  }

  async query(sql: string, values: readonly Value[] = []): Promise<PgRow[]> {
    try {
      return (await this.#pool.query(sql, values as unknown[])).rows as PgRow[];
    } catch (error) {
      throw sentence(error, this.place);
    }
  }

  async transaction<T>(work: (inside: Session) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      const client = await this.#pool.connect().catch((error: unknown) => {
        throw sentence(error, this.place);
      });
      let isBroken = false;
      try {
        await client.query("BEGIN");
        const result = await work(new ClientSession(client, this.place, 0));
        await client.query("COMMIT");
        return result;
      } catch (error) {
        isBroken = await client.query("ROLLBACK").then(
          () => false,
          () => true,
        );
        const code = codeOf(error) ?? codeOf((error as Error).cause);
        if ((code === SERIALIZATION || code === DEADLOCK) && tries < TRIES) continue;
        throw sentence(error, this.place);
      } finally {
        client.release(isBroken);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end();
  }
}

class ClientSession implements Session {
  readonly #client: PoolClient;
  readonly #place: string;
  readonly #depth: number;

  constructor(client: PoolClient, place: string, depth: number) {
    this.#client = client;
    this.#place = place;
    this.#depth = depth;
  }

  async query(sql: string, values: readonly Value[] = []): Promise<PgRow[]> {
    try {
      return (await this.#client.query(sql, values as unknown[])).rows as PgRow[];
    } catch (error) {
      throw sentence(error, this.#place);
    }
  }

  async transaction<T>(work: (inside: Session) => Promise<T>): Promise<T> {
    const name = `s${this.#depth + 1}`;
    await this.query(`SAVEPOINT ${name}`);
    try {
      const result = await work(new ClientSession(this.#client, this.#place, this.#depth + 1));
      await this.query(`RELEASE SAVEPOINT ${name}`);
      return result;
    } catch (error) {
      await this.query(`ROLLBACK TO SAVEPOINT ${name}`);
      throw error;
    }
  }
}

function placeOf(url: string): string {
  try {
    const { hostname, port, pathname } = new URL(url);
    return `${hostname || "localhost"}${port && `:${port}`}${pathname}`;
  } catch (error) {
    throw new IroriError("bad-input", {
      what: "an address of a Postgres server",
      wanted: "postgres://USER@HOST:PORT/DATABASE",
      cause: error,
    });
  }
}

function codeOf(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "string" ? code : undefined;
}

/** Errors of the server and of the network as sentences; the server's own code stays on the cause. */
function sentence(error: unknown, place: string): unknown {
  const code = codeOf(error);
  if (error instanceof IroriError || !(error instanceof Error)) return error;
  if (code === SERIALIZATION || code === DEADLOCK)
    return new IroriError("busy", {
      what: `${place}: others write the same`,
      got: error.message,
      next: "try again",
      cause: error,
    });
  if (code === "53100")
    return new IroriError("io", { what: place, got: error.message, next: "free room on the server", cause: error });
  if (code?.startsWith("28"))
    return new IroriError("bad-input", { what: `${place} refuses the login`, got: error.message, cause: error });
  if (code?.startsWith("08") || code?.startsWith("57") || /^E[A-Z]+$/.test(code ?? ""))
    return new IroriError("io", {
      what: `${place} cannot be reached`,
      got: error.message || code,
      next: "is the server running?",
      cause: error,
    });
  return error;
}
