// Fetching over HTTP from a server that has accidents: what comes is what was meant or a sentence, nothing half is ever visible,
// and what came is not fetched again. The server is a stand-in on 127.0.0.1.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { IroriError, type ProgressEvent } from "../src/base/mod.ts";
import { type CatalogEntry, type PullOptions, Store, type StoreOptions } from "../src/checkpoint/mod.ts";
import { type Accident, StandIn } from "./stand-in.ts";

const root = await mkdtemp(join(tmpdir(), "irori-sources-"));
after(() => rm(root, { recursive: true, maxRetries: 5 }));
const child = fileURLToPath(new URL("setup/pull-once.ts", import.meta.url));

const model = Buffer.from(Array.from({ length: 400_000 }, (_, i) => (i * 131 + (i >> 7)) & 255));
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

let server: StandIn;
let count = 0;
beforeEach(async () => {
  server = await StandIn.open();
  server.files.set("/plain/model.gguf", model);
});
afterEach(() => server[Symbol.asyncDispose]());

/** Quick to lose patience, in pieces of 64 KiB. */
const quick = { answerMs: 400, idleMs: 300, retryMs: 2, attempts: 4, pieceBytes: 65_536, connections: 3 };
const withHub = (more: object = {}): PullOptions => ({ network: { ...quick, hubEndpoint: server.url, ...more } });
const open = (options: StoreOptions = {}, home = join(root, String(count++))) => Store.open(home, options);
const plain = () => `${server.url}/plain/model.gguf`;

async function pulledWhole(store: Store, source = plain(), options = withHub()): Promise<void> {
  const pulled = await store.pull(source, options);
  assert.ok((await readFile(pulled.path)).equals(model));
  assert.equal(pulled.sha256, sha256(model));
  await store.verify(pulled);
  await isClean(store);
}

async function isClean(store: Store, left: readonly string[] = ["partial"]): Promise<void> {
  for (const name of ["staging", "locks", ...left]) assert.deepEqual(await readdir(join(store.home, name)), [], name);
}

const says =
  (code: string, ...texts: RegExp[]) =>
  (error: unknown) => {
    assert.ok(error instanceof IroriError, String(error));
    assert.equal(error.code, code, error.message);
    for (const text of texts) assert.match(error.message, text);
    return true;
  };

/** One accident at the n-th request of a path that is no probe; else none. */
const once = (at: number, accident: Accident) => {
  let seen = 0;
  server.rule = ({ range }) => (range !== "bytes=0-0" && seen++ === at ? accident : undefined);
};
/** An accident at every request that is no probe. */
const always = (accident: Accident) => {
  server.rule = ({ range }) => (range === "bytes=0-0" ? undefined : accident);
};
const starts = () =>
  server.asked("/plain").flatMap(({ range }) => (range === "bytes=0-0" ? [] : [Number(range?.match(/\d+/)?.[0])]));

test("a file comes in pieces over several connections, with progress to its end", async () => {
  const events: ProgressEvent[] = [];
  const pulled = await (await open()).pull(plain(), { ...withHub(), onProgress: (event) => events.push(event) });
  assert.ok((await readFile(pulled.path)).equals(model));
  assert.deepEqual(
    starts().sort((a, b) => a - b),
    [0, 65_536, 131_072, 196_608, 262_144, 327_680, 393_216],
  );
  const downloads = events.filter(({ step }) => step === "download");
  assert.equal(downloads.at(-1)?.done, model.length);
  assert.ok(downloads.every(({ done }, i) => i === 0 || done >= (downloads[i - 1]?.done ?? 0)));
});

test("a connection that breaks midway goes on at its byte", async () => {
  once(0, { breakAfter: 40_000 });
  await pulledWhole(await open());
  assert.ok(starts().includes(40_000), starts().join());
});

test("a connection that breaks again and again, each time a little later, ends well", async () => {
  always({ breakAfter: 20_000 });
  await pulledWhole(await open());
});

test("a stall is noticed, and the rest comes by another connection", async () => {
  once(1, { stallAfter: 30_000 });
  await pulledWhole(await open());
});

