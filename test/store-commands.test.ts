// What is done with models as they lie in the store, by the command: sizes, last use, hashes, pruning, one file for machines
// without network, a store on another machine. The answer of a model decides: it is the same, or a sentence.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { commandAt } from "./setup/command.ts";
import { writeTinyGguf } from "./setup/tiny-gguf.ts";
import { writeTinyModel } from "./setup/tiny-model.ts";
import { type ZipMember, zipBytes } from "./zip-bytes.ts";

let folder: string;
let source: string;
let name: string;
let expected: string;
const at = (home: string) => commandAt(join(folder, home));
const offline = { env: { IRORI_OFFLINE: "1" } };
const answer = (home: string, model = name): string =>
  at(home).json(["run", model, "the hat", "--raw", "--temperature", "0", "--max-tokens", "8"], offline).ids.join();

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "irori-store-"));
  await writeTinyGguf(join(folder, "tiny.gguf"));
  source = `file:${join(folder, "tiny.gguf")}`;
  ({ name } = at("home").json(["pull", source]));
  expected = answer("home");
});
after(() => rmSync(folder, { recursive: true, maxRetries: 5 }));

const filesUnder = (path: string): string[] =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
const preparedFiles = (home: string) => filesUnder(join(folder, home, "prepared"));

/** Changes one bit in the middle. */
function spoil(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1]! ^= 4;
  writeFileSync(path, bytes);
}

test("ls and show tell sizes by form, last use and sources; show --tensors how each tensor is stored", () => {
  const before = Date.now();
  const { models } = at("home").json(["ls"]);
  const [about] = models;
  assert.equal(about.name, name);
  assert.deepEqual(about.sources, [source]);
  assert.equal(about.forms[0].form, "blocks");
  const onDisk = preparedFiles("home").reduce((sum, path) => sum + readFileSync(path).length, 0);
  assert.equal(about.forms[0].bytes, onDisk);
  assert.ok(Math.abs(Date.parse(about.usedAt) - before) < 600_000, about.usedAt);
  const { tensors, parameters } = at("home").json(["show", name, "--tensors"]);
  const elements = (shape: number[]) => shape.reduce((a, b) => a * b, 1);
  const weights = tensors.reduce((sum: number, { shape }: { shape: number[] }) => sum + elements(shape), 0);
  assert.equal(weights, parameters);
  const q = tensors.find(({ name }: { name: string }) => name.includes("q_proj"));
  assert.deepEqual(q.format, { bits: 4, block: 32, zero: 0, hasMins: true });
  assert.equal(q.bitsPerWeight, 6, "4 bits, and two float32 for 32 weights");
  assert.match(at("home").irori(["show", name, "--tensors"]).stdout, /q_proj.*4 bit, blocks of 32, mins/);
});

test("ls --catalog tells what can be fetched", () => {
  const { models } = at("home").json(["ls", "--catalog"]);
  assert.ok(models.length >= 10);
  for (const { name, bytes, license, sources, isPulled } of models)
    assert.ok(name && bytes > 0 && license && sources.length > 0 && isPulled === false, name);
  assert.match(at("home").irori(["ls", "--catalog"]).stdout, /qwen2\.5-0\.5b +\d+ MB +Apache-2\.0/);
});

test("verify finds a changed bit of any file of a prepared form; --repair makes the form anew", () => {
  assert.equal(at("home").json(["verify"]).isWhole, true);
  const all = preparedFiles("home").filter((path) => !path.endsWith(".stamp"));
  assert.ok(all.length >= 6, all.join("\n"));
  for (const path of all) {
    const kept = readFileSync(path);
    spoil(path);
    const { status, stdout } = at("home").irori(["verify", name]);
    assert.equal(status, 3, `${path}: ${stdout}`);
    writeFileSync(path, kept);
  }
  assert.equal(at("home").json(["verify"]).isWhole, true);
  spoil(all.find((path) => path.endsWith("weights.bin")) ?? (all[0] as string));
  const { models, isWhole } = at("home").json(["verify", name, "--repair"]);
  assert.deepEqual([isWhole, models[0].isRepaired], [true, true]);
  assert.equal(answer("home"), expected);
  assert.equal(at("home").json(["verify"]).isWhole, true);
});

