// Models of Ollama's store on this disk: found by its names, linked and not copied, refused where half written.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { Store } from "../src/checkpoint/mod.ts";
import { Engine, GREEDY } from "../src/engine/mod.ts";
import { writeTinyGguf } from "./setup/tiny-gguf.ts";

const root = await mkdtemp(join(tmpdir(), "irori-ollama-"));
after(() => rm(root, { recursive: true }));
const models = join(root, "models");
const weights = join(root, "tiny.gguf");
await writeTinyGguf(weights);

const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");

/** Puts a blob into the store, as a layer of this kind. */
async function layer(kind: string, content: Uint8Array | string) {
  const path = join(models, "blobs", `sha256-${sha256(content)}`);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  return {
    mediaType: `application/vnd.ollama.image.${kind}`,
    digest: `sha256:${sha256(content)}`,
    size: Buffer.from(content).length,
  };
}

async function manifest(name: string, layers: readonly object[]): Promise<void> {
  const path = join(models, "manifests", name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, JSON.stringify({ schemaVersion: 2, layers }));
}

const bytes = await readFile(weights);
const model = await layer("model", bytes);
await manifest("registry.ollama.ai/library/tiny/latest", [
  model,
  await layer("system", "You are a hearth."),
  await layer("license", "\n  Apache License\nmore"),
  await layer("template", "{{ .Prompt }}"),
]);
await manifest("registry.ollama.ai/someone/tiny/1b", [model]);
await manifest("hf.co/owner/name/Q4_1", [model]);

let count = 0;
const open = () => Store.open(join(root, `home-${count++}`));
const ollamaModels = [join(root, "nowhere"), models];

test("a model is found by each kind of name, and its bytes are Ollama's own file", async () => {
  const store = await open();
  for (const source of [
    "ollama:tiny",
    "ollama:tiny:latest",
    "ollama:someone/tiny:1b",
    "ollama:hf.co/owner/name:Q4_1",
  ]) {
    const pulled = await store.pull(source, { ollamaModels });
    assert.equal(pulled.sha256, sha256(bytes));
    const [ours, theirs] = [await stat(pulled.path), await stat(join(models, "blobs", `sha256-${sha256(bytes)}`))];
    assert.equal(ours.ino, theirs.ino, "a link, not a copy");
    await store.verify(pulled);
  }
  const tiny = await store.find("ollama:tiny");
  assert.deepEqual([tiny?.license, tiny?.system, tiny?.isInPlace], ["Apache License", "You are a hearth.", false]);
});

test("where the disk gives no link, the file is used where it is, and is not found when it goes", async () => {
  const shared = "/dev/shm";
  const far =
    (await stat(shared).catch(() => undefined))?.dev !== (await stat(root)).dev
      ? await mkdtemp(join(shared, "irori-"))
      : undefined;
  if (far === undefined) return; // one disk only
  try {
    const store = await Store.open(join(far, "home"));
    const pulled = await store.pull("ollama:tiny", { ollamaModels });
    assert.equal(pulled.isInPlace, true);
    assert.equal(pulled.path, join(models, "blobs", `sha256-${sha256(bytes)}`));
    assert.deepEqual(await readdir(join(store.home, "blobs")), []);
    await store.verify(pulled);
    await store.remove("ollama:tiny");
    assert.ok((await stat(pulled.path)).size > 0);
  } finally {
    await rm(far, { recursive: true });
  }
});

test("it answers, with what its maker puts in front", async () => {
  await using engine = await Engine.open({
    home: join(root, "engine"),
    threads: 2,
    spinning: false,
    budgetBytes: () => 2e9,
    now: () => performance.now(),
    fetching: { ollamaModels },
  });
  await using lease = await engine.lease("ollama:tiny");
  assert.equal(await lease.renderChat([{ role: "user", content: "Hi" }]), "You are a hearth.Hi");
  assert.equal(
    await lease.renderChat([
      { role: "system", content: "Not." },
      { role: "user", content: "Hi" },
    ]),
    "Not.Hi",
  );
  for await (const event of lease.generate({
    prompt: { text: "a" },
    seed: 1,
    maxTokens: 3,
    ignoreEos: true,
    sampling: GREEDY,
  }))
    if (event.type === "end") assert.equal(event.ids.length, 3);
});

test("what is not there, half written, of several parts or no manifest is a sentence", async () => {
  const store = await open();
  const pull = (source: string) => store.pull(source, { ollamaModels: [models] });
  await assert.rejects(pull("ollama:tni"), { code: "not-found", message: /wanted "tiny"; `ollama pull`/ });
  await assert.rejects(store.pull("ollama:tiny"), { code: "not-found", message: /OLLAMA_MODELS/ });
  await manifest("registry.ollama.ai/library/broken/latest", [{ mediaType: "x", digest: "md5:1", size: 1 }]);
  await assert.rejects(pull("ollama:broken"), { code: "bad-file", message: /no manifest of Ollama/ });
  const adapter = await layer("adapter", "a");
  await manifest("registry.ollama.ai/library/adapted/latest", [model, adapter]);
  await assert.rejects(pull("ollama:adapted"), { code: "unsupported", message: /got adapter/ });
  await manifest("registry.ollama.ai/library/bare/latest", [await layer("system", "x")]);
  await assert.rejects(pull("ollama:bare"), { code: "unsupported", message: /files of weights: got 0/ });
  const half = await layer("model", Buffer.concat([bytes, Buffer.from("half")]));
  await manifest("registry.ollama.ai/library/half/latest", [half]);
  const path = join(models, "blobs", half.digest.replace(":", "-"));
  await truncate(path, 1000);
  await assert.rejects(pull("ollama:half"), { code: "bad-file", message: /length: got 1000.*half fetched/ });
  await writeFile(path, Buffer.alloc(half.size));
  await assert.rejects(pull("ollama:half"), { code: "bad-file", message: /sha256 of Ollama's blob.*half written/ });
  await rm(path);
  await assert.rejects(pull("ollama:half"), { code: "not-found", message: /no such file/ });
  assert.deepEqual(await readdir(join(store.home, "blobs")), []);
});
