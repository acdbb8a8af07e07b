// Data of InsightSpike in all its forms becomes part of a memory, once; what would run code is refused by name. The forms are
// those of its repository (reference §1.10); the bytes are made here.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, beforeEach, test } from "node:test";
import { seededRandom } from "../src/base/mod.ts";
import { hashedEmbedder, idMaker, Memory, migrate, openInMemory } from "../src/memory/mod.ts";
import { hashedVector } from "../src/text/mod.ts";
import { zipBytes } from "./zip-bytes.ts";

let folder: string;
let memory: Memory;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "irori-legacy-"));
});
after(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  const random = seededRandom(1);
  const store = openInMemory({ embedder: hashedEmbedder, newId: idMaker(random) });
  memory = new Memory({ store, embedder: hashedEmbedder, random, now: () => 1_700_000_000_000 });
});
const place = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, content);
  return path;
};

// the few instructions of pickle that such files have
const text = (value: string): number[] => {
  const bytes = new TextEncoder().encode(value);
  return [0x58, ...new Uint8Array(Uint32Array.of(bytes.length).buffer), ...bytes];
};
const int = (value: number): number[] => [0x4a, ...new Uint8Array(Int32Array.of(value).buffer)];
const float = (value: number): number[] => {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return [0x47, ...new Uint8Array(view.buffer)];
};
const named = (module: string, name: string): number[] => [0x63, ...new TextEncoder().encode(`${module}\n${name}\n`)];
const tuple = (...items: number[][]): number[] => [0x28, ...items.flat(), 0x74];
const map = (entries: Record<string, number[]>): number[] => [
  0x7d,
  0x28,
  ...Object.entries(entries).flatMap(([key, value]) => [...text(key), ...value]),
  0x75,
];
const pickle = (body: number[]): Uint8Array => Uint8Array.from([0x80, 2, ...body, 0x2e]);
const tensor = (storage: string, key: string, numbers: number, shape: number[], strides: number[]): number[] => [
  ...named("torch._utils", "_rebuild_tensor_v2"),
  ...tuple(
    [...tuple(text("storage"), named("torch", storage), text(key), text("cpu"), int(numbers)), 0x51],
    int(0),
    tuple(...shape.map(int)),
    tuple(...strides.map(int)),
    [0x89],
    [...named("collections", "OrderedDict"), 0x29, 0x52],
  ),
  0x52,
];
const array = (values: number[]): number[] => {
  const raw = new Uint8Array(Float32Array.from(values).buffer);
  const type = [...named("numpy", "dtype"), ...tuple(text("f4"), [0x89], [0x88]), 0x52];
  const bytes = [0x42, ...new Uint8Array(Uint32Array.of(raw.length).buffer), ...raw];
  return [
    ...[
      ...named("numpy.core.multiarray", "_reconstruct"),
      ...tuple(named("numpy", "ndarray"), tuple(int(0)), [0x43, 1, 0x62]),
      0x52,
    ],
    ...[...tuple(int(1), tuple(int(values.length)), type, [0x89], bytes), 0x62],
  ];
};
const graphFile = (fields: Record<string, number[]>, storages: Record<string, Uint8Array>): Uint8Array => {
  const data = [
    ...[...named("torch_geometric.data.data", "Data"), 0x29, 0x81],
    ...map({
      _store: [
        ...named("torch_geometric.data.storage", "GlobalStorage"),
        0x29,
        0x81,
        ...map({ _mapping: map(fields) }),
        0x62,
      ],
    }),
    0x62,
  ];
  const members: Record<string, Uint8Array> = {
    "graph_pyg/data.pkl": pickle(data),
    "graph_pyg/byteorder": new TextEncoder().encode("little"),
  };
  for (const [key, bytes] of Object.entries(storages)) members[`graph_pyg/data/${key}`] = bytes;
  return zipBytes(Object.entries(members).map(([name, bytes]) => ({ name, bytes })));
};
const bytesOf = (numbers: Float32Array | BigInt64Array) => new Uint8Array(numbers.buffer);