for (const [name, accident, text] of [
  [
    "another part than was asked for",
    { shiftRange: 1000 },
    /another part of the file.*, 4 times in a row: got bytes \d+/,
  ],
  ["an error of the server", { status: 503, body: "busy" }, /is refused, 4 times in a row: got 503 \(busy\) from 127/],
  ["a connection that breaks before a byte", { breakAfter: 0 }, /connection to 127.* broke, 4 times in a row/],
] as const) {
  test(`${name} once is passed over; at every request it is a sentence, and nothing is left but pieces`, async () => {
    once(2, accident);
    await pulledWhole(await open());
    always(accident);
    const store = await open();
    await assert.rejects(store.pull(plain(), withHub()), says("io", text));
    assert.deepEqual(await readdir(join(store.home, "blobs")), []);
    await isClean(store, []);
    server.rule = () => undefined;
    await pulledWhole(store);
  });
}

test("a server that gives no parts gives the whole; where that breaks it begins anew", async () => {
  let requests = 0;
  server.rule = () => ({ ignoreRange: true, ...(requests++ === 1 && { breakAfter: 50_000 }) });
  await pulledWhole(await open());
  assert.equal(requests, 3);
});

test("a file that changes while it is fetched is fetched from the beginning; one that always changes is given up", async () => {
  once(3, { etag: '"another"' });
  await pulledWhole(await open());
  let etag = 0;
  server.rule = () => ({ etag: `"${etag++}"` });
  await assert.rejects((await open()).pull(plain(), withHub()), says("io", /changes while it is fetched/));
  always({ total: model.length + 1 });
  await assert.rejects((await open()).pull(plain(), withHub()), says("io", /changes while it is fetched/));
});

test("a body that comes packed is refused", async () => {
  always({ headers: { "content-encoding": "gzip" } });
  await assert.rejects((await open()).pull(plain(), withHub()), says("io", /comes packed.*got gzip/));
});

test("an empty file and a file of one byte are files", async () => {
  const store = await open();
  for (const bytes of [Buffer.alloc(0), Buffer.from("x")]) {
    server.files.set(`/plain/${bytes.length}.gguf`, bytes);
    const pulled = await store.pull(`${server.url}/plain/${bytes.length}.gguf`, withHub());
    assert.equal((await stat(pulled.path)).size, bytes.length);
  }
});

test("a server that asks to wait is waited for; one that asks to wait for long is named with its time", async () => {
  once(0, { status: 429, headers: { "retry-after": "1" } });
  const began = performance.now();
  await pulledWhole(await open());
  assert.ok(performance.now() - began >= 1000);
  once(0, { status: 429, headers: { "retry-after": new Date(Date.now() + 1500).toUTCString() } });
  await pulledWhole(await open());
  always({ status: 429, headers: { "retry-after": "3600" }, body: "too many" });
  await assert.rejects((await open()).pull(plain(), withHub()), says("io", /429 \(too many\).*asks to wait 3600 s/));
});

test("a server that does not answer is given up after its time, with the reason", async () => {
  server.rule = () => ({ isSilent: true });
  const began = performance.now();
  await assert.rejects((await open()).pull(plain(), withHub()), says("io", /did not begin to answer within 400 ms/));
  assert.ok(performance.now() - began < 3000);
  const nobody = "https://nobody.invalid/model.gguf";
  await assert.rejects(
    (await open()).pull(nobody, withHub()),
    says("io", /nobody\.invalid does not answer.*not known/),
  );
  const closed = server.url.replace(/\d+$/, "9");
  await assert.rejects(
    (await open()).pull(`${closed}/m.gguf`, withHub()),
    says("io", /cannot be reached \(ECONNREFUSED\)/),
  );
});

