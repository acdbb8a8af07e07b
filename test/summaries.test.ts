// Summaries of any length: every byte accounted for, every prompt within the context, nothing lost in silence. A real tokenizer counts, a
// script writes; what a model makes of it is in test/full.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { IroriError } from "../src/base/mod.ts";
import { Engine, type Lease } from "../src/engine/mod.ts";
import { EngineLostError } from "../src/serve/engine-lost.ts";
import {
  type Kept,
  type Summary,
  type SummaryReport,
  summarize,
  summarizeMany,
  summaryText,
} from "../src/serve/mod.ts";
import { countingIn, echoOf, loopAtEnd, repetitionIn, wrongLanguage } from "../src/serve/summaries/gates.ts";
import { chunksOf, passagesOf } from "../src/serve/summaries/split.ts";
import { factsText, needle } from "./setup/facts.ts";
import { honest, optionsFor, type Script, ScriptedWriter, type Tokens, words } from "./setup/scripted-writer.ts";
import { smollm2 } from "./setup/smollm2.ts";

let engine: Engine;
let lease: Lease;
let real: Tokens;
before(async () => {
  const { home } = await smollm2();
  engine = await Engine.open({
    home,
    threads: 1,
    spinning: false,
    budgetBytes: () => 8e9,
    now: () => performance.now(),
  });
  lease = await engine.lease("smollm2-135m");
  real = {
    count: (text) => lease.tokenize(text).length,
    countPrompt: async (messages) => (await lease.promptIds({ messages })).length,
  };
});
after(() => engine?.[Symbol.asyncDispose]());

/** Chunks tile the source, what became of them adds up to it. */
function assertAccounted({ chunks, coverage, source }: SummaryReport): void {
  let at = 0;
  for (const { start, end } of chunks) {
    assert.equal(start, at);
    assert.ok(end > start);
    at = end;
  }
  assert.equal(at, source.bytes);
  assert.equal(
    Object.values(coverage).reduce((sum, bytes) => sum + bytes, 0),
    source.bytes,
  );
}
function memoryKept(): Kept & { readonly all: Map<string, string> } {
  const all = new Map<string, string>();
  return { all, get: async (key) => all.get(key), put: async (key, value) => void all.set(key, value) };
}

test("check 24, 26: 100,000 real tokens in a window of 8,192: every byte in a part, every prompt fits, 20 needles at the borders of parts survive", async () => {
  const { sentences } = factsText(4_050, 1);
  const tokens = real.count(sentences.join(" "));
  assert.ok(tokens >= 100_000, `${tokens}`);
  // needles go where parts end: found by splitting the text without them
  const plain = sentences.join(" ");
  const passages = await passagesOf(plain, async (text) => real.count(text));
  const chunks = await chunksOf(passages, { tokens: 2_400, overlap: 240 }, async () => true);
  assert.ok(chunks.length > 20);
  const bytes = Buffer.from(plain);
  const borders = chunks.slice(1, 21).map(({ passages: [first] }) => first?.start ?? 0);
  const text = [0, ...borders]
    .map((start, i) => bytes.subarray(start, borders[i] ?? bytes.length).toString())
    .map((part, i) => (i < borders.length ? `${part}${needle(i)} ` : part))
    .join("");
  const writer = new ScriptedWriter(honest, { tokens: real });
  const { bullets, report } = await summarize(text, optionsFor(writer, { bullets: 24 }));
  assertAccounted(report);
  assert.equal(report.source.bytes, Buffer.byteLength(text));
  assert.equal(report.path, "map-reduce");
  assert.deepEqual(report.degraded, []);
  for (const { promptTokens, maxTokens } of writer.seen) assert.ok(promptTokens + maxTokens <= 8_192);
  for (const stage of ["map", "reduce", "final"])
    assert.ok(
      writer.seen.some((seen) => seen.stage === stage),
      stage,
    );
  for (let i = 0; i < 20; i++)
    assert.ok(
      bullets.some((bullet) => bullet.text === needle(i)),
      `needle ${i}`,
    );
  // and a bullet's range holds its text
  const source = Buffer.from(text);
  for (const { text: said, sources } of bullets)
    assert.ok(
      sources.some(({ start, end }) => source.subarray(start, end).toString().includes(said)),
      said,
    );
});

