// Long work in one SQLite file: jobs with their results, and finished parts of summaries. Synchronous: it is opened in a thread
// (worker.ts). The only file of serve/ that knows node:sqlite. It does not know what a job does.
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { IroriError } from "../../base/mod.ts";

export type JobStatus = "queued" | "running" | "done" | "failed" | "cancelled";

export interface Job {
  readonly id: string;
  readonly caller: string;
  /** The route that does it, and what it is sent. */
  readonly url: string;
  readonly body: string;
  readonly status: JobStatus;
  /** How often it was begun. */
  readonly attempts: number;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
  /** HTTP status and body of the answer, once there is one. */
  readonly answerStatus: number | null;
  readonly answer: string | null;
}

export interface NewJob {
  readonly id: string;
  readonly caller: string;
  /** The caller's own name for it: submitted twice, it is one job. */
  readonly key: string | null;
  readonly url: string;
  readonly body: string;
  readonly now: number;
  /** Jobs that may wait at most. */
  readonly most: number;
}

export type Submitted =
  | { readonly as: "new" | "known"; readonly job: Job }
  | { readonly as: "conflict"; readonly job: Job }
  | { readonly as: "full"; readonly waiting: number };

/** Who works: a process, and which start of it. A process id alone may be somebody else's by now. */
export interface Owner {
  readonly pid: number;
  readonly run: string;
}

const SCHEMA = `
CREATE TABLE job (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, caller TEXT NOT NULL, key TEXT, url TEXT NOT NULL, body TEXT NOT NULL,
  status TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL, started INTEGER,
  ended INTEGER, not_before INTEGER NOT NULL DEFAULT 0, owner_pid INTEGER, owner_run TEXT, held_until INTEGER, answer_status INTEGER, answer TEXT,
  UNIQUE (caller, key)
);
CREATE INDEX job_by_status ON job (status, caller);
CREATE TABLE part (key TEXT PRIMARY KEY, value TEXT NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;`;
const VERSION = 1;
const BRIEF =
  "id, caller, url, status, attempts, created AS createdAt, started AS startedAt, ended AS endedAt, answer_status AS answerStatus";
const JOB = `${BRIEF}, body, answer`;

