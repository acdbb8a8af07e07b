// Whatever happens while a model is prepared and packed, or to its files afterwards: the next opening gives the same answer.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { seededRandom } from "../src/base/mod.ts";
import { readSealed, writeSealed } from "../src/engine/sealed.ts";
import { writeTinyGguf } from "./setup/tiny-gguf.ts";

const script = fileURLToPath(new URL("setup/lease-once.ts", import.meta.url));
const random = seededRandom(21);
let folder: string;
let model: string;
let expected: string;

/** What the process prints; `killAfterMs` ends it with SIGKILL at that time. */
function lease(
  home: string,
  killAfterMs?: number,
): Promise<{ readonly out: string; readonly code: number | null; readonly error: string }> {
  const child = spawn(process.execPath, [script, home, model], { stdio: ["ignore", "pipe", "pipe"] });
  const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), killAfterMs);
  let [out, error] = ["", ""];
  child.stdout.on("data", (chunk) => {
    out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    error += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject).on("close", (code) => {
      clearTimeout(timer);
      resolve({ out: out.trim(), code, error });
    });
  });
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "irori-prepare-"));
  model = join(folder, "tiny.gguf");
  await writeTinyGguf(model);
  const first = await lease(join(folder, "first"));
  assert.equal(first.code, 0, first.error);
  expected = first.out;
  assert.match(expected, /^\d+(,\d+){3}(,\d+\.\d+)+$/);
});
after(() => rm(folder, { recursive: true }));

test("20 kills at random moments of prepare and pack: the 21st run works and nothing is left behind", async () => {
  const home = join(folder, "killed");
  const start = performance.now();
  await lease(join(folder, "timed"));
  const whole = performance.now() - start;
  for (let kill = 0; kill < 20; kill++) {
    await lease(home, whole * random.next());
    // an untouched start for half of the kills, a half-made one for the others
    if (kill % 2 === 0) await rm(join(home, "prepared"), { recursive: true, force: true });
  }
  const last = await lease(home);
  assert.equal(last.out, expected, last.error);
  assert.deepEqual(await readdir(join(home, "staging")), []);
  const prepared = await readdir(join(home, "prepared"), { recursive: true });
  assert.deepEqual(
    prepared.filter((name) => name.includes("staging")),
    [],
  );
});

test("a kill while the model is packed leaves a folder that the next packing removes", async () => {
  const home = join(folder, "killed-packing");
  const stagings = async () => {
    const names = await readdir(join(home, "prepared"), { recursive: true }).catch(() => []);
    return names.filter((name) => name.includes("staging-") && !name.slice(name.indexOf("staging-")).includes("/"));
  };
  const child = spawn(process.execPath, [script, home, model], { stdio: "ignore" });
  const ended = new Promise((resolve) => child.on("close", resolve));
  while ((await stagings()).length === 0 && child.exitCode === null) await new Promise((next) => setTimeout(next, 1));
  child.kill("SIGKILL");
  await ended;
  assert.equal((await stagings()).length, 1, "it was killed too late");
  const again = await lease(home);
  assert.equal(again.out, expected, again.error);
  assert.deepEqual(await stagings(), []);
});

test("two processes preparing the same model at once both answer", async () => {
  const home = join(folder, "twice");
  const both = await Promise.all([lease(home), lease(home), lease(home)]);
  for (const { out, error } of both) assert.equal(out, expected, error);
});

test("a damaged or missing prepared file is made anew", async () => {
  const home = join(folder, "first");
  const names = (await readdir(join(home, "prepared"), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  assert.ok(names.length >= 5, names.join());
  for (const path of names) {
    const { size } = await stat(path);
    const harms: [string, () => Promise<void>][] = [
      ["cut", () => truncate(path, Math.floor(size / 2))],
      ["missing", () => rm(path)],
      ["flipped", () => flip(path, size)],
    ];
    for (const [what, harm] of harms) {
      const untouched = await stat(path).then(
        () => true,
        () => false,
      );
      if (!untouched) continue; // names of packed files change when a model is packed again
      const before = await readFile(path);
      await harm();
      const again = await lease(home);
      assert.equal(again.out, expected, `${what} ${path}: ${again.error}`);
      // a stamp holds the time of another file; where pages lie is read only when another step is made
      if (!/(\.stamp|pages\.sealed)$/.test(path))
        assert.ok(before.equals(await readFile(path)), `${what} ${path} was not noticed`);
    }
  }
});

test("pages that the library does not take as they are would lose offsets: they are made anew", async () => {
  const home = join(folder, "other-kernels");
  assert.equal((await lease(home)).out, expected);
  const files = await readdir(join(home, "prepared"), { recursive: true, withFileTypes: true });
  const stages = files
    .filter(({ name }) => name.startsWith("stage-"))
    .map((entry) => join(entry.parentPath, entry.name));
  const pages = async () => {
    const { mtimeMs } = await stat(join(stages[0] as string, "../pages.bin"));
    return mtimeMs;
  };
  const made = await pages();
  for (const path of stages) {
    const content = Buffer.from((await readSealed(path)) as Uint8Array);
    // the key by which the library finds a packed weight ends in a hash of what it would pack itself
    const key = "MatMulNBits+";
    for (let at = content.indexOf(key); at >= 0; at = content.indexOf(key, at + 1))
      content[at + key.length] = content[at + key.length] === 0x31 ? 0x32 : 0x31;
    await writeSealed(path, content);
  }
  const again = await lease(home);
  assert.equal(again.out, expected, again.error);
  assert.notEqual(await pages(), made);
});

async function flip(path: string, size: number): Promise<void> {
  const bytes = await readFile(path);
  const at = Math.floor(random.next() * size);
  bytes[at] = (bytes[at] as number) ^ 0x10;
  await writeFile(path, bytes);
}