test("check 24: Japanese, Markdown, tables, a line without an end and lone surrogates: passages tile the bytes, sentences stay whole", async () => {
  const japanese = Array.from({ length: 120 }, (_, i) => `第${i}倉庫には${i * 7}箱の灯油がある。`).join("");
  const texts = [
    japanese,
    `# 見出し\n\n${japanese}\n\n## 次\n\n- 一つ目\n- 二つ目\n\n| a | b |\n|---|---|\n| 1 | 2 |\n`,
    `  \n\n${"x".repeat(9_000)} ${"𠮷".repeat(3_000)}`,
    `lone \ud800 and \udc00 halves. ${factsText(100, 2).text}`,
    "one",
  ];
  for (const text of texts) {
    const passages = await passagesOf(text, async (some) => real.count(some));
    let at = 0;
    for (const { start, end } of passages) {
      assert.equal(start, at);
      at = end;
    }
    assert.equal(at, Buffer.byteLength(text));
    for (const { text: said } of passages) assert.doesNotMatch(said, /^[\udc00-\udfff](?!$)/u);
  }
  const cut = await passagesOf(japanese, async (some) => real.count(some));
  for (const { text } of cut) assert.match(text, /。$/u);
});

test("check 25: one of many parts fails: it is missing by its range, the result is degraded; refused once it is retried, found empty it is said", async () => {
  const { text } = factsText(700, 3);
  let at = 0;
  let range = "";
  const script: Script = (seen) => {
    if (seen.stage !== "map") return honest(seen);
    if (seen.attempt === 1) at++;
    if (at === 7) throw new IroriError("io", { what: "the seventh is killed" });
    if (at === 9) return seen.attempt === 1 ? "no JSON at all {{{" : honest(seen);
    if (at === 11) return { points: [] };
    return honest(seen);
  };
  const { report } = await summarize(
    text,
    optionsFor(new ScriptedWriter(script, { tokens: real }), { atOnce: 1, chunkTokens: 900 }),
  );
  assertAccounted(report);
  assert.ok(report.chunks.length >= 20);
  assert.deepEqual(
    report.chunks.flatMap(({ chunk, status }) => (status === "used" ? [] : [[chunk, status]])),
    [
      [7, "failed"],
      [9, "retried"],
      [11, "empty"],
    ],
  );
  const seventh = report.chunks[6] as SummaryReport["chunks"][number];
  range = `bytes ${seventh.start}–${seventh.end}`;
  assert.equal(report.isDegraded, true);
  assert.ok(report.degraded.some((sentence) => sentence.includes(range) && sentence.includes("the seventh is killed")));
  assert.equal(report.coverage.failed, seventh.end - seventh.start);
});

test("check 25: an engine that dies under a part is asked again: nothing is missing", async () => {
  let calls = 0;
  const script: Script = (seen) => {
    if (++calls % 3 === 0) throw new EngineLostError("killed");
    return honest(seen);
  };
  const { report } = await summarize(
    factsText(300, 4).text,
    optionsFor(new ScriptedWriter(script), { chunkTokens: 500 }),
  );
  assertAccounted(report);
  assert.equal(report.isDegraded, false);
  assert.ok(report.chunks.every(({ status }) => status === "used"));
});