test("redirects are followed, not for ever, and credentials stay with the host that they are for", async () => {
  await using other = await StandIn.open();
  other.files.set("/elsewhere", model);
  server.repositories.set("o/n", { files: { "model.gguf": model } });
  server.rule = ({ path }) => (path.startsWith("/cdn/") ? { redirect: `${other.url}/elsewhere` } : undefined);
  await pulledWhole(await open(), "hf:o/n", withHub({ hubToken: "hf_secret" }));
  assert.ok(server.log.every(({ authorization }) => authorization === "Bearer hf_secret"));
  assert.ok(other.log.length > 0 && other.log.every(({ authorization }) => authorization === undefined));
  server.rule = ({ path }) => ({ redirect: path });
  await assert.rejects((await open()).pull(plain(), withHub()), says("io", /redirects without end/));
});

test("statuses that no patience helps are sentences at once", async () => {
  for (const [status, code, text] of [
    [401, "io", /401.*token/],
    [403, "io", /403.*terms/],
    [404, "not-found", /404.*spelling/],
    [410, "not-found", /410/],
  ] as const) {
    server.log.length = 0;
    server.rule = () => ({ status });
    await assert.rejects((await open()).pull(plain(), withHub()), says(code, text));
    assert.equal(server.log.length, 1);
  }
});

test("without network nothing is asked", async () => {
  const offline = { ...withHub(), isOffline: true };
  for (const source of [plain(), "hf:o/n"])
    await assert.rejects(
      (await open()).pull(source, offline),
      says("not-found", /needs the network; unset IRORI_OFFLINE/),
    );
  assert.equal(server.log.length, 0);
});

test("a full disk ends a download with the numbers; its pieces are gone on with", async () => {
  const { realDisk } = await import("../src/checkpoint/store-disk.ts");
  let room = 150_000;
  const full = () => Object.assign(new Error("ENOSPC: no space left"), { code: "ENOSPC", syscall: "write" });
  const disk = {
    ...realDisk,
    async edit(path: string) {
      const file = await realDisk.edit(path);
      return {
        ...file,
        async writeAt(bytes: Uint8Array, at: number) {
          room -= bytes.length;
          if (room < 0) throw full();
          await file.writeAt(bytes, at);
        },
      };
    },
  };
  const store = await open({ disk });
  await assert.rejects(store.pull(plain(), withHub()), says("io", /ENOSPC/, /bytes free/, /IRORI_HOME/));
  const before = server.bytesServed;
  room = 1e9;
  await pulledWhole(store);
  assert.ok(server.bytesServed - before < 300_000, `${server.bytesServed - before} bytes came again`);
});

/** The folder of the only download that broke off. */
async function piecesIn(store: Store): Promise<string> {
  const names = await readdir(join(store.home, "partial"));
  assert.equal(names.length, 1);
  return join(store.home, "partial", names[0] as string);
}

/** Breaks off for good after some pieces. */
async function breakOff(store: Store, source: string): Promise<void> {
  server.log.length = 0;
  server.rule = ({ range }, times) => {
    if (range === "bytes=0-0") return undefined;
    return times > 4 ? { status: 404 } : { breakAfter: 30_000 };
  };
  await assert.rejects(store.pull(source, withHub()), says("not-found", /404/));
  server.rule = () => undefined;
}

test("pieces that were spoilt on this disk are found by the hash, and the file is fetched anew", async () => {
  const store = await open({ catalog: [entry(plain())] });
  await breakOff(store, "tiny");
  const data = join(await piecesIn(store), "data");
  await writeFile(data, (await readFile(data)).fill(7, 0, 1000));
  await pulledWhole(store, "tiny");
});

test("damaged bytes stay until they are here again whole, and then give way", async () => {
  const store = await open({ catalog: [entry(plain())] });
  const pulled = await store.pull("tiny", withHub());
  const damaged = Buffer.from(model).fill(7, 1000, 1010);
  await writeFile(pulled.path, damaged);
  server.rule = () => ({ status: 404 });
  await assert.rejects(store.pullAgain(pulled, withHub()), says("not-found", /404/));
  assert.ok((await readFile(pulled.path)).equals(damaged), "nothing is lost where nothing comes");
  server.rule = () => undefined;
  const again = await store.pullAgain(pulled, withHub());
  assert.deepEqual([again.name, again.path], [pulled.name, pulled.path]);
  assert.ok((await readFile(again.path)).equals(model));
  await store.verify(again);
  await isClean(store);
});

