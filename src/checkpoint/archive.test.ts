// The zip reader against archives that Python's zipfile wrote (test/goldens/make/archives.py), cut and flipped too.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { zipBytes } from "../../test/zip-bytes.ts";
import { IroriError } from "../base/mod.ts";
import { Archive } from "./archive.ts";

const folder = await mkdtemp(join(tmpdir(), "irori-archive-"));
after(() => rm(folder, { recursive: true }));
const golden = (name: string) => fileURLToPath(new URL(`../../test/goldens/archives/${name}`, import.meta.url));
const model = await readFile(golden("model.bin"));
const goldens = ["stored.zip", "deflated.zip", "streamed.zip", "zip64-local.zip", "zip64.zip"];

async function readModel(path: string): Promise<Buffer> {
  await using archive = await Archive.open(path);
  const member = archive.members.find(({ name }) => name === "pkg/weights/model.gguf");
  if (!member) throw new IroriError("not-found", { what: "no model in the archive" });
  if (member.refused) throw new IroriError("bad-file", { what: member.refused });
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive.read(member)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

for (const name of goldens) {
  test(`${name} of Python's zipfile gives the bytes that went in`, async () => {
    await using archive = await Archive.open(golden(name));
    assert.deepEqual(
      archive.members.map((member) => [member.name, member.refused]),
      ["pkg/__init__.py", "pkg/weights/model.gguf", "pkg-1.dist-info/RECORD"].map((name) => [name, undefined]),
    );
    assert.ok((await readModel(golden(name))).equals(model));
  });

  test(`${name} cut anywhere is an error sentence`, async () => {
    const bytes = await readFile(golden(name));
    const path = join(folder, "cut.zip");
    for (let length = 0; length < bytes.length; length += length < bytes.length - 120 ? 97 : 1) {
      await writeFile(path, bytes.subarray(0, length));
      await assert.rejects(readModel(path), isBadFile, `${length} bytes`);
    }
  });

  test(`${name} with a bit flipped is an error sentence or the same bytes`, async () => {
    const bytes = await readFile(golden(name));
    const path = join(folder, "flipped.zip");
    let errors = 0;
    // Every byte of the model's headers and of the directory, each 97th of the rest.
    for (let at = 0; at < bytes.length; at += isNear(at, bytes) ? 1 : 97) {
      const flipped = Buffer.from(bytes);
      flipped[at]! ^= 1 << (at % 8);
      await writeFile(path, flipped);
      await readModel(path).then(
        (got) => assert.ok(got.equals(model), `byte ${at}`),
        (error) => {
          assert.ok(error instanceof IroriError && error.message.length > 10, `byte ${at}: ${error}`);
          errors++;
        },
      );
    }
    assert.ok(errors > 100, `${errors} errors`);
  });
}

test("names that leave their folder, links, folders and other packings are refused, the rest is read", async () => {
  await using archive = await Archive.open(golden("evil.zip"));
  assert.deepEqual(Object.fromEntries(archive.members.map(({ name, refused }) => [name, refused])), {
    "../escape.gguf": "a name that leaves its folder",
    "/absolute.gguf": "a name that is no relative path",
    "a/../../escape.gguf": "a name that leaves its folder",
    "back\\slash.gguf": "a name that is no relative path",
    "C:/drive.gguf": "a name that is no relative path",
    "./dot.gguf": "a name that leaves its folder",
    "link.gguf": "not a regular file",
    "folder.gguf/": "a folder",
    "packed.gguf": "packed by method 12",
    "good/fine.gguf": undefined,
  });
});

test("a member that unpacks to more than its entry says is cut off and refused", async () => {
  const bytes = zipBytes([{ name: "pkg/weights/model.gguf", bytes: Buffer.alloc(50_000_000) }]);
  const entry = bytes.lastIndexOf("PK\x01\x02");
  bytes.writeUInt32LE(1000, entry + 24);
  const path = join(folder, "bomb.zip");
  await writeFile(path, bytes);
  await assert.rejects(readModel(path), { name: "BadFileError", message: /its length: got more, wanted 1000/ });
});

test("a directory that counts more members than it has room for is refused before anything is allocated", async () => {
  const bytes = zipBytes([{ name: "pkg/weights/model.gguf", bytes: model }]);
  const end = bytes.lastIndexOf("PK\x05\x06");
  bytes.writeUInt16LE(60_000, end + 8);
  bytes.writeUInt16LE(60_000, end + 10);
  const path = join(folder, "many.zip");
  await writeFile(path, bytes);
  await assert.rejects(readModel(path), { name: "BadFileError", message: /number of members: got 60000/ });
});

test("a member whose own header has another name than the directory is refused", async () => {
  const bytes = zipBytes([{ name: "pkg/weights/model.gguf", bytes: model }]);
  bytes.write("other", 30);
  const path = join(folder, "renamed.zip");
  await writeFile(path, bytes);
  await assert.rejects(readModel(path), { name: "BadFileError", message: /its name in the local header/ });
});

test("two members of one name are refused", async () => {
  const path = join(folder, "twice.zip");
  await writeFile(path, zipBytes([1, 2].map((i) => ({ name: "pkg/weights/model.gguf", bytes: Buffer.from([i]) }))));
  await assert.rejects(readModel(path), { name: "BadFileError", message: /occurs twice/ });
});

function isNear(at: number, bytes: Buffer): boolean {
  const local = bytes.indexOf("PK\x03\x04", 1);
  return (at >= local && at < local + 60) || at >= bytes.indexOf("PK\x01\x02");
}

function isBadFile(error: unknown): boolean {
  return error instanceof IroriError && error.code === "bad-file";
}