test("23: episodes in every layout: array, { episodes }, { data }; vec, vector, embedding; c, c_value; twice changes nothing", async () => {
  const vec = [...hashedVector("one")];
  place(
    "a/core/episodes.json",
    JSON.stringify([{ id: 0, text: "The hearth is warm.", c: 0.9, metadata: { tag: "x" }, vec }]),
  );
  place(
    "a/layer2_memory.json",
    JSON.stringify({
      mode: "m",
      episodes: [{ text: "Boats sail.", c_value: 0.3, timestamp: 1_600_000_000.5, embedding: vec }],
      config: {},
    }),
  );
  place(
    "a/knowledge_base.json",
    JSON.stringify({
      data: [
        { content: "Snow falls.", confidence: 0.2, vector: vec },
        { text: "" },
        { c: 1 },
        { text: "bad", vec: "x" },
      ],
    }),
  );
  const dry = await migrate(memory.parts, join(folder, "a"), { dryRun: true });
  assert.deepEqual([dry.added, (await memory.stats()).episodes], [0, 0]);
  const { files, added } = await migrate(memory.parts, join(folder, "a"));
  assert.deepEqual(
    files.map(({ path, episodes }) => [path, episodes]),
    [
      ["core/episodes.json", 1],
      ["knowledge_base.json", 1],
      ["layer2_memory.json", 1],
    ],
  );
  assert.deepEqual(
    files[1]?.refused.map((reason) => reason.slice(0, 14)),
    ["row 2: no text", "row 3: no text", "row 4: vec: In"],
  );
  assert.deepEqual(
    dry.files.map(({ episodes, refused }) => [episodes, refused]),
    files.map(({ episodes, refused }) => [episodes, refused]),
  );
  assert.equal(added, 3);
  const { items } = await memory.list();
  const by = (start: string) => items.find((episode) => episode.text.startsWith(start));
  assert.deepEqual(
    [by("The hearth")?.confidence, by("The hearth")?.metadata, by("Boats")?.recordedAt],
    [0.9, { tag: "x" }, 1_600_000_000_500],
  );
  const before = await memory.recall("hearth");
  assert.equal((await migrate(memory.parts, join(folder, "a"))).added, 0);
  assert.equal((await memory.stats()).episodes, 3);
  assert.deepEqual((await memory.recall("hearth")).recalled, before.recalled);
  const kept = await migrate(memory.parts, place("b.json", JSON.stringify([{ text: "short", vec: [1, 2] }])), {
    keepVectors: true,
  });
  assert.match(kept.files[0]?.refused[0] ?? "", /row 1: a vector of 2 numbers, wanted 384/);
});

test("23: graph_pyg.pt: features, links with transposed strides, documents; bad links refused one by one", async () => {
  const x = Float32Array.from({ length: 3 * 4 }, (_, i) => i / 2);
  // two rows by five links, stored column by column
  const edges = BigInt64Array.from([0n, 1n, 1n, 0n, 1n, 2n, 2n, 2n, 0n, 9n]);
  const document = map({
    text: text("The hearth is old."),
    embedding: array([1, 0, 0]),
    c_value: float(0.7),
    episode_idx: int(0),
    timestamp: float(1_600_000_000),
  });
  const file = graphFile(
    {
      x: tensor("FloatStorage", "0", 12, [3, 4], [4, 1]),
      edge_index: tensor("LongStorage", "1", 10, [2, 5], [1, 2]),
      num_nodes: int(3),
      documents: [0x5d, 0x28, ...document, ...map({ text: text("") }), 0x65],
    },
    { 0: bytesOf(x), 1: bytesOf(edges) },
  );
  place("g/graph_pyg.pt", file);
  const { files } = await migrate(memory.parts, join(folder, "g"));
  const [{ nodes, links, episodes, refused }] = files as [(typeof files)[number]];
  assert.deepEqual([nodes, links, episodes], [3, 3, 1]);
  assert.deepEqual(refused, [
    "document 2: no text",
    "link 4: from 2 to 2, of 3 nodes",
    "link 5: from 0 to 9, of 3 nodes",
  ]);
  const [near] = await memory.store.neighbours("default", "concept:graph_pyg/node_1", { hops: 1, mostNodes: 9 });
  assert.deepEqual([...(near ?? [])].sort(), ["concept:graph_pyg/node_0", "concept:graph_pyg/node_2"]);
  const [node] = await memory.store.getConcepts("default", ["graph_pyg/node_2"]);
  assert.deepEqual(node?.attributes.features, [4, 4.5, 5, 5.5]);
  const [own] = (await memory.list()).items;
  assert.deepEqual([own?.text, own?.confidence, own?.recordedAt], ["The hearth is old.", 0.7, 1_600_000_000_000]);
  const stats = await memory.stats();
  await migrate(memory.parts, join(folder, "g"));
  assert.deepEqual(await memory.stats(), stats);
});