test("prune removes what no model names; with --keep models too; --dry-run nothing", () => {
  cpSync(join(folder, "home"), join(folder, "pruned"), { recursive: true });
  const { json, irori } = at("pruned");
  const other = json(["pull", `file:${writeTinyModel(join(folder, "other"))}`]).name;
  mkdirSync(join(folder, "pruned/partial/0123456789abcdef"), { recursive: true });
  writeFileSync(join(folder, "pruned/partial/0123456789abcdef/piece"), Buffer.alloc(1000));
  const strange = "f".repeat(24);
  cpSync(
    join(folder, "pruned/prepared", readdirSync(join(folder, "pruned/prepared"))[0] as string),
    join(folder, `pruned/prepared/${strange}-blocks`),
    { recursive: true },
  );
  writeFileSync(join(folder, `pruned/blobs/sha256-${"e".repeat(64)}`), Buffer.alloc(500));
  const mine = preparedFiles("pruned").find((path) => path.includes("packed-") && !path.includes(strange)) as string;
  const elsewhere = dirname(mine).replace(/packed-(\d+)-[^/]*$/, "packed-$1-1.0.0-x64-avx2");
  cpSync(dirname(mine), elsewhere, { recursive: true });
  const dry = json(["prune", "--keep", name, "--dry-run"]);
  assert.deepEqual(
    dry.models.map(({ name }: { name: string }) => name),
    [other],
  );
  const kinds = (pruned: { leftovers: { kind: string }[] }) => pruned.leftovers.map(({ kind }) => kind).sort();
  assert.deepEqual(kinds(dry), ["bytes", "download", "pages", "prepared"]);
  const done = json(["prune", "--keep", name]);
  assert.equal(done.freedBytes, dry.freedBytes);
  assert.deepEqual(
    json(["ls"]).models.map(({ name }: { name: string }) => name),
    [name],
  );
  assert.deepEqual(json(["prune", "--keep", "1d"]).models, [], "used today");
  assert.deepEqual([existsSync(elsewhere), existsSync(mine)], [false, true]);
  assert.equal(answer("pruned"), expected);
  assert.equal(irori(["prune", "--keep", "gemma9"]).status, 4);
});

test("an exported model answers the same on a machine without network, without being prepared again", () => {
  const file = join(folder, "tiny.irori");
  const { bytes, forms } = at("home").json(["export", name, "--out", file]);
  assert.deepEqual([bytes, forms], [readFileSync(file).length, ["blocks"]]);
  const { status, stdout } = at("home").irori(["export", name, "--out", file, "--json"]);
  assert.equal(status, 2);
  assert.match(JSON.parse(stdout).error.message, /exists/);
  const imported = at("import").json(["import", file], offline);
  assert.deepEqual(
    [imported.name, imported.imported, imported.left, imported.isInPlace],
    [name, ["blocks"], [], false],
  );
  const manifest = preparedFiles("import").find((path) => path.endsWith("manifest.sealed")) as string;
  const written = readFileSync(manifest);
  assert.equal(answer("import"), expected);
  assert.deepEqual(readFileSync(manifest), written);
  assert.equal(at("import").json(["verify"]).isWhole, true);
  // and once more, over itself
  assert.equal(at("import").json(["import", file], offline).name, name);
});

const members = (file: string): ZipMember[] => {
  const bytes = readFileSync(file);
  const found: ZipMember[] = [];
  for (let at = 0; bytes.readUInt32LE(at) === 0x04034b50; ) {
    const [nameLength, extraLength] = [bytes.readUInt16LE(at + 26), bytes.readUInt16LE(at + 28)];
    const size = Number(bytes.readBigUInt64LE(at + 30 + nameLength + 4));
    const start = at + 30 + nameLength + extraLength;
    const name = bytes.toString("utf8", at + 30, at + 30 + nameLength);
    found.push({ name, bytes: bytes.subarray(start, start + size), isStored: true });
    at = start + size;
  }
  return found;
};

test("a file that was changed, or made to harm, brings nothing in, and writes nowhere else", () => {
  const file = join(folder, "sound.irori");
  at("home").json(["export", name, "--out", file]);
  const sound = members(file);
  const index = JSON.parse(sound.at(-1)!.bytes.toString());
  const withIndex = (change: (index: never) => void): ZipMember[] => {
    const other = structuredClone(index);
    change(other as never);
    return [...sound.slice(0, -1), { ...sound.at(-1)!, bytes: Buffer.from(JSON.stringify(other)) }];
  };
  type Index = {
    model: { name: string };
    content: { files: { name: string; bytes: number; sha256: string }[] };
    forms: { form: string; files: { name: string }[] }[];
  };
  const hostile: Readonly<Record<string, readonly ZipMember[] | Buffer>> = {
    "no archive": Buffer.from("hello"),
    "no index": sound.slice(0, -1),
    "a cut archive": zipBytes(sound).subarray(0, -400),
    "other bytes of the model": [{ ...sound[0]!, bytes: Buffer.alloc(sound[0]!.bytes.length) }, ...sound.slice(1)],
    "a model that is missing": sound.slice(1),
    "a name that leaves its folder": withIndex(({ forms }: Index) => {
      forms[0]!.files[0]!.name = "../../escaped";
    }),
    "an absolute name": withIndex(({ forms }: Index) => {
      forms[0]!.files[0]!.name = "/tmp/escaped";
    }),
    "a form that leaves its folder": withIndex(({ forms }: Index) => {
      forms[0]!.form = "../x";
    }),
    "a model's name that is a path": withIndex(({ model }: Index) => {
      model.name = "../../x";
    }),
    "a catalog's name": withIndex(({ model }: Index) => {
      model.name = "smollm2-135m";
    }),
    "a length of petabytes": withIndex(({ content }: Index) => {
      content.files[0]!.bytes = 2 ** 50;
    }),
    "another hash": withIndex(({ content }: Index) => {
      content.files[0]!.sha256 = "0".repeat(64);
    }),
    "an index that is no JSON": [...sound.slice(0, -1), { ...sound.at(-1)!, bytes: Buffer.from("{") }],
  };
  const before = readdirSync(folder).sort();
  for (const [what, made] of Object.entries(hostile)) {
    const path = join(folder, "hostile.irori");
    writeFileSync(path, Buffer.isBuffer(made) ? made : zipBytes(made as readonly ZipMember[]));
    const { status, stdout } = at("hostile").irori(["import", path, "--json"], offline);
    assert.ok(status === 3 || status === 7, `${what}: ${status} ${stdout}`);
    assert.match(stdout, /"error"/, what);
    for (const place of ["models", "blobs", "prepared", "staging", "locks"])
      assert.deepEqual(readdirSync(join(folder, "hostile", place)), [], `${what}: ${place}`);
  }
  assert.deepEqual(
    readdirSync(folder)
      .filter((each) => !/^hostile/.test(each))
      .sort(),
    before,
  );
});

