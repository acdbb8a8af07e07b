// Folders of notes, pages, PDFs, lines and chats become Episodes with their places; again changes nothing, a change changes
// what it must, and what cannot be read is named. It does not know how they are found again.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { seededRandom } from "../src/base/mod.ts";
import { hashedEmbedder, idMaker, importPaths, Memory, openInMemory } from "../src/memory/mod.ts";

let folder: string;
let memory: Memory;
let now = 1_700_000_000_000;
const put = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, content);
  return path;
};
const texts = async () => (await memory.list({ limit: 200 })).items.map(({ text }) => text);

before(() => {
  folder = mkdtempSync(join(tmpdir(), "irori-import-"));
});
after(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  const random = seededRandom(1);
  const store = openInMemory({ embedder: hashedEmbedder, newId: idMaker(random) });
  memory = new Memory({ store, embedder: hashedEmbedder, random, now: () => now });
});

/** A PDF of one line a page. */
function pdf(lines: readonly string[]): Uint8Array {
  const objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"];
  const kids = lines.map((line, i) => {
    const stream = `BT /F1 12 Tf 72 700 Td (${line}) Tj ET`;
    objects.push(`<< /Length ${stream.length} >>\nstream\n${stream}\nendstream`);
    objects.push(
      `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents ${4 + i * 2} 0 R /Resources << /Font << /F1 3 0 R >> >> >>`,
    );
    return `${5 + i * 2} 0 R`;
  });
  objects[1] = `<< /Type /Pages /Kids [${kids.join(" ")}] /Count ${lines.length} >>`;
  let text = "%PDF-1.4\n";
  const offsets = objects.map((object, i) => {
    const at = text.length;
    text += `${i + 1} 0 obj\n${object}\nendobj\n`;
    return at;
  });
  const table = offsets.map((at) => `${String(at).padStart(10, "0")} 00000 n \n`).join("");
  text += `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${table}trailer << /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${text.length}\n%%EOF`;
  return new TextEncoder().encode(text);
}

test("a folder of notes: every format, places kept, hidden files left alone, the unreadable named", async () => {
  const note = put(
    "notes/fire.md",
    "# Fire\n\nThe hearth never goes out.\n\n## Winter\n\nThe house is cold without it.\n",
  );
  const page = put(
    "notes/page.html",
    "<html><head><title>Boats</title><script>alert(1)</script></head><body><nav hidden>menu</nav><p>Boats &amp; sails on the <b>river</b>.</p></body></html>",
  );
  put("notes/paper.pdf", pdf(["Polonium was found in 1898.", "Radium was found later."]));
  put(
    "notes/lines.jsonl",
    '{"text":"Bread is baked in the morning."}\nnot json\n{"nothing":1}\n{"role":"user","content":"Tea is poured at noon.","timestamp":1600000000}\n',
  );
  put("notes/plain.txt", "囲炉裏の火は消えない。");
  put("notes/.hidden.txt", "hidden");
  put("notes/picture.png", new Uint8Array([1, 2]));
  put("notes/latin.txt", new Uint8Array([0x63, 0x61, 0x66, 0xe9]));
  const { files, added } = await importPaths(memory.parts, [join(folder, "notes")]);
  assert.equal(added, 8);
  const by = (name: string) => files.find(({ uri }) => uri.endsWith(name));
  assert.deepEqual(
    by("lines.jsonl")?.refused.map((reason) => reason.replace(/: no JSON.*/, ": no JSON")),
    ["line 2: no JSON", "line 3: no text, content, message or messages in it"],
  );
  assert.match(by("picture.png")?.refused[0] ?? "", /no reader for .png/);
  assert.match(by("latin.txt")?.refused[0] ?? "", /bytes that are no UTF-8; save it as UTF-8/);
  const { items } = await memory.list({ limit: 50 });
  const of = (text: string) => items.find((episode) => episode.text.includes(text));
  const cold = of("cold without it");
  assert.equal(cold?.source?.title, "Fire > Winter");
  assert.equal(readFileSync(note, "utf8").slice(cold?.source?.start, cold?.source?.end), cold?.text);
  assert.equal(of("Boats")?.text, "Boats & sails on the river.");
  assert.equal(of("Boats")?.source?.title, "Boats");
  const { start, end } = of("Boats")?.source ?? {};
  assert.match(readFileSync(page, "utf8").slice(start, end), /^Boats &amp; sails on the <b>river<\/b>\.$/);
  assert.deepEqual([of("Radium")?.source?.page, of("Polonium")?.source?.page], [2, 1]);
  assert.deepEqual([of("Tea")?.recordedAt, of("Tea")?.source?.speaker], [1_600_000_000_000, "user"]);
  assert.equal((await memory.ask("When was polonium found?")).text, "Polonium was found in 1898. [1]");
});