test("check 27: points are reduced again until they fit; what does not get shorter is an error, never cut", async () => {
  const { text } = factsText(900, 5);
  const small = new ScriptedWriter(honest, { context: 1_400 });
  const { report } = await summarize(text, optionsFor(small, { chunkTokens: 300 }));
  assertAccounted(report);
  const levels = report.stages.filter(({ stage }) => stage === "reduce").map(({ level }) => level);
  assert.ok(levels.length >= 3, `${levels}`);
  for (const { pointsIn, pointsOut } of report.stages.filter(({ stage }) => stage === "reduce"))
    assert.ok(pointsOut < pointsIn);
  for (const { promptTokens, maxTokens } of small.seen) assert.ok(promptTokens + maxTokens <= 1_400);
  // gives longer points for what it is asked to merge
  const growing: Script = (seen) => {
    if (seen.stage !== "reduce") return honest(seen);
    const all = seen.items.map((item) => item.text).join("; ");
    return {
      points: [{ text: `${all} and, as was said before, all of that`, from: seen.items.map(({ number }) => number) }],
    };
  };
  await assert.rejects(
    summarize(text, optionsFor(new ScriptedWriter(growing, { context: 1_400 }), { chunkTokens: 300 })),
    /do not get shorter at reduce level 1/,
  );
  await assert.rejects(
    summarize(text, optionsFor(new ScriptedWriter(honest, { context: 200 }))),
    /context of scripted is too short/,
  );
});

test("check 28: what was finished is not asked again, whatever the run; another model, language or size asks anew", async () => {
  const { text } = factsText(400, 6);
  const kept = memoryKept();
  const first = new ScriptedWriter(honest);
  const made = await summarize(text, optionsFor(first, { kept, chunkTokens: 500 }));
  const again = new ScriptedWriter(honest);
  const same = await summarize(text, optionsFor(again, { kept, chunkTokens: 500 }));
  assert.equal(again.seen.length, 0);
  assert.deepEqual(same.bullets, made.bullets);
  assert.equal(same.report.keptAnswers, first.seen.length);
  assert.ok(same.report.chunks.every(({ wasKept }) => wasKept));
  for (const more of [{ language: "ja" }, { chunkTokens: 400 }]) {
    const other = new ScriptedWriter(honest);
    await summarize(text, optionsFor(other, { kept, chunkTokens: 500, ...more })).catch(() => undefined);
    assert.ok(other.seen.length > 0, JSON.stringify(more));
  }
  // a text that grew asks for what is new only
  const grown = new ScriptedWriter(honest);
  await summarize(`${text} ${factsText(60, 7).text}`, optionsFor(grown, { kept, chunkTokens: 500 }));
  assert.ok(grown.seen.filter(({ stage }) => stage === "map").length <= 6);
});

const loops = [
  "one".repeat(60),
  `The depot is closed. ${"the cat sat. ".repeat(30)}`,
  "倉庫には灯油がある。".repeat(20),
  `日本語の要約です。${"同じ".repeat(60)}`,
  "- fact one is this\n- fact one is this\n- fact one is this\n- fact one is this\n",
  "a".repeat(200),
];
test("check 29: loops of words, of characters without spaces, of sentences, and counting ones are caught", () => {
  for (const text of loops) assert.notEqual(repetitionIn(text), undefined, text.slice(0, 40));
  for (const text of ["one".repeat(60), "the cat sat. ".repeat(30), "倉庫には灯油がある。".repeat(20)])
    assert.ok(loopAtEnd(text));
  assert.match(countingIn(Array.from({ length: 60 }, (_, i) => `2025-01-${i + 10}`).join(" ")) ?? "", /counting/);
  assert.equal(countingIn("On 2025-01-10 and 2025-01-11 the depot was closed; on 2025-01-12 it was open."), undefined);
});

