// `irori memory add|ask|recall`: what is told to a memory and what it tells. It does not know how answers come about.
import { text as readAll } from "node:stream/consumers";
import type { ArgsDef } from "citty";
import { IroriError } from "../../base/mod.ts";
import type { MemoryAnswer, Recall, Recalled, Remembered, Spike } from "../../memory/mod.ts";
import type { Arguments } from "../arguments.ts";
import type { Call, Command } from "../command.ts";
import { listenForStop, print, printJson, say } from "../output.ts";
import { showProgress } from "../progress.ts";
import { durationOf, memoryArgs, momentOf, openMemory, scopeArgs, scopeOf } from "./open.ts";

const whenArgs = {
  "as-of": { type: "string", valueHint: "WHEN", description: "As it was known then: 2026-11-18, or 7d for a week ago" },
  "valid-at": { type: "string", valueHint: "WHEN", description: "What held then (default: --as-of, or now)" },
  count: { type: "string", valueHint: "N", description: "Episodes at most" },
} as const satisfies ArgsDef;

export const add: Command = {
  args: {
    text: { type: "positional", description: "The text; - reads stdin" },
    ...{ ...memoryArgs, ...scopeArgs },
    key: { type: "string", valueHint: "KEY", description: "The same key again adds nothing" },
    meta: { type: "string", valueHint: "NAME=VALUE", description: "Metadata to filter by; may be repeated" },
    ttl: { type: "string", valueHint: "TIME", description: "Forget it after so long: 12h, 30d" },
    insight: { type: "boolean", default: true, description: "Do not judge what it restructures" },
  },
  async run(call) {
    const { args } = call;
    const given = args.needed("text");
    const text = given === "-" ? await readAll(process.stdin) : given;
    const told = {
      text,
      ...scopeOf(args),
      key: args.text("key"),
      metadata: metadataOf(args),
      ttlMs: durationOf(args, "ttl"),
    };
    using stop = listenForStop();
    await using open = await openMemory(call);
    using progress = showProgress(args.flag("json"));
    const { signal } = stop;
    const all = await open.memory.remember(told, {
      insight: args.given("insight") ?? open.settings.insight,
      signal,
      onProgress: progress.onProgress,
    });
    if (args.flag("json")) printJson({ remembered: all.map(plain) });
    else for (const one of all) print(lineOf(one));
    return undefined;
  },
};

/** "name=value": numbers, true and false as such. */
export function metadataOf(args: Arguments): Record<string, string | number | boolean> {
  const metadata: Record<string, string | number | boolean> = {};
  for (const pair of args.texts("meta")) {
    const at = pair.indexOf("=");
    if (at < 1) throw new IroriError("bad-input", { what: "--meta", got: JSON.stringify(pair), wanted: "NAME=VALUE" });
    const value = pair.slice(at + 1);
    const isNumber = value.trim() !== "" && Number.isFinite(Number(value));
    metadata[pair.slice(0, at)] =
      value === "true" || value === "false" ? value === "true" : isNumber ? Number(value) : value;
  }
  return metadata;
}

/** Without the whole neighbourhood: `why` shows that. */
const plain = ({ spike, ...rest }: Remembered) => ({
  ...rest,
  ...(spike !== undefined && { insight: insightOf(spike) }),
});
export const insightOf = ({ id, at, episodeId, judgement }: Spike) => ({
  ...{ id, at: new Date(at).toISOString(), episodeId, gauge: judgement.gauge, weakest: judgement.weakest.f },
  p: Math.max(judgement.exchange.p, judgement.placement?.p ?? 0),
});

function lineOf({ id, as, text, spike, contradicts }: Remembered): string {
  const lines = [
    `${id}  ${as === "new" ? "remembered" : as === "repeat" ? "known already, counted" : "its key is known"}: ${short(text)}`,
  ];
  if (contradicts !== undefined) lines.push(`  may contradict ${contradicts.join(", ")}`);
  if (spike !== undefined)
    lines.push(
      `  insight ${spike.id}: brings together what was apart (F ${spike.judgement.gauge.f.toFixed(3)}); \`irori memory why ${spike.id}\``,
    );
  return `${lines.join("\n")}\n`;
}
export const short = (text: string, most = 90): string => {
  const line = text.replace(/\s+/g, " ");
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
};

export const ask: Command = {
  args: {
    question: { type: "positional", description: "The question" },
    ...{ ...memoryArgs, ...scopeArgs, ...whenArgs },
    cycles: { type: "string", valueHint: "N", description: "Cycles of looking further at most (default 3)" },
    verbose: { type: "boolean", description: "Show what each cycle looked for" },
  },
  async run(call) {
    const { args } = call;
    using stop = listenForStop();
    await using open = await openMemory(call, { mustExist: true });
    const options = {
      ...recallOptions(args),
      cycles: args.number("cycles", { isWhole: true, min: 1, max: 10 }),
      signal: stop.signal,
    };
    const answer = await open.memory.ask(args.needed("question"), options);
    if (args.flag("json")) printJson(answerOf(answer));
    else print(answerText(answer));
    if (args.flag("verbose") && !args.flag("json"))
      for (const { query, found, coverage } of answer.steps)
        say(`looked for ${JSON.stringify(short(query))}: ${found} new, covers ${Math.round(coverage * 100)} %`);
    return undefined;
  },
};

