// A memory leaves as files and comes back the same: into any store, twice, after a stop, with another embedder.
import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { seededRandom } from "../src/base/mod.ts";
import { readSafetensors } from "../src/checkpoint/mod.ts";
import {
  type Embedder,
  everyEpisode,
  exportMemory,
  hashedEmbedder,
  idMaker,
  isExport,
  Memory,
  openInMemory,
  openSqlite,
  restoreMemory,
} from "../src/memory/mod.ts";
import { hashedVector } from "../src/text/mod.ts";

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "irori-transfer-"));
});
after(() => rmSync(folder, { recursive: true, force: true }));

let clock = 1_700_000_000_000;
function open(
  store = openInMemory({ embedder: hashedEmbedder, newId: idMaker(seededRandom(1)) }),
  embedder: Embedder = hashedEmbedder,
) {
  return new Memory({ store, embedder, random: seededRandom(2), now: () => clock++ });
}

async function filled(): Promise<Memory> {
  const memory = open();
  const [tea] = await memory.remember([
    { text: "Aya drinks green tea in the garden.", user: "aya", source: { uri: "notes/aya.md", start: 3, end: 38 } },
    { text: "The garden of Aya has an old pine.", metadata: { tags: ["garden"], n: 1.5 } },
    { text: "彩は毎朝、庭で緑茶を飲む。", isPinned: true, validFrom: 5, key: "k" },
  ]);
  await memory.remember("Aya drinks green tea in the garden.", { user: "aya" });
  await memory.correct(tea?.id as string, "Aya drinks black tea in the garden.");
  await memory.ask("What does Aya drink?");
  return memory;
}

async function all(memory: Memory) {
  const episodes = [];
  for await (const { version: _, ...episode } of everyEpisode(memory.store, memory.namespace)) episodes.push(episode);
  const vectors = await memory.store.vectorsOf(
    memory.namespace,
    episodes.map(({ id }) => id),
  );
  const { items: concepts } = await memory.store.listConcepts(memory.namespace, { limit: 1000 });
  const { items: links } = await memory.store.listLinks(memory.namespace, { limit: 1000 });
  const by = (link: (typeof links)[number]) => `${link.source} ${link.target} ${link.kind}`;
  const questions = await memory.questions();
  return {
    episodes,
    vectors,
    concepts: concepts.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    links: links.toSorted((a, b) => (by(a) < by(b) ? -1 : 1)),
    questions,
  };
}

test("what was exported comes back the same in a store of another kind, and a second time changes nothing", async () => {
  const memory = await filled();
  const path = join(folder, "whole");
  const exported = await exportMemory(memory.parts, path);
  assert.deepEqual(readdirSync(folder), ["whole"], "nothing is left beside it");
  assert.ok((await isExport(path)) && !(await isExport(folder)));
  await using store = await openSqlite({
    path: join(folder, "back.db"),
    embedder: hashedEmbedder,
    newId: idMaker(seededRandom(3)),
  });
  const back = open(store);
  const restored = await restoreMemory(back.parts, path);
  const { path: _, ...counts } = exported;
  assert.deepEqual(restored, { ...counts, known: 0, refused: [] });
  const was = await all(memory);
  assert.ok(was.links.length > 3 && was.concepts.length > 3 && was.questions.items.length === 1);
  assert.deepEqual(await all(back), was);
  const again = await restoreMemory(back.parts, path);
  assert.deepEqual([again.episodes, again.known, again.refused], [0, exported.episodes, []]);
  assert.deepEqual(await all(back), was);
  for (const query of ["green tea", "庭のお茶", "pine"])
    assert.deepEqual(
      (await back.recall(query)).recalled.map(({ episode }) => episode.id),
      (await memory.recall(query)).recalled.map(({ episode }) => episode.id),
    );
  await assert.rejects(exportMemory(memory.parts, path), /whole is not empty; name a folder/);
});

test("vectors are safetensors in the order of the lines; those of another embedder are made anew", async () => {
  const memory = await filled();
  const path = join(folder, "vectors");
  const { episodes } = await exportMemory(memory.parts, path);
  const { vectors } = await readSafetensors(join(path, "vectors-00000.safetensors"));
  assert.deepEqual(vectors?.shape, [episodes, 384]);
  const lines = readFileSync(join(path, "episodes.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  assert.deepEqual(vectors?.data.slice(384, 768), hashedVector(lines[1].text));
  const other: Embedder = {
    id: "other",
    dims: 32,
    related: 0.3,
    embed: async (texts) => texts.map((text) => hashedVector(text, 32)),
  };
  const back = open(openInMemory({ embedder: other, newId: idMaker(seededRandom(1)) }), other);
  assert.equal((await restoreMemory(back.parts, path)).episodes, episodes);
  assert.deepEqual(await back.store.vectorsOf("default", [lines[1].id]), [hashedVector(lines[1].text, 32)]);
});

test("lines that are none, links to nowhere and folders that are no export are told", async () => {
  const memory = await filled();
  const path = join(folder, "broken");
  await exportMemory(memory.parts, path);
  appendFileSync(join(path, "episodes.jsonl"), '{"id":1}\nno json\n');
  const link = {
    source: "episode:gone",
    target: "concept:x",
    kind: "similar",
    weight: 1,
    attributes: {},
    recordedAt: 1,
  };
  writeFileSync(join(path, "links.jsonl"), `${JSON.stringify(link)}\n`);
  const { refused, episodes } = await restoreMemory(open().parts, path);
  assert.equal(episodes, 4);
  assert.match(
    refused.join("\n"),
    /episodes\.jsonl 5: .*expected string.*\n(?:.*\n)*episodes\.jsonl 6: .*JSON.*\nlinks\.jsonl 1: its end gone is not there/,
  );
  rmSync(join(path, "concepts.jsonl"));
  await assert.rejects(restoreMemory(open().parts, path), /broken has no concepts\.jsonl/);
  const about = JSON.parse(readFileSync(join(path, "memory.json"), "utf8"));
  writeFileSync(join(path, "memory.json"), JSON.stringify({ ...about, version: 99 }));
  await assert.rejects(restoreMemory(open().parts, path), { code: "unsupported" });
  writeFileSync(join(path, "memory.json"), "{}");
  await assert.rejects(restoreMemory(open().parts, path), { code: "bad-file" });
});

test("23: a store's backup gives the same bytes of every answer, and is refused where it cannot be written", async () => {
  const path = join(folder, "kept.db");
  await using store = await openSqlite({ path, embedder: hashedEmbedder, newId: idMaker(seededRandom(4)) });
  const memory = open(store);
  await memory.remember(
    Array.from(
      { length: 60 },
      (_, i) => `Note ${i}: the ${["kettle", "lantern", "harbour"][i % 3]} of house ${i % 7} is number ${i}.`,
    ),
    { insight: false },
  );
  await store.backup(join(folder, "copy.db"));
  await using copied = await openSqlite({
    path: join(folder, "copy.db"),
    embedder: hashedEmbedder,
    newId: idMaker(seededRandom(5)),
  });
  const copy = open(copied);
  for (const query of ["kettle of house 3", "lantern", "number 17"]) {
    const [a, b] = [await memory.recall(query), await copy.recall(query)];
    assert.equal(JSON.stringify(b.recalled), JSON.stringify(a.recalled));
  }
  assert.ok((await copied.check({ repair: false })).every(({ isFine }) => isFine));
  await assert.rejects(store.backup(join(folder, "nowhere", "x.db")), { code: "io" });
  await assert.rejects(store.backup(folder), { code: "io" });
});