test("again changes nothing; a changed file adds what is new and ends what is gone; a stopped import goes on", async () => {
  const path = put("diary.md", "The first entry.\n\nThe second entry is longer than the first one was.");
  await importPaths(memory.parts, [path]);
  const [again] = (await importPaths(memory.parts, [path])).files;
  assert.deepEqual([again?.as, again?.added], ["known", 0]);
  now += 1_000;
  writeFileSync(path, `# Diary\n\nThe first entry was wrong.\n\n# Later\n\n${"A long tale of the sea. ".repeat(80)}`);
  const [changed] = (await importPaths(memory.parts, [path])).files;
  assert.deepEqual([changed?.as, changed?.ended], ["changed", 1]);
  assert.ok((changed?.added ?? 0) >= 3);
  assert.equal(
    (await memory.recall("second entry", { asOf: now - 1 })).recalled[0]?.episode.text.includes("second entry"),
    true,
  );
  assert.equal(
    (await memory.recall("second entry")).recalled.some(({ episode }) => episode.text.includes("second entry")),
    false,
  );
  const stop = new AbortController();
  for (let i = 0; i < 5; i++) put(`many/${i}.txt`, `Text of the file number ${i}.`);
  const stopped = importPaths(memory.parts, [join(folder, "many")], {
    signal: stop.signal,
    onProgress: ({ done }) => done === 3 && stop.abort(),
  });
  await assert.rejects(stopped, /the import was cancelled/);
  const { files } = await importPaths(memory.parts, [join(folder, "many")]);
  assert.deepEqual(
    files.map(({ as }) => as),
    ["known", "known", "known", "known", "new"],
  );
  await assert.rejects(importPaths(memory.parts, [join(folder, "nowhere")]), /nowhere cannot be imported: got ENOENT/);
});

test("exports of chats: ChatGPT, Claude, Slack, and plain messages", async () => {
  const chatgpt = [
    {
      title: "Hearths",
      mapping: {
        b: {
          message: { author: { role: "assistant" }, content: { parts: ["It is a sunken hearth."] }, create_time: 20 },
        },
        a: { message: { author: { role: "user" }, content: { parts: ["What is an irori?"] }, create_time: 10 } },
        s: { message: { author: { role: "system" }, content: { parts: ["hidden rule"] }, create_time: 0 } },
        r: { message: null },
      },
    },
  ];
  put("chats/chatgpt.json", JSON.stringify(chatgpt));
  put(
    "chats/claude.json",
    JSON.stringify([
      {
        name: "Boats",
        chat_messages: [{ sender: "human", text: "Do boats sail?", created_at: "2024-01-02T03:04:05Z" }],
      },
    ]),
  );
  put(
    "chats/slack.json",
    JSON.stringify([{ type: "message", user: "U1", text: "The bakery opens at seven.", ts: "1700000000.000200" }]),
  );
  put("chats/messages.json", JSON.stringify({ messages: [{ role: "user", content: "Snow falls." }] }));
  put("chats/broken.json", "{");
  const { files } = await importPaths(memory.parts, [join(folder, "chats")]);
  assert.match(files.find(({ uri }) => uri.endsWith("broken.json"))?.refused[0] ?? "", /broken.json is no JSON/);
  const { items } = await memory.list({ limit: 50 });
  const of = (text: string) => items.find((episode) => episode.text.includes(text));
  assert.deepEqual(
    [of("irori?")?.source?.speaker, of("irori?")?.source?.title, of("irori?")?.recordedAt],
    ["user", "Hearths", 10_000],
  );
  assert.equal(of("Do boats sail?")?.recordedAt, Date.parse("2024-01-02T03:04:05Z"));
  assert.deepEqual([of("bakery")?.source?.speaker, of("bakery")?.recordedAt], ["U1", 1_700_000_000_000]);
  assert.ok(of("Snow falls.") && !(await texts()).some((text) => text.includes("hidden rule")));
});

test("a megabyte of text is cut, and a file that only looks like a PDF is refused", async () => {
  put("big/long.txt", "The river is long and the boats are slow. ".repeat(26_000));
  put("big/fake.pdf", "%PDF-1.4 nothing");
  const { files } = await importPaths(memory.parts, [join(folder, "big")], { isLinked: false });
  assert.match(files[0]?.refused[0] ?? "", /fake.pdf cannot be read as PDF/);
  assert.ok((files[1]?.added ?? 0) > 0);
  for (const { text } of (await memory.list({ limit: 200 })).items) assert.ok(text.length <= 1_300);
});