test("a note of pieces that is broken, of another file or too good to be true counts as none", async () => {
  const store = await open();
  for (const change of [
    () => "{ half",
    () => "null",
    (note: string) => note.replace(/"bytes":\d+/, '"bytes":1'),
    (note: string) => note.replace(/"done":\[\d+/, '"done":[99999999'),
    (note: string) => note.replace(/"etag":"[^,]+"/, '"etag":"other"'),
    (note: string) => note.replace(/"url":"[^,]+"/, '"url":"https://example.org/m.gguf"'),
  ]) {
    await breakOff(store, plain());
    const path = join(await piecesIn(store), "state.json");
    const note = await readFile(path, "utf8");
    assert.notEqual(change(note), note);
    await writeFile(path, change(note));
    server.bytesServed = 0;
    await pulledWhole(store);
    assert.ok(server.bytesServed >= model.length, "all of it came anew");
    await store.remove(plain());
  }
});

test("a process that is killed while it downloads has its pieces gone on with by the next", async () => {
  server.rule = () => ({ pauseMs: 15 });
  const home = join(root, String(count++));
  const run = () =>
    spawn(process.execPath, [child, home, plain(), JSON.stringify(quick)], { stdio: ["ignore", "pipe", "pipe"] });
  const first = run();
  while (server.bytesServed < 150_000) await new Promise((next) => setTimeout(next, 5));
  first.kill("SIGKILL");
  await new Promise((resolve) => first.once("close", resolve));
  const kept = JSON.parse(
    await readFile(join(home, "partial", (await readdir(join(home, "partial")))[0] ?? "", "state.json"), "utf8").catch(
      () => '{"done":[0]}',
    ),
  );
  const done = (kept.done as number[]).reduce((a, b) => a + b, 0);
  server.bytesServed = 0;
  await pulledWhole(await open({}, home));
  assert.ok(
    server.bytesServed <= model.length - done + 1,
    `${server.bytesServed} of ${model.length}, ${done} were here`,
  );
});

test("two processes cause one download", async () => {
  server.rule = () => ({ pauseMs: 3 });
  const home = join(root, String(count++));
  const runs = [1, 2, 3].map(() =>
    spawn(process.execPath, [child, home, plain(), JSON.stringify(quick)], { stdio: "inherit" }),
  );
  const codes = await Promise.all(runs.map((run) => new Promise((resolve) => run.once("close", resolve))));
  assert.deepEqual(codes, [0, 0, 0]);
  assert.ok(server.bytesServed < model.length + 10, `${server.bytesServed}`);
});

function entry(...sources: string[]): CatalogEntry {
  return {
    name: "tiny",
    layout: "file",
    files: [{ name: "", sha256: sha256(model), bytes: model.length }],
    license: "Apache-2.0",
    family: "llama",
    description: "a test",
    sources,
  };
}

test("of a catalog's mirrors one that is silent, one with other bytes and one of another length give way to the next", async () => {
  const flipped = Buffer.from(model);
  flipped[77] = (flipped[77] as number) ^ 1;
  server.repositories.set("o/flipped", { files: { "m.gguf": flipped } });
  server.repositories.set("o/short", { files: { "m.gguf": model.subarray(1) } });
  server.repositories.set("o/good", { files: { "m.gguf": model } });
  const mirrors = ["https://nobody.invalid/m.gguf", "hf:o/none:m.gguf", "hf:o/short:m.gguf", "hf:o/flipped:m.gguf"];
  const store = await open({ catalog: [entry(...mirrors, "hf:o/good:m.gguf")] });
  await pulledWhole(store, "tiny");
  const bad = await open({ catalog: [entry(...mirrors)] });
  await assert.rejects(
    bad.pull("tiny", withHub()),
    says(
      "bad-file",
      /1\) nobody\.invalid does not answer/,
      /2\) .*404/,
      /3\) .*399999 bytes, wanted 400000/,
      /4\) .*other bytes \(sha256\): got [0-9a-f]{64}/,
    ),
  );
  assert.deepEqual(await readdir(join(bad.home, "blobs")), []);
  assert.equal(server.asked("/api").length, 0, "the bytes are known: nothing else is asked");
});