const hostile: [name: string, body: number[], message: RegExp][] = [
  [
    "os.system",
    [...named("os", "system"), ...tuple(text("touch /tmp/pwned")), 0x52],
    /calls for os\.system, which is no data/,
  ],
  ["posix.system", [...named("posix", "system"), ...tuple(text("x")), 0x52], /posix\.system/],
  ["builtins.eval", [...named("builtins", "eval"), ...tuple(text("1")), 0x52], /builtins\.eval/],
  [
    "a name put on the stack",
    [...text("subprocess"), ...text("Popen"), 0x93, ...tuple(text("x")), 0x52],
    /subprocess\.Popen/,
  ],
  ["an unknown instruction", [0xff], /the instruction 0xff at 2/],
  ["a value that is not there", [0x52], /a value that is not there/],
  ["a kept value that is not", [0x68, 9], /the value 9, which was not kept/],
];
for (const [name, body, message] of hostile)
  test(`23: a hostile pickle is refused: ${name}`, async () => {
    place(`h/${name}.pt`, zipBytes([{ name: "g/data.pkl", bytes: pickle(body) }]));
    const { files } = await migrate(memory.parts, join(folder, `h/${name}.pt`));
    assert.match(files[0]?.refused[0] ?? "", message);
    assert.deepEqual((await memory.stats()).concepts, 0);
  });

test("a cut file at every length is a sentence, never a crash", async () => {
  const whole = pickle([
    ...map({
      x: tensor("FloatStorage", "0", 4, [2, 2], [2, 1]),
      documents: [0x5d, 0x28, ...map({ text: text("t") }), 0x65],
    }),
  ]);
  for (let length = 0; length < whole.length; length += 7) {
    const path = place("cut.pt", zipBytes([{ name: "g/data.pkl", bytes: whole.subarray(0, length) }]));
    const { files } = await migrate(memory.parts, path);
    assert.equal(files[0]?.refused.length, 1, `length ${length}`);
  }
});

test("23: index.faiss is read and told, a broken one refused; insight_facts.db becomes insights", async () => {
  const faiss = (dims: number, vectors: number[][], magic = "IxF2") => {
    const header = Buffer.alloc(45);
    header.write(magic, 0, "latin1");
    header.writeUInt32LE(dims, 4);
    header.writeBigInt64LE(BigInt(vectors.length), 8);
    header.writeBigInt64LE(1n << 20n, 16);
    header.writeBigInt64LE(1n << 20n, 24);
    header.writeUInt8(1, 32);
    header.writeInt32LE(1, 33);
    header.writeBigUInt64LE(BigInt(dims * vectors.length), 37);
    return Buffer.concat([header, Buffer.from(Float32Array.from(vectors.flat()).buffer)]);
  };
  place(
    "f/index.faiss",
    faiss(
      384,
      Array.from({ length: 5 }, () => new Array(384).fill(0.1)),
    ),
  );
  place("f/short.faiss", faiss(4, [[1, 2, 3, 4]]).subarray(0, 50));
  place("f/other.faiss", faiss(4, [[1, 2, 3, 4]], "IxHN"));
  mkdirSync(join(folder, "f"), { recursive: true });
  const db = new DatabaseSync(join(folder, "f/insight_facts.db"));
  db.exec(
    "CREATE TABLE insights (id TEXT PRIMARY KEY, text TEXT, source_concepts TEXT, target_concepts TEXT, confidence REAL, generated_at REAL, validation_status TEXT)",
  );
  db.prepare(
    "INSERT INTO insights VALUES ('i1', 'Energy and information are linked.', '[\"energy\"]', '[\"information\"]', 0.8, 1600000000, 'verified')",
  ).run();
  db.close();
  const { files, added } = await migrate(memory.parts, join(folder, "f"));
  const of = (name: string) => files.find(({ path }) => path === name);
  assert.equal(of("index.faiss")?.vectors, 5);
  assert.match(of("short.faiss")?.refused[0] ?? "", /50 bytes for 1 vectors of 4 numbers/);
  assert.match(of("other.faiss")?.refused[0] ?? "", /no flat FAISS index: got "IxHN"/);
  const [insight] = (await memory.list()).items;
  assert.deepEqual(
    [added, insight?.kind, insight?.confidence, insight?.metadata.status],
    [1, "insight", 0.8, "verified"],
  );
  await assert.rejects(migrate(memory.parts, join(folder, "nowhere")), /nowhere cannot be migrated/);
  await assert.rejects(
    migrate(memory.parts, place("empty/readme.txt", "x").replace("/readme.txt", "")),
    /nothing of InsightSpike's in/,
  );
});
