// The only file that knows node:sqlite: one connection, its statements, its transactions, its errors as sentences.
// It does not know tables. Synchronous: it is opened in a worker (sqlite/worker.ts).
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { backup, DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from "node:sqlite";
import { IroriError } from "../base/mod.ts";

export type Cell = SQLInputValue;
export type Row = SQLOutputValue[];

export interface ConnectionOptions {
  readonly path: string;
  readonly isReadOnly: boolean;
  /** How long a write waits for other processes. */
  readonly patienceMs: number;
  /** Pages kept in memory. */
  readonly cacheBytes: number;
}

/** Longest name of a holder: "1234567890 since 1234567890123". */
const HOLDER_BYTES = 64;
const [BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, TOOBIG, NOTADB] = [5, 6, 8, 10, 11, 13, 14, 18, 26];
const sleeper = new Int32Array(new SharedArrayBuffer(4));

export class Connection {
  readonly path: string;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, Statement>();
  readonly #patienceMs: number;
  /** A file beside the database in which whoever takes the write lock leaves its process id. */
  readonly #holder: number | undefined;
  #savepoints = 0;
  /** Called after a transaction, or a part of it, was undone: what was kept in memory of it is void. */
  onUndone: () => void = () => undefined;

  constructor({ path, isReadOnly, patienceMs, cacheBytes }: ConnectionOptions) {
    this.path = path;
    this.#patienceMs = patienceMs;
    this.#db = this.#said(() => new DatabaseSync(path, { readOnly: isReadOnly, timeout: patienceMs }));
    try {
      this.#holder = isReadOnly
        ? undefined
        : this.#said(() => openSync(`${path}-holder`, constants.O_RDWR | constants.O_CREAT));
      if (!isReadOnly) {
        this.exec("PRAGMA page_size = 8192"); // of a new file: a list is read in half as many steps
        this.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON");
        // a commit that finds the log so long (64 MB) shortens it: whoever holds the connection does it earlier, in quiet
        this.exec("PRAGMA wal_autocheckpoint = 16384");
      }
      // `trusted_schema` off: a file from elsewhere runs nothing of its own
      this.exec(
        `PRAGMA cache_size = -${Math.round(cacheBytes / 1024)}; PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF`,
      );
      this.exec("PRAGMA foreign_keys = OFF; PRAGMA cell_size_check = ON");
      if (!isReadOnly) this.exec("PRAGMA busy_timeout = 0"); // writes wait in `begin`, with a deadline and a sentence
    } catch (error) {
      this.close();
      throw error;
    }
  }

  exec(sql: string): void {
    this.#said(() => this.#db.exec(sql));
  }

  /** The statement, prepared once. Rows come as arrays. */
  sql(text: string): Statement {
    const known = this.#statements.get(text);
    if (known !== undefined) return known;
    const statement = new Statement(
      this.#said(() => this.#db.prepare(text)),
      (work) => this.#said(work),
    );
    this.#statements.set(text, statement);
    return statement;
  }

  /** Forgets the statements of tables that are about to go. */
  forgetStatements(): void {
    this.#statements.clear();
  }

  get isWriting(): boolean {
    return this.#db.isTransaction;
  }

  /** Begins a write transaction, or a savepoint inside one. Throws "busy" after the patience, naming the holder. */
  begin(): void {
    if (this.isWriting) {
      this.exec(`SAVEPOINT s${++this.#savepoints}`);
      return;
    }
    const start = performance.now();
    for (let tries = 0; ; tries++) {
      try {
        this.#db.exec("BEGIN IMMEDIATE");
        if (this.#holder !== undefined) writeHolder(this.#holder);
        return;
      } catch (error) {
        if (primaryCode(error) !== BUSY) throw this.#sentence(error);
        if (performance.now() - start > this.#patienceMs) throw this.#busy(error);
      }
      // contenders spread out by their process ids, so that none is always too late
      Atomics.wait(sleeper, 0, 0, 1 + ((tries + process.pid) % 4) * 0.5);
    }
  }

  /** Ends the innermost savepoint, or makes the transaction durable: it is on the disk when this returns. */
  commit(): void {
    if (this.#savepoints > 0) this.exec(`RELEASE s${this.#savepoints--}`);
    else this.exec("COMMIT");
  }

  /** Undoes the innermost savepoint or the transaction. SQLite has already done so after some errors of the disk. */
  rollback(): void {
    try {
      if (!this.isWriting) return;
      if (this.#savepoints > 0) this.exec(`ROLLBACK TO s${this.#savepoints}; RELEASE s${this.#savepoints}`);
      else this.exec("ROLLBACK");
    } finally {
      this.#savepoints = this.isWriting ? Math.max(0, this.#savepoints - 1) : 0;
      this.onUndone();
    }
  }

  /** All or nothing, durable when it returns. */
  write<T>(work: () => T): T {
    this.begin();
    try {
      const result = work();
      this.commit();
      return result;
    } catch (error) {
      this.rollback();
      throw error;
    }
  }

  /** One unchanging view of the store, even while others write. */
  read<T>(work: () => T): T {
    if (this.isWriting) return work();
    this.exec("BEGIN");
    try {
      return work();
    } finally {
      if (this.isWriting) this.exec("COMMIT");
    }
  }

  /** A copy that is whole although others write meanwhile. */
  async copyTo(path: string, onProgress: (done: number, total: number) => void): Promise<void> {
    const progress = ({ totalPages, remainingPages }: { totalPages: number; remainingPages: number }) =>
      onProgress(totalPages - remainingPages, totalPages);
    await backup(this.#db, path, { rate: 2000, progress }).catch((error: unknown) => {
      throw this.#sentence(error);
    });
  }

  close(): void {
    this.#statements.clear();
    if (this.#holder !== undefined) closeSync(this.#holder);
    if (this.#db?.isOpen) this.#db.close();
  }

  #said<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw this.#sentence(error);
    }
  }

  #busy(cause: unknown): IroriError {
    const { pid, sinceMs } = readHolder(this.#holder);
    const who = pid === undefined ? "another process" : `process ${pid}`;
    return new IroriError("busy", {
      what: `${this.path} is being written by ${who}${sinceMs === undefined ? "" : `, which took it ${(sinceMs / 1000).toFixed(1)} s ago`}`,
      got: `no turn in ${(this.#patienceMs / 1000).toFixed(1)} s`,
      next: pid === undefined ? "try again" : `try again, or look at what process ${pid} does`,
      cause,
    });
  }

  #sentence(error: unknown): unknown {
    const code = primaryCode(error);
    const { message, code: system } = error as NodeJS.ErrnoException;
    const parts = { what: this.path, got: message, cause: error };
    if (code === undefined)
      return /^E[A-Z]+$/.test(system ?? "")
        ? new IroriError("io", { ...parts, next: "check that the file and its folder can be written" })
        : error;
    if (code === BUSY || code === LOCKED) return this.#busy(error);
    if (code === CORRUPT || code === NOTADB)
      return new IroriError("bad-file", {
        ...parts,
        wanted: "a whole store",
        next: "restore a backup, or save what can be read with `irori memory export`",
      });
    if (code === FULL)
      return new IroriError("io", { ...parts, next: "nothing of this write was kept; free some room" });
    if (code === READONLY || code === CANTOPEN)
      return new IroriError("io", { ...parts, next: "check that the file and its folder can be written" });
    if (code === IOERR)
      return new IroriError("io", { ...parts, next: "nothing of this write was kept; check the disk" });
    if (code === TOOBIG) return new IroriError("bad-input", parts);
    return error;
  }
}

/** A prepared statement whose rows are arrays in the order of its columns. */
class Statement {
  readonly #statement: StatementSync;
  readonly #said: <T>(work: () => T) => T;

  constructor(statement: StatementSync, said: <T>(work: () => T) => T) {
    statement.setReturnArrays(true);
    this.#statement = statement;
    this.#said = said;
  }
  all(...cells: Cell[]): Row[] {
    return this.#said(() => this.#statement.all(...cells)) as unknown as Row[];
  }
  row(...cells: Cell[]): Row | undefined {
    return this.#said(() => this.#statement.get(...cells)) as unknown as Row | undefined;
  }
  /** The first column of the first row. */
  cell<T extends SQLOutputValue>(...cells: Cell[]): T | undefined {
    return this.row(...cells)?.[0] as T | undefined;
  }
  /** The first column of every row. */
  column<T extends SQLOutputValue>(...cells: Cell[]): T[] {
    return this.all(...cells).map((row) => row[0] as T);
  }
  /** How many rows changed. */
  run(...cells: Cell[]): number {
    return Number(this.#said(() => this.#statement.run(...cells)).changes);
  }
  /** The number of the row that was added. */
  insert(...cells: Cell[]): number {
    return Number(this.#said(() => this.#statement.run(...cells)).lastInsertRowid);
  }
}

/** SQLite's error without its extension bits; undefined for what is no error of SQLite. */
function primaryCode(error: unknown): number | undefined {
  const { errcode } = error as { errcode?: unknown };
  return error instanceof Error && typeof errcode === "number" ? errcode & 0xff : undefined;
}

function writeHolder(file: number): void {
  writeSync(file, `${process.pid} since ${Date.now()}`.padEnd(HOLDER_BYTES), 0, "latin1");
}

function readHolder(file: number | undefined): { readonly pid?: number; readonly sinceMs?: number } {
  if (file === undefined) return {};
  const bytes = Buffer.alloc(HOLDER_BYTES);
  const found = /^(\d+) since (\d+)/.exec(bytes.toString("latin1", 0, readSync(file, bytes, 0, HOLDER_BYTES, 0)));
  return found ? { pid: Number(found[1]), sinceMs: Date.now() - Number(found[2]) } : {};
}