test("check 29: at most 1 in 100 paragraphs of ordinary prose is called a loop; rules and tables are none", () => {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const files = [
    ...readdirSync(join(root, "docs"), { recursive: true })
      .filter((name) => String(name).endsWith(".md"))
      .map((name) => `docs/${name}`),
    ...["README.md", "ARCHITECTURE.md", "LICENSE", "test/goldens/real/long-text.txt", "test/goldens/sentences.txt"],
  ];
  const paragraphs = files
    .flatMap((file) =>
      readFileSync(join(root, file), "utf8")
        .replace(/```[\s\S]*?```/g, "")
        .split(/\n\s*\n/),
    )
    .filter((paragraph) => paragraph.length > 40 && !paragraph.includes("|"));
  assert.ok(paragraphs.length > 200, `${paragraphs.length}`);
  const wrong = paragraphs.filter((paragraph) => repetitionIn(paragraph) !== undefined);
  assert.ok(
    wrong.length <= paragraphs.length / 100,
    `${wrong.length} of ${paragraphs.length}: ${wrong.map((text) => text.slice(0, 60))}`,
  );
  for (const text of [
    "-".repeat(80),
    "---- ==== ~~~~ ".repeat(9),
    `${factsText(40, 8).text}`,
    `${"| --- ".repeat(20)}|`,
  ])
    assert.equal(repetitionIn(text), undefined, text.slice(0, 40));
});

