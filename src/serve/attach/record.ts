// Servers of this store, as small files beside it: who wants to talk to a running one finds it there.
// It does not know what is said, nor whether a server still answers (client.ts asks).
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface ServerRecord {
  readonly url: string;
  readonly pid: number;
  /** A key of this run alone, where the server wants one: who may read the file may call. */
  readonly key?: string | undefined;
  readonly version: string;
  /** How its models compute, as one text: who wants them otherwise opens them himself. */
  readonly computes: string;
}

const folderIn = (home: string): string => join(home, "servers");

/** Says that a server runs, until it is disposed of. Only the store's owner can read it. */
export function announce(home: string, record: ServerRecord): Disposable {
  const path = join(folderIn(home), `${record.pid}.json`);
  mkdirSync(folderIn(home), { recursive: true, mode: 0o700 });
  writeFileSync(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
  renameSync(`${path}.new`, path);
  return { [Symbol.dispose]: () => rmSync(path, { force: true }) };
}

/** Servers that were announced and whose process is there, the latest first; records of those that died are removed. */
export function announced(home: string): ServerRecord[] {
  let names: string[];
  try {
    names = readdirSync(folderIn(home)).filter((name) => name.endsWith(".json"));
  } catch (error) {
    // a store that is no folder is told of by who opens it
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return [];
    throw error;
  }
  const found: ServerRecord[] = [];
  for (const name of names) {
    const path = join(folderIn(home), name);
    const record = readRecord(path);
    if (record !== undefined && isProcess(record.pid)) found.push(record);
    else rmSync(path, { force: true });
  }
  return found.sort((a, b) => b.pid - a.pid);
}

/** Undefined for what is gone by now or no record. */
function readRecord(path: string): ServerRecord | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const { url, pid, computes } = JSON.parse(text) as Partial<ServerRecord>; // checked by hand: every command reads it
    if (typeof url === "string" && URL.canParse(url) && Number.isSafeInteger(pid) && typeof computes === "string")
      return JSON.parse(text) as ServerRecord;
  } catch {
    // damaged: nothing can be asked of it
  }
  return undefined;
}

/** Whether a process of that number runs, whosever it is; one that has ended and was not asked for by its parent does not. */
export function isProcess(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform !== "linux" || !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // else ESRCH, or ENOENT where it ended just now
  }
}
