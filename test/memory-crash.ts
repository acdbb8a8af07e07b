// Rounds of kill -9 at random moments over one file, and what must hold after each: nothing acknowledged is lost, nothing
// deleted is back, every invariant stands. It does not know how many rounds there are.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Random, seededRandom } from "../src/base/mod.ts";
import { hashedEmbedder } from "../src/memory/embedder.ts";
import { check } from "../src/memory/sqlite/check.ts";
import { SqliteStore } from "../src/memory/sqlite/store.ts";
import { TERMS_VERSION, termsOf } from "../src/text/mod.ts";

/** What Node keeps of the children's code: compiled once for all rounds, a start takes a third. */
export const COMPILED = join(tmpdir(), `irori-compiled-${process.pid}`);
const child = fileURLToPath(new URL("memory-writer-child.ts", import.meta.url));

interface Running {
  readonly process: ChildProcess;
  /** It has told its first line, or so many. */
  readonly isOpen: Promise<void>;
  hasTold(lines: number): Promise<void>;
  readonly end: Promise<string>;
}

export const startMemoryChild = (...args: readonly string[]): Running => start("ignore", args);

/** @param stdin "pipe" for one that waits for a byte when it is open */
function start(stdin: "ignore" | "pipe", args: readonly string[]): Running {
  const env = { ...process.env, NODE_COMPILE_CACHE: COMPILED };
  const process_ = spawn(process.execPath, [child, ...args], { stdio: [stdin, "pipe", "pipe"], env });
  let [out, err] = ["", ""];
  let look = () => {};
  process_.stderr?.on("data", (text) => (err += text));
  process_.stdout?.on("data", (text) => {
    out += text;
    look();
  });
  const ended = new Promise<never>((_, reject) => {
    process_.once("close", () => reject(new Error(`${args.join(" ")} ended: ${err}`)));
  });
  ended.catch(() => undefined);
  const hasTold = (lines: number) => {
    const told = new Promise<void>((resolve) => {
      look = () => {
        if (out.split("\n").length > lines) resolve();
      };
      look();
    });
    return Promise.race([told, ended]);
  };
  const isOpen = hasTold(1);
  isOpen.catch(() => undefined);
  const end = new Promise<string>((resolve, reject) => {
    process_.once("close", (code, signal) =>
      code === 0 || signal === "SIGKILL" ? resolve(out) : reject(new Error(`${args.join(" ")}: ${err}`)),
    );
  });
  end.catch(() => undefined);
  return { process: process_, isOpen, hasTold, end };
}

/** Lines of the writer after which it is killed at the latest. */
const MOST_LINES = 60;
/** Who works in a round beside the first writer: nobody, a second one, an agent, maintenance, an import. */
const OTHERS = ["", "write", "maintain", "import", "remember"];

export interface Crashed {
  readonly rounds: number;
  readonly added: number;
  readonly deleted: number;
}

/** Kills `rounds` times what works on one file in `folder`; throws where anything is lost, back, or out of order. */
export async function crashRounds(folder: string, seed: number, rounds: number): Promise<Crashed> {
  const random = seededRandom(seed);
  const notes = join(folder, "notes");
  mkdirSync(notes, { recursive: true });
  for (let i = 0; i < 12; i++)
    writeFileSync(
      join(notes, `${i}.md`),
      Array.from({ length: 20 }, (_, j) => `Paragraph ${j} of ${i} tells of a boat and a bell.\n\n`).join(""),
    );
  const path = join(folder, "memory.db");
  await startMemoryChild("load", join(folder, "other.db"), "0").end;
  const there = new Set<string>();
  const gone = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    const other = OTHERS[round % OTHERS.length] as string;
    const told = await oneRound(random, path, notes, other, `${seed}${round}`);
    for (const line of told) note(line, there, gone);
    await mustHold(path, there, gone, `round ${round} of seed ${seed}, beside ${other || "nobody"}`);
  }
  return { rounds, added: there.size + gone.size, deleted: gone.size };
}

async function oneRound(random: Random, path: string, notes: string, other: string, id: string): Promise<string[]> {
  const writer = start("pipe", ["write", path, `${id}1`]);
  const running = [writer];
  if (other !== "") running.push(start("pipe", [other, path, `${id}2`, notes]));
  await Promise.all(running.map(({ isOpen }) => isOpen));
  for (const { process } of running) process.stdin?.write("!"); // they begin together, not while the other still loads
  // so many lines, not so many milliseconds: as much work on a slow machine
  await writer.hasTold(2 + Math.floor(random.next() * MOST_LINES));
  await sleep(random.next() * 4);
  for (const { process } of running) process.kill("SIGKILL");
  return (await Promise.all(running.map(({ end }) => end))).flatMap((out) => out.split("\n").slice(0, -1));
}

/** What was being deleted when the end came may be there or not; both are right. */
function note(line: string, there: Set<string>, gone: Set<string>): void {
  const [word, id = ""] = line.split(" ");
  if (word === "added") there.add(id);
  if (word === "deleting") there.delete(id);
  if (word === "deleted") gone.add(id);
}

/** Opened as the thread that writes opens it, without the thread. */
async function mustHold(path: string, there: Set<string>, gone: Set<string>, when: string) {
  const { id, dims } = hashedEmbedder;
  const shared = { termsVersion: TERMS_VERSION, patienceMs: 10_000, cacheBytes: 24_000_000, isReadOnly: false };
  const store = new SqliteStore({ path, embedder: { id, dims }, ...shared });
  try {
    store.terms.learn(termsOf);
    const wrong = (await check(store, false, async () => {})).filter(({ isFine }) => !isFine);
    assert.deepEqual(wrong, [], when);
    const found = (ids: Set<string>) =>
      store.connection.read(() => store.getEpisodes("default", [...ids])).map((one) => one?.id);
    assert.deepEqual(found(there), [...there], `${when}: acknowledged and lost`);
    const back = found(gone).filter((one) => one !== undefined);
    assert.deepEqual(back, [], `${when}: deleted and back`);
  } finally {
    store.close();
  }
}
