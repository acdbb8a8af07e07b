// Two summaries with their accounts, as a page of docs/log: `node bench/summaries.ts --document FILE --out PAGE [--model NAME] [--tokens N]`.
// One is of a document, one of made-up facts of so many tokens with 20 needles where parts end. Stopped, it goes on. It does not judge them.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { homeFolder } from "../src/machine.ts";
import {
  openSummarizer,
  ProcessHost,
  type Summary,
  type SummaryReport,
  summarize,
  summaryText,
} from "../src/serve/mod.ts";
import { chunksOf, passagesOf } from "../src/serve/summaries/split.ts";
import { factsText, needle } from "../test/setup/facts.ts";
import { machine } from "./machine.ts";

const NEEDLES = 20;
const { values } = parseArgs({
  options: {
    document: { type: "string" },
    out: { type: "string" },
    model: { type: "string", default: "smollm2-135m" },
    tokens: { type: "string", default: "100000" },
    language: { type: "string" },
  },
});
const { document, out, model } = values;
if (document === undefined || out === undefined)
  throw new Error("usage: node bench/summaries.ts --document FILE --out PAGE");

const cache = join(fileURLToPath(new URL("..", import.meta.url)), ".cache");
mkdirSync(cache, { recursive: true });
process.env.IRORI_HOME ??= homeFolder();
await using summarizer = await openSummarizer({
  host: new ProcessHost({ rows: 4 }),
  ...{ model, workFile: join(cache, "bench-summaries.db"), atOnce: 4 },
});
const { writer, kept } = summarizer;
/** All that parts and reductions said. */
const said: string[] = [];
const listening = {
  get: async (key: string) => {
    const value = await kept?.get(key);
    if (value !== undefined) said.push(value);
    return value;
  },
  put: async (key: string, value: string) => {
    said.push(value);
    await kept?.put(key, value);
  },
};
const onProgress: typeof summarizer.onProgress = ({ item, done, total }) =>
  process.stderr.write(`${item} ${done} of ${total}\n`);
const options = { ...summarizer, kept: listening, onProgress };

const page: string[] = [
  `# Summaries with their accounts (${model})`,
  "",
  `Written by \`node bench/summaries.ts --model ${model}\` on ${machine().cpu}, ${machine().cores} cores.`,
  "A model this small summarises badly: what is shown here is that every byte is accounted for, not that the texts are good.",
];
for (const language of [undefined, ...(values.language ? [values.language] : [])]) {
  const text = readFileSync(document, "utf8");
  const title = `${basename(document)}${language ? `, asked for in ${language}` : ""}`;
  page.push(...section(title, await summarize(text, { ...options, language })));
}
const { text, tokens } = await factsWithNeedles(Number(values.tokens));
said.length = 0;
const facts = await summarize(text, { ...options, bullets: 12 });
const inPoints = count(said.join("\n"));
const inBullets = count(facts.bullets.map((bullet) => bullet.text).join("\n"));
page.push(
  ...section(`${tokens.toLocaleString("en")} tokens of made-up facts, ${NEEDLES} needles where parts end`, facts),
  `Needles whole in one part's text: ${NEEDLES} of ${NEEDLES} (the border is never inside a sentence). Their codes in what the model said of the parts: ${inPoints}; in its bullets: ${inBullets}.`,
  "",
);
mkdirSync(dirname(out), { recursive: true });
writeFileSync(out, page.join("\n"));

function count(all: string): number {
  return Array.from({ length: NEEDLES }, (_, i) => /code (\d+)/.exec(needle(i))?.[1] ?? "").filter((code) =>
    all.includes(code),
  ).length;
}

async function factsWithNeedles(wanted: number) {
  const one = await writer.count(factsText(100, 1).sentences.join(" "));
  const plain = factsText(Math.ceil((wanted / one) * 100 * 1.01), 1).sentences.join(" ");
  const passages = await passagesOf(plain, (some) => writer.count(some));
  const tokens = passages.reduce((sum, passage) => sum + passage.tokens, 0);
  const chunks = await chunksOf(passages, { tokens: 2_400, overlap: 240 }, async () => true);
  const bytes = Buffer.from(plain);
  const borders = chunks.slice(1, NEEDLES + 1).map(({ passages: [first] }) => first?.start ?? 0);
  const parts = [0, ...borders].map((start, i) => bytes.subarray(start, borders[i] ?? bytes.length).toString());
  return { tokens, text: parts.map((part, i) => (i < borders.length ? `${part}${needle(i)} ` : part)).join("") };
}

function section(title: string, summary: Summary): string[] {
  const { report } = summary;
  return ["", `## ${title}`, "", "```", summaryText(summary).trim(), "```", "", ...account(report), ""];
}

/** The report as tables. */
function account({
  chunks,
  stages,
  coverage,
  source,
  context,
  promptTokens,
  generatedTokens,
  keptAnswers,
  ms,
}: SummaryReport): string[] {
  const sum = Object.values(coverage).reduce((total, bytes) => total + bytes, 0);
  return [
    `Source ${source.bytes} bytes; ${Object.entries(coverage)
      .map(([status, bytes]) => `${status} ${bytes}`)
      .join(
        " + ",
      )} = ${sum}. ${promptTokens} tokens read, ${generatedTokens} written, ${keptAnswers} answers from before, ${(ms / 1000).toFixed(0)} s.`,
    "",
    "| stage | level | calls | largest prompt | + answer at most | context | in | out |",
    "|---|---|---|---|---|---|---|---|",
    ...stages.map(
      (s) =>
        `| ${s.stage} | ${s.level} | ${s.calls} | ${s.largestPromptTokens} | ${s.maxTokens} | ${context} | ${s.pointsIn} | ${s.pointsOut} |`,
    ),
    "",
    "| part | bytes | overlap from | tokens | status | attempts | points | cited |",
    "|---|---|---|---|---|---|---|---|",
    ...chunks.map(
      (c) =>
        `| ${c.chunk} | ${c.start}–${c.end} | ${c.overlapFrom} | ${c.tokens} | ${c.status} | ${c.attempts} | ${c.points} | ${c.isCited ? "yes" : "no"} |`,
    ),
  ];
}
