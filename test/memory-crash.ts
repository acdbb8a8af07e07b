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
import { hashedEmbedder, idMaker, openSqlite } from "../src/memory/mod.ts";

/** What Node keeps of the children's code: compiled once for all rounds, a start takes a third. */
export const COMPILED = join(tmpdir(), `irori-compiled-${process.pid}`);
const child = fileURLToPath(new URL("memory-writer-child.ts", import.meta.url));

interface Running {
  readonly process: ChildProcess;
  readonly isOpen: Promise<void>;
  readonly end: Promise<string>;
}

export function startMemoryChild(...args: readonly string[]): Running {
  const env = { ...process.env, NODE_COMPILE_CACHE: COMPILED };
  const process_ = spawn(process.execPath, [child, ...args], { stdio: ["ignore", "pipe", "pipe"], env });
  let [out, err] = ["", ""];
  process_.stderr.on("data", (text) => (err += text));
  const isOpen = new Promise<void>((resolve, reject) => {
    process_.stdout.on("data", (text) => {
      out += text;
      if (out.includes("\n")) resolve();
    });
    process_.once("close", () => reject(new Error(`${args.join(" ")} ended: ${err}`)));
  });
  isOpen.catch(() => undefined);
  const end = new Promise<string>((resolve, reject) => {
    process_.once("close", (code, signal) =>
      code === 0 || signal === "SIGKILL" ? resolve(out) : reject(new Error(`${args.join(" ")}: ${err}`)),
    );
  });
  end.catch(() => undefined);
  return { process: process_, isOpen, end };
}

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
    await mustHold(path, seed, there, gone, `round ${round} of seed ${seed}, beside ${other || "nobody"}`);
  }
  return { rounds, added: there.size + gone.size, deleted: gone.size };
}

async function oneRound(random: Random, path: string, notes: string, other: string, id: string): Promise<string[]> {
  const running = [startMemoryChild("write", path, `${id}1`)];
  if (other !== "") running.push(startMemoryChild(other, path, `${id}2`, notes));
  await Promise.all(running.map(({ isOpen }) => isOpen));
  await sleep(random.next() * 80);
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

async function mustHold(path: string, seed: number, there: Set<string>, gone: Set<string>, when: string) {
  await using store = await openSqlite({ path, embedder: hashedEmbedder, newId: idMaker(seededRandom(seed)) });
  const wrong = (await store.check({ repair: false })).filter(({ isFine }) => !isFine);
  assert.deepEqual(wrong, [], when);
  const found = async (ids: Set<string>) => (await store.getEpisodes("default", [...ids])).map((one) => one?.id);
  assert.deepEqual(await found(there), [...there], `${when}: acknowledged and lost`);
  assert.deepEqual(
    (await found(gone)).filter((one) => one !== undefined),
    [],
    `${when}: deleted and back`,
  );
}
