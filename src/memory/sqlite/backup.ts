// A whole copy of a store while others write, looked at before it takes its name. It does not know episodes.
import { renameSync, rmSync } from "node:fs";
import { IroriError } from "../../base/mod.ts";
import { Connection } from "../sqlite.ts";
import { versionOf } from "./schema.ts";
import type { SqliteStore } from "./store.ts";

/** Throws "bad-file" where the copy is not whole; then there is none. */
export async function backup({ connection }: SqliteStore, path: string): Promise<void> {
  const beside = `${path}.${process.pid}.part`;
  try {
    await connection.copyTo(beside, () => undefined);
    verify(beside);
    renameSync(beside, path);
  } catch (error) {
    for (const suffix of ["", "-wal", "-shm", "-journal"]) rmSync(beside + suffix, { force: true });
    if (error instanceof IroriError) throw error;
    throw new IroriError("io", { what: `${path} cannot be written`, got: (error as Error).message, cause: error });
  }
}

function verify(path: string): void {
  const copy = new Connection({ path, isReadOnly: true, patienceMs: 1_000, cacheBytes: 8_000_000 });
  try {
    versionOf(copy);
    const findings = copy.sql("PRAGMA integrity_check(5)").column<string>();
    if (findings.join() !== "ok")
      throw new IroriError("bad-file", {
        what: `the copy ${path}`,
        got: findings.join("; "),
        wanted: "a whole database",
      });
  } finally {
    copy.close();
  }
}