test("check 29: a loop ends the answer while it is written, in another language it is refused; both are asked again", async () => {
  const { text } = factsText(60, 9);
  const looping = new ScriptedWriter((seen) =>
    seen.attempt === 1 ? `{"title": "${"one".repeat(4_000)}"}` : honest(seen),
  );
  const made = await summarize(text, optionsFor(looping));
  assert.ok(looping.piecesRead < 200, `${looping.piecesRead} pieces of 750`);
  assert.deepEqual([made.report.chunks[0]?.status, made.report.chunks[0]?.attempts], ["retried", 2]);
  assert.match(made.report.chunks[0]?.reasons[0] ?? "", /repeats "(one|neo|eon)/);
  const foreign: Script = (seen) =>
    seen.attempt === 1
      ? { title: "倉庫の灯油について", bullets: [{ text: "倉庫には灯油が多くある。", from: [1] }] }
      : honest(seen);
  const { report } = await summarize(text, optionsFor(new ScriptedWriter(foreign)));
  assert.match(report.chunks[0]?.reasons[0] ?? "", /not in English/);
  assert.equal(wrongLanguage("囲炉裏は日本の家の炉である。", "ja"), undefined);
  assert.match(wrongLanguage("The hearth of a Japanese house", "ja") ?? "", /not in Japanese/);
  assert.equal(wrongLanguage("NVIDIA H100 は GPU である。速い計算のために使われている。", "ja"), undefined);
});

test("the task handed back is no summary; the account says what is behind the bullets, and what was there from before", async () => {
  const { text } = factsText(60, 11);
  const echo: Script = (seen) =>
    seen.attempt === 1
      ? { title: "Facts", bullets: [{ text: "Write a summary of the numbered passages: a title.", from: [1] }] }
      : honest(seen);
  const kept = memoryKept();
  const first = await summarize(text, optionsFor(new ScriptedWriter(echo), { kept }));
  assert.match(
    first.report.chunks[0]?.reasons[0] ?? "",
    /repeats what was asked for \("write a summary of the numbered"\)/,
  );
  assert.equal(
    echoOf("番号付きの文章から、題名と箇条書きの要約を書いてください。", "番号付きの文章から、題名と箇条書きの要約"),
    'it repeats what was asked for ("番号付きの文章から題名と箇条")',
  );
  assert.match(summaryText(first), /bytes used after an answer was refused; the bullets refer to [\d,]+ bytes\.\n/);
  const again = await summarize(text, optionsFor(new ScriptedWriter(echo), { kept }));
  assert.match(summaryText(again), / 1 answer was there from before\.\n/);
});

test("points and bullets without a letter or a number count as empty ones, in a short text and in parts", async () => {
  const spoiled: Script = (seen) => {
    const answer = honest(seen) as Record<string, unknown>;
    const empty = [{ text: "1},", from: [1], passage: 1, points: [1] }];
    return Object.fromEntries(
      Object.entries(answer).map(([name, value]) => [name, Array.isArray(value) ? [...empty, ...value] : value]),
    );
  };
  for (const [facts, context] of [
    [20, undefined],
    [200, 1_200],
  ] as const) {
    const { text } = factsText(facts, 11);
    const of = async (script: Script) =>
      (await summarize(text, optionsFor(new ScriptedWriter(script, { ...(context && { context }) })))).bullets;
    assert.deepEqual(await of(spoiled), await of(honest), `${facts} facts`);
  }
});

test("check 30: broken JSON is repaired, else asked for again twice at most, else a typed error", async () => {
  const { text } = factsText(30, 10);
  const broken = new ScriptedWriter((seen) => JSON.stringify(honest(seen)).slice(0, -2));
  const { report } = await summarize(text, optionsFor(broken));
  assert.deepEqual([report.repaired, broken.seen.length], [1, 1]);
  const never = new ScriptedWriter(() => "I would rather not.");
  await assert.rejects(summarize(text, optionsFor(never)), (error: Error) => {
    assert.equal(error.name, "NoAnswerError");
    assert.match(error.message, /no usable answer came in 3 attempts/);
    return true;
  });
  assert.equal(never.seen.length, 3);
  const wrongShape = new ScriptedWriter((seen) => (seen.attempt < 3 ? { summary: "other" } : honest(seen)));
  assert.equal((await summarize(text, optionsFor(wrongShape))).report.chunks[0]?.attempts, 3);
});

test("check 31: 50 texts of which 3 fail: 47 summaries and 3 errors, each id once, in their order", async () => {
  const script: Script = (seen) => (seen.items.some(({ text }) => text.includes("POISON")) ? "no" : honest(seen));
  const documents = Array.from({ length: 50 }, (_, i) => ({
    id: `d${i}`,
    text: [7, 21, 40].includes(i) ? "POISON is in this text, all of it." : factsText(6, i).text,
  }));
  const { responses, errors } = await summarizeMany(documents, optionsFor(new ScriptedWriter(script)));
  assert.deepEqual(
    errors.map(({ id }) => id),
    ["d7", "d21", "d40"],
  );
  assert.equal(responses.length, 47);
  assert.deepEqual([...responses, ...errors].map(({ id }) => id).sort(), documents.map(({ id }) => id).sort());
  await assert.rejects(
    summarizeMany(
      [
        { id: "a", text: "x" },
        { id: "a", text: "y" },
      ],
      optionsFor(new ScriptedWriter(script)),
    ),
    /one twice/,
  );
});

test("a short text takes the direct path with the same report; nothing but space is refused", async () => {
  const { text } = factsText(20, 11);
  const writer = new ScriptedWriter(honest);
  const { report, bullets }: Summary = await summarize(text, optionsFor(writer));
  assertAccounted(report);
  assert.deepEqual([report.path, writer.seen.length, report.chunks.length], ["direct", 1, 1]);
  assert.ok(bullets.every(({ sources }) => sources.length > 0));
  await assert.rejects(summarize(" \n ", optionsFor(writer)), /no text to summarise/);
});

test("a signal ends a run at once, and what was finished stays for the next", async () => {
  const kept = memoryKept();
  const stop = new AbortController();
  const writer = new ScriptedWriter((seen) => {
    if (writer.seen.length === 5) stop.abort();
    return honest(seen);
  });
  const { text } = factsText(400, 12);
  await assert.rejects(summarize(text, optionsFor(writer, { kept, signal: stop.signal, atOnce: 1, chunkTokens: 500 })));
  assert.equal(writer.running, 0);
  const next = new ScriptedWriter(honest);
  const { report } = await summarize(text, optionsFor(next, { kept, chunkTokens: 500 }));
  assert.ok(report.keptAnswers >= 4);
  assert.equal(words.count("a b 二三"), 4);
});