test("a mirror breaks off, and the next one goes on with its pieces", async () => {
  await using other = await StandIn.open();
  other.files.set("/m.gguf", model);
  server.rule = ({ range }, times) => (range === "bytes=0-0" || times < 3 ? undefined : { status: 404 });
  const store = await open({ catalog: [entry(plain(), `${other.url}/m.gguf`)] });
  await pulledWhole(store, "tiny");
  assert.ok(other.bytesServed < model.length - 60_000, `${other.bytesServed}`);
});

test("a repository's model in safetensors comes as a folder of its commit, each file by its hash, with its licence", async () => {
  const files = {
    "README.md": Buffer.from("read"),
    "config.json": Buffer.from('{"model_type":"llama"}'),
    "tokenizer.json": Buffer.from("{}"),
    "model.safetensors": model,
    "pytorch_model.bin": model,
  };
  server.repositories.set("o/n", { files, license: "mit", commit: "abc123" });
  const store = await open();
  const pulled = await store.pull("hf:o/n", withHub());
  assert.deepEqual((await readdir(pulled.path)).sort(), ["config.json", "model.safetensors", "tokenizer.json"]);
  assert.equal(pulled.license, "mit");
  await store.verify(pulled);
  assert.ok(server.asked("/o/n/resolve/").every(({ path }) => path.startsWith("/o/n/resolve/abc123/")));
  assert.deepEqual(await store.pull("hf:o/n", { isOffline: true }), pulled);
  server.repositories.set("o/bad", { files: { ...files, "config.json": Buffer.from("{}") } });
  server.rule = ({ path }) => (path.startsWith("/cdn/") ? { spoil: (bytes) => bytes.fill(0x20, 0, 1) } : undefined);
  await assert.rejects(store.pull("hf:o/bad", withHub()), says("bad-file", /gave other bytes \(git's hash\)/));
});

test("of .gguf files the first in order is taken and told; a quantisation or a file can be named", async () => {
  const other = Buffer.from("GGUFother");
  server.repositories.set("o/q", {
    files: {
      "m.Q2_K.gguf": other,
      "m.Q4_K_M.gguf": model,
      "m.Q4_K_M-extra.gguf": other,
      "m.Q8_0.gguf": other,
      "mmproj-Q4_K_M.gguf": other,
    },
  });
  const notes: string[] = [];
  const onProgress = ({ step, item = "" }: ProgressEvent) => void (step === "choose" && notes.push(item));
  await pulledWhole(await open(), "hf:o/q", { ...withHub(), onProgress });
  assert.match(
    notes.join(),
    /^hf:o\/q: took m\.Q4_K_M\.gguf of 4 \.gguf files; hf:o\/q:QUANTISATION takes another \(Q8_0, Q2_K\)$/,
  );
  const picked = await (await open()).pull("hf:o/q:q8_0", withHub());
  assert.ok((await readFile(picked.path)).equals(other));
  await pulledWhole(await open(), "hf:o/q:m.Q4_K_M.gguf");
  await assert.rejects(
    (await open()).pull("hf:o/q:Q4_K_M", withHub()),
    says("bad-input", /may mean: got m\.Q4_K_M\.gguf, m\.Q4_K_M-extra/),
  );
  await assert.rejects((await open()).pull("hf:o/q:Q5_0", withHub()), says("not-found", /neither.*got m\.Q2_K/));
});

test("where a repository has both, what is asked for decides", async () => {
  const files = { "config.json": Buffer.from("{}"), "model.safetensors": model, "m.Q4_0.gguf": Buffer.from("GGUF") };
  server.repositories.set("o/both", { files });
  const lab = await (await open()).pull("hf:o/both", { ...withHub(), prefers: "safetensors" });
  assert.deepEqual((await readdir(lab.path)).sort(), ["config.json", "model.safetensors"]);
  assert.equal((await (await open()).pull("hf:o/both", withHub())).bytes, 4);
});

test("repositories without weights, with pickles only, split, gated, private and misspelt are sentences with a way on", async () => {
  server.repositories.set("o/none", { files: { "README.md": Buffer.from("x") } });
  server.repositories.set("o/pickle", { files: { "config.json": Buffer.from("{}"), "pytorch_model.bin": model } });
  server.repositories.set("o/split", {
    files: { "m-Q4_0-00001-of-00002.gguf": model, "m-Q4_0-00002-of-00002.gguf": model },
  });
  server.repositories.set("o/bare", { files: { "model.safetensors": model } });
  const store = await open({ catalog: [entry("file:/x")] });
  const pull = (source: string, more: object = {}) => store.pull(source, withHub(more));
  await assert.rejects(pull("hf:o/none"), says("not-found", /hf:o\/none: no weights: got README\.md/));
  await assert.rejects(
    pull("hf:o/pickle"),
    says("unsupported", /pytorch_model\.bin, a PyTorch pickle/, /save_pretrained/),
  );
  await assert.rejects(pull("hf:o/split"), says("unsupported", /one part of a split file/));
  await assert.rejects(pull("hf:o/bare"), says("unsupported", /without a config\.json/));
  await assert.rejects(pull("hf:o/tinny"), says("not-found", /"o\/tinny" is no repository/, /the catalog has tiny/));
  server.rule = () => ({ status: 403, headers: { "x-error-code": "GatedRepo" } });
  await assert.rejects(pull("hf:o/gated", { hubToken: "t" }), says("io", /accept its terms at http.*o\/gated/));
  server.rule = () => ({ status: 401 });
  await assert.rejects(pull("hf:o/gated"), says("not-found", /without a token.*HF_TOKEN/));
  server.rule = () => ({ status: 429 });
  await assert.rejects(pull("hf:o/n"), says("io", /429.*HF_TOKEN/));
  server.rule = () => ({ status: 200, body: "<html>" });
  await assert.rejects(pull("hf:o/n"), says("io", /answers something else.*HF_ENDPOINT/));
});

test("a proxy is used where the variables say so, and not where they exclude the host", async () => {
  const seen: string[] = [];
  const proxy = createServer((request, response) => {
    seen.push(request.url ?? "");
    response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  try {
    const http_proxy = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    await assert.rejects((await open()).pull(plain(), withHub({ proxies: { http_proxy } })), says("not-found", /404/));
    assert.equal(seen[0], plain());
    await pulledWhole(await open(), plain(), withHub({ proxies: { http_proxy, no_proxy: "127.0.0.1" } }));
    assert.equal(seen.length, 1);
  } finally {
    await new Promise((resolve) => proxy.close(resolve));
  }
});

test("terms are asked once and noted", async () => {
  const terms = { name: "the Terms", url: "https://example.org/terms" };
  const store = await open({ catalog: [{ ...entry(plain()), terms }] });
  await assert.rejects(
    store.pull("tiny", withHub()),
    says("bad-input", /the Terms.*https:\/\/example\.org\/terms.*--accept-terms/),
  );
  assert.equal(server.log.length, 0);
  const asked: string[] = [];
  const acceptsTerms = ({ url }: { url: string }, name: string) => asked.push(`${name} ${url}`) > 0;
  await store.pull("tiny", { ...withHub(), acceptsTerms });
  await store.remove("tiny");
  await pulledWhole(store, "tiny");
  assert.deepEqual(asked, ["tiny https://example.org/terms"]);
});

test("terms can be asked for before anything is fetched, and not again", async () => {
  const terms = { name: "the Terms", url: "https://example.org/other" };
  const store = await open({ catalog: [{ ...entry(plain()), terms }] });
  await assert.rejects(store.requireTerms("tiny", {}), says("bad-input", /the Terms/));
  let asked = 0;
  await store.requireTerms("tiny", { acceptsTerms: () => ++asked > 0 });
  assert.equal(server.log.length, 0);
  await pulledWhole(store, "tiny");
  await store.requireTerms("tiny", { acceptsTerms: () => ++asked > 0 });
  assert.equal(asked, 1);
});