/** An answer as plain data, without texts of what was recalled and not used. */
export function answerOf(answer: MemoryAnswer) {
  const { question, text, isAbstained, sentences, unsupported, contradictions, writer, steps } = answer;
  return {
    question,
    text,
    isAbstained,
    sentences,
    sources: sourcesOf(answer),
    unsupported,
    contradictions,
    writer,
    steps,
  };
}

function sourcesOf({ sentences, recall }: MemoryAnswer) {
  const cited = new Map(sentences.flatMap(({ citations }) => citations.map(({ number, id }) => [number, id] as const)));
  return [...cited]
    .sort(([a], [b]) => a - b)
    .map(([number, id]) => {
      const found = recall.recalled.find(({ episode }) => episode.id === id)?.episode;
      return {
        number,
        id,
        text: found?.text,
        source: found?.source,
        recordedAt: found && new Date(found.recordedAt).toISOString(),
      };
    });
}

function answerText(answer: MemoryAnswer): string {
  const lines = [answer.text];
  for (const { number, id, text = "", source, recordedAt = "" } of sourcesOf(answer))
    lines.push(
      `  [${number}] ${id}, ${recordedAt.slice(0, 10)}${source === undefined ? "" : `, ${source.uri}`}: ${short(text)}`,
    );
  for (const { ids, reason } of answer.contradictions)
    lines.push(`  ${ids.join(" and ")} seem to contradict each other: ${reason}`);
  if (answer.unsupported.length > 0)
    lines.push(
      `  ${answer.unsupported.length} sentences of the writer were left out: nothing remembered supports them`,
    );
  return `${lines.join("\n")}\n`;
}

function recallOptions(args: Arguments) {
  const metadata = metadataOf(args);
  return {
    ...scopeOf(args),
    ...(Object.keys(metadata).length > 0 && { metadata }),
    ...{ asOf: momentOf(args, "as-of"), validAt: momentOf(args, "valid-at") },
    count: args.number("count", { isWhole: true, min: 1, max: 1_000 }),
  };
}

export const recall: Command = {
  args: {
    query: { type: "positional", description: "What to look for" },
    ...{ ...memoryArgs, ...scopeArgs, ...whenArgs },
    meta: { type: "string", valueHint: "NAME=VALUE", description: "Only episodes with this metadata; may be repeated" },
    by: { type: "string", valueHint: "WAY", description: "vector, text or knowledge; may be repeated (default: all)" },
    explain: { type: "boolean", description: "Show rank and score of each way" },
  },
  run: runRecall,
};

async function runRecall(call: Call): Promise<undefined> {
  const { args } = call;
  const ways = ["vector", "text", "knowledge"] as const;
  const by = args.texts("by").map((name) => {
    const way = ways.find((one) => one === name);
    if (way === undefined)
      throw new IroriError("bad-input", { what: "--by", got: JSON.stringify(name), wanted: ways.join(", ") });
    return way;
  });
  using stop = listenForStop();
  await using open = await openMemory(call, { mustExist: true });
  const options = { ...recallOptions(args), ...(by.length > 0 && { by }), signal: stop.signal };
  const found = await open.memory.recall(args.needed("query"), options);
  if (args.flag("json")) printJson(recallOf(found));
  else if (found.recalled.length === 0) print("nothing is remembered that fits\n");
  else print(found.recalled.map((one) => recalledText(one, args.flag("explain"))).join(""));
}

export const recallOf = ({ query, recalled, alike }: Recall) => ({
  query,
  recalled: recalled.map(({ episode, score, similarity, ways }) => ({
    ...{ score, similarity, ways },
    ...plainEpisode(episode),
  })),
  alike,
});

export function plainEpisode({ recordedAt, validFrom, validTo, ...episode }: Recalled["episode"]) {
  const iso = (moment: number | undefined) => (moment === undefined ? undefined : new Date(moment).toISOString());
  return { ...episode, recordedAt: iso(recordedAt), validFrom: iso(validFrom), validTo: iso(validTo) };
}

function recalledText({ episode, score, similarity, ways }: Recalled, isExplained: boolean): string {
  const from = episode.source === undefined ? "" : `, ${episode.source.uri}`;
  const head = `${score.toFixed(3)}  ${episode.id}  ${new Date(episode.recordedAt).toISOString().slice(0, 10)}${from}  ${short(episode.text)}\n`;
  if (!isExplained) return head;
  const places = Object.entries(ways).map(([way, { rank, score: own }]) => `${way} rank ${rank} (${own.toFixed(3)})`);
  return `${head}       cosine ${similarity.toFixed(3)}; ${places.join(", ")}\n`;
}