export class WorkFile {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** Opens or makes the file; ":memory:" for one that nobody keeps. Throws "bad-file" for what is none of ours. */
  constructor(path: string) {
    try {
      this.#db = new DatabaseSync(path, { timeout: 10_000 });
      this.#db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF");
    } catch (cause) {
      throw new IroriError("bad-file", { what: `${path} cannot be opened`, got: String(cause), cause });
    }
    this.#write(() => {
      const { user_version: version } = this.#sql("PRAGMA user_version").get() as { user_version: number };
      if (version === 0) this.#db.exec(SCHEMA);
      else if (version !== VERSION)
        throw new IroriError("bad-file", {
          ...{ what: `${path} is of another version`, got: version, wanted: VERSION },
          next: "use the Irori that wrote it, or move the file away",
        });
    });
  }

  #sql(text: string): StatementSync {
    const known = this.#statements.get(text) ?? this.#db.prepare(text);
    this.#statements.set(text, known);
    return known;
  }
  #write<T>(work: () => T): T {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      const made = work();
      this.#db.exec("COMMIT");
      return made;
    } catch (error) {
      this.#db.exec("ROLLBACK");
      throw error;
    }
  }
  #job(where: string, ...values: (string | number)[]): Job | undefined {
    return this.#sql(`SELECT ${JOB} FROM job WHERE ${where}`).get(...values) as Job | undefined;
  }

  submit({ id, caller, key, url, body, now, most }: NewJob): Submitted {
    return this.#write(() => {
      const known = key === null ? undefined : this.#job("caller = ? AND key = ?", caller, key);
      if (known !== undefined)
        return { as: known.url === url && known.body === body ? "known" : "conflict", job: known };
      const { n } = this.#sql("SELECT count(*) AS n FROM job WHERE status = 'queued'").get() as { n: number };
      if (n >= most) return { as: "full", waiting: n };
      this.#sql(
        "INSERT INTO job (id, caller, key, url, body, status, created) VALUES (?, ?, ?, ?, ?, 'queued', ?)",
      ).run(...[id, caller, key, url, body, now]);
      return { as: "new", job: this.#job("id = ?", id) as Job };
    });
  }

  /** The next job, now the owner's: of callers that have least running the one that waited longest. */
  claim(owner: Owner, now: number, until: number): Job | undefined {
    return this.#write(() => {
      const next = this.#sql(
        `SELECT id FROM job AS j WHERE status = 'queued' AND not_before <= ?
         ORDER BY (SELECT count(*) FROM job AS r WHERE r.status = 'running' AND r.caller = j.caller), seq LIMIT 1`,
      ).get(now) as { id: string } | undefined;
      if (next === undefined) return undefined;
      this.#sql(
        "UPDATE job SET status = 'running', attempts = attempts + 1, started = ?, owner_pid = ?, owner_run = ?, held_until = ? WHERE id = ?",
      ).run(now, owner.pid, owner.run, until, next.id);
      return this.#job("id = ?", next.id);
    });
  }

  /** Says that the owner is alive. */
  renew(owner: Owner, until: number): void {
    this.#sql("UPDATE job SET held_until = ? WHERE owner_run = ? AND status = 'running'").run(until, owner.run);
  }

  /** The result, written once: false where the job is not this owner's any more. */
  finish(
    id: string,
    owner: Owner,
    end: { status: "done" | "failed"; code: number; answer: string; now: number },
  ): boolean {
    const { changes } = this.#sql(
      `UPDATE job SET status = ?, answer_status = ?, answer = ?, ended = ?, owner_run = NULL
       WHERE id = ? AND status = 'running' AND owner_run = ?`,
    ).run(end.status, end.code, end.answer, end.now, id, owner.run);
    return changes === 1;
  }

  /** To be done again, by anybody. `wasLost`: what did it died of it, perhaps. False where it is not this owner's any more. */
  putBack(id: string, owner: Owner, notBefore: number, wasLost: boolean): boolean {
    const { changes } = this.#sql(
      `UPDATE job SET status = 'queued', not_before = ?, lost = lost + ?, attempts = attempts - ?, owner_run = NULL
       WHERE id = ? AND status = 'running' AND owner_run = ?`,
    ).run(notBefore, wasLost ? 1 : 0, wasLost ? 0 : 1, id, owner.run);
    return changes === 1;
  }

  /** Jobs of owners that are gone wait again; those that were lost too often fail. How many there were. */
  reclaim(self: Owner, now: number, mostLost: number): number {
    const held = this.#sql(
      "SELECT id, owner_pid AS pid, owner_run AS run, held_until AS until FROM job WHERE status = 'running'",
    ).all() as {
      id: string;
      pid: number;
      run: string;
      until: number;
    }[];
    const gone = held.filter(
      ({ pid, run, until }) => run !== self.run && (until < now || pid === self.pid || !isAlive(pid)),
    );
    if (gone.length === 0) return 0;
    return this.#write(() => {
      for (const { id, run } of gone)
        this.#sql(
          "UPDATE job SET status = 'queued', lost = lost + 1, owner_run = NULL WHERE id = ? AND owner_run = ?",
        ).run(id, run);
      const error = JSON.stringify({
        error: {
          message: `what did this job died of it ${mostLost} times`,
          type: "server_error",
          param: null,
          code: "job_lost",
        },
      });
      this.#sql(
        "UPDATE job SET status = 'failed', answer_status = 500, answer = ?, ended = ? WHERE status = 'queued' AND lost >= ?",
      ).run(...[error, now, mostLost]);
      return gone.length;
    });
  }

  /** Undefined where the caller has no such job. What has ended stays as it is. */
  cancel(id: string, caller: string, now: number): Job | undefined {
    this.#sql(
      "UPDATE job SET status = 'cancelled', ended = ?, owner_run = NULL WHERE id = ? AND caller = ? AND status IN ('queued', 'running')",
    ).run(now, id, caller);
    return this.get(id, caller);
  }
  get(id: string, caller: string): Job | undefined {
    return this.#job("id = ? AND caller = ?", id, caller);
  }
  /** The newest first, without what they were sent and what came of them. */
  list(caller: string, status: JobStatus | null, most: number): Job[] {
    const and = status === null ? "" : "AND status = ?";
    return this.#sql(
      `SELECT ${BRIEF}, '' AS body, NULL AS answer FROM job WHERE caller = ? ${and} ORDER BY seq DESC LIMIT ?`,
    ).all(caller, ...(status === null ? [] : [status]), most) as unknown as Job[];
  }
  remove(id: string, caller: string): boolean {
    return this.#sql("DELETE FROM job WHERE id = ? AND caller = ?").run(id, caller).changes === 1;
  }
  counts(): Partial<Record<JobStatus, number>> {
    const rows = this.#sql("SELECT status, count(*) AS n FROM job GROUP BY status").all() as {
      status: JobStatus;
      n: number;
    }[];
    return Object.fromEntries(rows.map(({ status, n }) => [status, n]));
  }

  /** A finished part of longer work. */
  part(key: string, now: number): string | undefined {
    const row = this.#sql("SELECT value FROM part WHERE key = ?").get(key) as { value: string } | undefined;
    if (row !== undefined) this.#sql("UPDATE part SET used = ? WHERE key = ?").run(now, key);
    return row?.value;
  }
  keepPart(key: string, value: string, now: number): void {
    this.#sql("INSERT OR REPLACE INTO part (key, value, used) VALUES (?, ?, ?)").run(key, value, now);
  }

  /** Forgets what ended, and parts that nobody used, before a time. */
  prune(before: number): number {
    const jobs = this.#sql("DELETE FROM job WHERE ended < ?").run(before).changes;
    return Number(jobs) + Number(this.#sql("DELETE FROM part WHERE used < ?").run(before).changes);
  }
  close(): void {
    this.#db.close();
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // it is there, and somebody else's
  }
}