test("a prepared form in the file that was changed with its hash is not used: it is made anew", () => {
  const file = join(folder, "forged.irori");
  at("home").json(["export", name, "--out", file]);
  const parts = members(file).map((member) =>
    member.name.endsWith("manifest.sealed") ? { ...member, bytes: Buffer.from("not a manifest") } : member,
  );
  const index = JSON.parse(parts.at(-1)!.bytes.toString());
  const manifest = index.forms[0].files.find(({ name }: { name: string }) => name === "manifest.sealed");
  manifest.bytes = 14;
  manifest.sha256 = createHash("sha256").update("not a manifest").digest("hex");
  const forged = [...parts.slice(0, -1), { ...parts.at(-1)!, bytes: Buffer.from(JSON.stringify(index)) }];
  writeFileSync(file, zipBytes(forged));
  const { imported, left } = at("forged").json(["import", file], offline);
  assert.deepEqual([imported, left.length], [[], 1]);
  assert.equal(answer("forged"), expected);
});

test("a store that was moved gives the same answer; pages of another runtime or CPU are made anew", () => {
  cpSync(join(folder, "import"), join(folder, "moved"), { recursive: true }); // other times, as a copy has them
  rmSync(join(folder, "import"), { recursive: true });
  assert.equal(answer("moved"), expected);
  assert.equal(at("moved").json(["verify"]).isWhole, true);
  const form = join(folder, "moved/prepared", readdirSync(join(folder, "moved/prepared"))[0] as string);
  const packed = () => readdirSync(form).filter((each) => each.startsWith("packed-"));
  const [own] = packed();
  assert.ok(own, "packed");
  for (const [other, what] of [
    [own.replace(/-[^-]+$/, "-neon"), "another CPU's"],
    [own.replace(/^(packed-\d+)-[^-]+/, "$1-0.0.1"), "another runtime's"],
  ] as const) {
    renameSync(join(form, own), join(form, other));
    assert.equal(answer("moved"), expected, what);
    assert.ok(packed().includes(own), what);
  }
  // pages that were changed on the way, of the same length
  for (const path of filesUnder(join(form, own)).filter((each) => !/\.(stamp|sealed)$/.test(each))) spoil(path);
  assert.equal(answer("moved"), expected, "changed pages");
});

test("setup tells what a preset needs, fetches it, and says so again for what is here", () => {
  const { json, irori } = at("setup");
  const { models, fetchBytes } = json(["setup", "--dry-run"]);
  assert.deepEqual(
    models.map(({ model }: { model: string }) => model),
    ["smollm2-135m", "all-minilm-l6-v2"],
  );
  assert.equal(
    fetchBytes,
    models.reduce((sum: number, { fetchBytes }: { fetchBytes: number }) => sum + fetchBytes, 0),
  );
  for (const { sources } of models) assert.ok(sources.length >= 2);
  assert.deepEqual(json(["setup", "quick_experiment"]).models, []);
  assert.equal(irori(["setup", "lokal"]).status, 2);
  const own = ["setup", "lab", "--set", `generator=${source}`, "--set", "embedder=hashed"];
  const done = json(own);
  assert.deepEqual([done.preset, done.models.length], ["lab", 1]);
  assert.deepEqual(
    done.models[0].forms.map(({ form }: { form: string }) => form),
    ["blocks", "f32"],
  );
  assert.equal(json(own, offline).fetchBytes, 0);
  assert.equal(answer("setup"), expected);
});
