// A stand-in for `python -m pip download`: a script that copies a prepared wheel in pieces, with pauses, and keeps a log.
// It knows the arguments of the real client that Irori uses, and nothing of registries.

import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

export interface FakePip {
  /** To be given as `python`. */
  readonly python: string;
  /** The arguments of every call so far. */
  calls(): Promise<string[][]>;
}

export interface FakePipOptions {
  /** Wheel file of each `NAME==VERSION`. */
  readonly wheels: Readonly<Record<string, string>>;
  readonly pauseMs?: number;
  /** What it prints to stderr before it exits with 1, instead of working. */
  readonly complaint?: string;
}

export async function fakePip(folder: string, options: FakePipOptions): Promise<FakePip> {
  const python = join(folder, "python");
  const log = join(folder, "calls.jsonl");
  await writeFile(log, "");
  await writeFile(python, script(log, options));
  await chmod(python, 0o755);
  return {
    python,
    calls: async () =>
      (await readFile(log, "utf8"))
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line)),
  };
}

const script = (log: string, { wheels, pauseMs = 0, complaint }: FakePipOptions) => `#!${process.execPath}
const fs = require("node:fs"), path = require("node:path");
const args = process.argv.slice(2);
fs.appendFileSync(${JSON.stringify(log)}, JSON.stringify(args) + "\\n");
const complaint = ${JSON.stringify(complaint ?? "")};
const wheel = ${JSON.stringify(wheels)}[args.at(-1)];
if (complaint || !wheel) {
  process.stderr.write(complaint || "ERROR: No matching distribution found for " + args.at(-1) + "\\n");
  process.exit(1);
}
const target = path.join(args[args.indexOf("--dest") + 1], path.basename(wheel));
const bytes = fs.readFileSync(wheel), pieces = 10, size = Math.ceil(bytes.length / pieces);
console.log("  Downloading " + path.basename(wheel) + " (" + bytes.length + " bytes)");
const copy = (i) => {
  if (i === pieces) return;
  fs.appendFileSync(target, bytes.subarray(i * size, (i + 1) * size));
  setTimeout(copy, ${pauseMs}, i + 1);
};
copy(0);
`;
