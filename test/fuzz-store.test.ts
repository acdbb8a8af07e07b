// Mutated wheels, exported models, manifests and notes of the store: each is a sentence or what was there before, none takes
// two seconds of a core, none leaves a file outside the store. Few here, 4,000 in `npm run test:full`.
// The seed of a failing file is in the message; IRORI_FUZZ_SEED moves the start.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { IroriError } from "../src/base/mod.ts";
import { Archive } from "../src/checkpoint/archive.ts";
import type { StoredModel } from "../src/checkpoint/mod.ts";
import { Engine, importModel } from "../src/engine/mod.ts";
import { readSealed, writeSealed } from "../src/engine/sealed.ts";
import { acceptPrepared } from "../src/engine/verify-prepared.ts";
import { type Base, busyMs, firstSeed, isFull, mutated } from "./mutations.ts";
import { writeTinyGguf } from "./setup/tiny-gguf.ts";

const root = await mkdtemp(join(tmpdir(), "irori-fuzz-store-"));
after(() => rm(root, { recursive: true, maxRetries: 5 }));
const home = join(root, "home");
let engine: Engine;
let model: StoredModel;
let form: string;
let exported: Buffer;

before(async () => {
  engine = await Engine.open({ home, threads: 1, spinning: false, budgetBytes: () => 8e9, now: () => 0 });
  await writeTinyGguf(join(root, "tiny.gguf"));
  model = await engine.pull(`file:${join(root, "tiny.gguf")}`);
  form = await engine.prepare(model, "blocks");
  const path = join(root, "tiny.irori");
  await engine.store.exportTo(model, path, { forms: ["blocks"] });
  exported = await readFile(path);
});

/** Does the work on each mutation; an error must be a sentence. Returns how many were refused. */
async function fuzz(base: Base, files: number, work: (bytes: Uint8Array, seed: number) => Promise<void>) {
  let refused = 0;
  for (let seed = firstSeed; seed < firstSeed + files; seed++) {
    const [error, ms] = await busyMs(() =>
      work(mutated(base, seed), seed).then(
        () => undefined,
        (error: unknown) => error,
      ),
    );
    assert.ok(ms < 2000, `seed ${seed}: ${ms} ms of a core`);
    if (error === undefined) continue;
    if (!(error instanceof IroriError)) throw new Error(`seed ${seed}: not a sentence`, { cause: error });
    assert.doesNotMatch(error.message, /[^\P{Cc}\n]/u, `seed ${seed}: control characters`);
    assert.ok(error.message.length < 2000, `seed ${seed}: ${error.message}`);
    refused++;
  }
  return refused;
}

const golden = (name: string) => readFile(new URL(`goldens/archives/${name}`, import.meta.url));
const archives = isFull ? 500 : 50;
for (const name of ["deflated.zip", "streamed.zip", "zip64.zip"])
  test(`${archives} mutations of ${name}: a sentence, or bytes of the lengths that it says`, async () => {
    const bytes = await golden(name);
    const path = join(root, "mutated.whl");
    const refused = await fuzz({ bytes, headerBytes: bytes.length }, archives, async (mutation) => {
      await writeFile(path, mutation);
      await using archive = await Archive.open(path);
      for (const member of archive.members) {
        if (member.refused !== undefined) continue;
        let length = 0;
        for await (const chunk of archive.read(member)) length += chunk.length;
        assert.equal(length, member.bytes);
      }
    });
    assert.ok(refused > archives / 4, `${refused} refused`);
  });

const exports = isFull ? 800 : 40;
test(`${exports} mutations of an exported model: a sentence and nothing brought in, or a model that verifies`, async () => {
  const tail = exported.subarray(-6000); // index and directory lie at the end: most mutations fall there
  const names = async () => (await readdir(root)).sort();
  await mkdir(join(root, "imports"));
  await writeFile(join(root, "mutated.irori"), "");
  const before = await names();
  const refused = await fuzz({ bytes: tail, headerBytes: tail.length }, exports, async (mutation) => {
    const into = join(root, "imports", "home");
    await rm(into, { recursive: true, force: true });
    const options = { home: into, threads: 1, spinning: false, budgetBytes: () => 8e9, now: () => 0 };
    await writeFile(join(root, "mutated.irori"), Buffer.concat([exported.subarray(0, -6000), mutation]));
    await using other = await Engine.open(options);
    try {
      const imported = await importModel(other, join(root, "mutated.irori"));
      await other.store.verify(imported.model);
    } finally {
      assert.deepEqual(await readdir(join(root, "imports")), ["home"]);
      assert.deepEqual(await readdir(join(into, "staging")), []);
    }
  });
  assert.ok(refused > exports / 4, `${refused} refused`);
  assert.deepEqual(await names(), before);
});

const manifests = isFull ? 1200 : 60;
test(`${manifests} mutations of a manifest that came from elsewhere: refused, or of a model of these lengths`, async () => {
  const path = join(form, "manifest.sealed");
  const bytes = (await readSealed(path)) as Uint8Array;
  const refused = await fuzz({ bytes, headerBytes: bytes.length }, manifests, async (mutation) => {
    await writeSealed(path, mutation);
    await acceptPrepared(form);
  });
  await writeSealed(path, bytes);
  await acceptPrepared(form);
  assert.ok(refused > manifests / 4, `${refused} refused`);
});

const notes = isFull ? 500 : 30;
test(`${notes} mutations of the store's own note of a model: a sentence that tells the way out, or the model`, async () => {
  const path = join(home, "models", (await readdir(join(home, "models")))[0] as string);
  const bytes = await readFile(path);
  const refused = await fuzz({ bytes, headerBytes: bytes.length }, notes, async (mutation) => {
    await writeFile(path, mutation);
    for (const each of await engine.store.list()) await engine.store.verify(each);
  });
  await writeFile(path, bytes);
  assert.equal((await engine.store.list())[0]?.name, model.name);
  assert.ok(refused > notes / 4, `${refused} refused`);
});
