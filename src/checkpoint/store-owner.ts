// Who owns a temporary thing in the store: the process is written in the thing's own name, so that it appears whole.
// Names are never used twice; whoever finds a dead owner's thing may delete it at any time.

import { createHash, randomUUID } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { hostname } from "node:os";

const separator = "~";
/** Without its process in reach (another host on a shared disk), an owner lives as long as it touches its thing. */
const foreignLifeMs = 2 * 60_000;

const host = createHash("sha256").update(hostname()).digest("hex").slice(0, 8);

/** A name for a temporary thing of process `pid`: pid, its start time, host, chance. */
export async function ownerTag(pid = process.pid): Promise<string> {
  return [pid, (await startOf(pid)) ?? "0", host, randomUUID().slice(0, 13)].join(separator);
}

/** Whether the owner written in `tag` still runs. `path` is the thing itself, `now` the time in ms. */
export async function isOwnerAlive(tag: string, path: string, now: number): Promise<boolean> {
  const owner = parseTag(tag);
  if (!owner) return false;
  if (owner.host === host) return await isRunning(owner);
  const touched = await stat(path).catch(() => undefined); // gone meanwhile: its owner has finished
  return touched !== undefined && now - touched.mtimeMs < foreignLifeMs;
}

/** Ends the process written in `tag` where it is certainly the one that was meant: same host, same start time. */
export async function endProcess(tag: string): Promise<void> {
  const owner = parseTag(tag);
  if (owner?.host !== host || owner.start === "0" || !(await isRunning(owner))) return;
  signal(owner.pid, "SIGKILL");
}

interface Owner {
  readonly pid: number;
  readonly start: string;
  readonly host: string;
}

function parseTag(tag: string): Owner | undefined {
  const [pid, start, host] = tag.split(separator);
  if (!/^[1-9]\d{0,9}$/.test(pid ?? "") || start === undefined || host === undefined) return undefined;
  return { pid: Number(pid), start, host };
}

async function isRunning({ pid, start }: Owner): Promise<boolean> {
  if (!signal(pid, 0)) return false;
  const now = await startOf(pid);
  return now === undefined || start === "0" || now === start;
}

/** False where no such process exists; one that is not ours (EPERM) exists. */
function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Start of a process in clock ticks since boot (Linux); undefined where the platform does not tell, "dead" for a zombie. */
async function startOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => undefined); // no /proc: not Linux
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" "); // the name before it may hold spaces
  return fields[0] === "Z" || fields[0] === "X" ? "dead" : fields[19];
}
