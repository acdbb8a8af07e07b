// `node bench/many.ts`: many answers and texts at once against llama.cpp and sentence-transformers, prefixes and candidates against
// the same without reuse, cold starts; interleaved in one run. It does not know how a side does its work.
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { IroriError } from "../src/base/mod.ts";
import { Engine } from "../src/engine/mod.ts";
import { homeFolder } from "../src/machine.ts";
import { coldRun } from "./cold.ts";
import { type Figure, US } from "./figures.ts";
import { machine } from "./machine.ts";
import { installPeers, PEERS, peerVersion } from "./peers.ts";
import { pythonOf } from "./python.ts";
import { orSentence, report, say } from "./report.ts";
import { Side } from "./side.ts";
import type { Opening } from "./work.ts";
import { CANDIDATES, PREFIX_TOKENS, STEPS, sentences, TEXT_TOKENS, TEXTS } from "./work-many.ts";

const LLAMA = "llama.cpp";
const SENTENCES = "sentence-transformers";
const MINILM = "all-minilm-l6-v2";
const BIN = fileURLToPath(new URL("../bin/irori.js", import.meta.url));
const PAUSE_MS = 60;
const ROWS = 8;

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "smollm2-135m" },
    home: { type: "string" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "7" },
    only: { type: "string", default: "decode,row,prefill,prefix,candidates,speculate,texts,cold" },
    alone: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds);
const versions: Record<string, string> = {};
type Samples = Record<string, number[]>;

function keep(samples: Samples, name: string, value: number, round: number): void {
  if (round >= 0) samples[name] = [...(samples[name] ?? []), value];
}

/** Asks in turn, the first round thrown away. */
async function interleaved(asks: Readonly<Record<string, () => Promise<number>>>): Promise<Samples> {
  const samples: Samples = {};
  for (let round = -1; round < rounds; round++)
    for (const [name, ask] of Object.entries(asks)) {
      await pause(PAUSE_MS);
      keep(samples, name, await ask(), round);
    }
  return samples;
}

const ours = async (stack: AsyncDisposableStack, opening: Opening): Promise<Side> =>
  stack.use(await Side.start(US, "sides/many.ts", "open", opening));

async function llama(stack: AsyncDisposableStack, opening: Opening): Promise<Side | undefined> {
  if (values.alone) return undefined;
  await installPeers(say);
  const side = stack.use(await Side.start(LLAMA, (PEERS[LLAMA] as { side: string }).side, "open", opening));
  const { version } = await side.ask<{ version: string }>("about");
  Object.assign(versions, { "node-llama-cpp": peerVersion("node-llama-cpp"), [LLAMA]: version });
  return side;
}

const rate = { unit: "tokens/s", better: "more" } as const;
const time = { unit: "ms", better: "less" } as const;

/** Answers at once, and one: the same prompts, tokens and contexts. */
async function decode(opening: Opening): Promise<Figure[]> {
  await using stack = new AsyncDisposableStack();
  const [us, peer] = [await ours(stack, opening), await llama(stack, opening)];
  const at = (rows: number) =>
    interleaved({
      [US]: () => us.ask<number>("decode", { rows }),
      ...(peer && {
        [LLAMA]: () => (rows === 1 ? peer.ask<number>("decode") : peer.ask<number>("decodeMany", { rows })),
      }),
    });
  const note = (rows: number) => `${rows} at once, ${STEPS} tokens each after 128, in all`;
  return [
    { name: "decode", ...rate, samples: await at(1), note: note(1) },
    { name: "decode", ...rate, samples: await at(ROWS), wantedRatio: 4, note: note(ROWS) },
    { name: "decode", ...rate, samples: await at(2 * ROWS), note: note(2 * ROWS) },
  ];
}

/** One answer's step alone and beside seven others; what all of them make against one alone. */
async function row(opening: Opening): Promise<Figure[]> {
  await using stack = new AsyncDisposableStack();
  const us = await ours(stack, opening);
  const steps = await interleaved({
    [US]: () => us.ask<number>("step", { rows: ROWS }),
    alone: () => us.ask<number>("step", { rows: 1 }),
  });
  const sums = await interleaved({
    [US]: () => us.ask<number>("decode", { rows: ROWS }),
    alone: () => us.ask<number>("decode", { rows: 1 }),
  });
  return [
    { name: "a row's step beside 7 others", ...time, samples: steps, wantedRatio: 1 / 4, note: "against alone" },
    { name: "8 rows in all", ...rate, samples: sums, wantedRatio: 2.5, note: "against one alone" },
  ];
}

async function prefill(opening: Opening): Promise<Figure[]> {
  await using stack = new AsyncDisposableStack();
  const [us, peer] = [await ours(stack, opening), await llama(stack, opening)];
  const at = (isInt8: boolean) =>
    interleaved({
      [US]: () => us.ask<number>("prefill", { isInt8 }),
      ...(peer && { [LLAMA]: () => peer.ask<number>("prefill") }),
    });
  const hasAmx = machine().flags.includes("amx_int8");
  const amx = hasAmx ? " (CPU with AMX: reported)" : "";
  return [
    {
      name: "prefill",
      ...rate,
      samples: await at(false),
      ...(!hasAmx && { wantedRatio: 1.5 }),
      note: `512 tokens${amx}`,
    },
    {
      name: "prefill, int8 prompts",
      ...rate,
      samples: await at(true),
      ...(!hasAmx && { wantedRatio: 1.2 }),
      note: `512 tokens${amx}`,
    },
  ];
}

async function prefix(opening: Opening): Promise<Figure[]> {
  await using stack = new AsyncDisposableStack();
  const us = await ours(stack, opening);
  const samples = await interleaved({
    [US]: () => us.ask<number>("prefix", { isShared: true }),
    "not read before": () => us.ask<number>("prefix", { isShared: false }),
  });
  const note = `${PREFIX_TOKENS} of ${PREFIX_TOKENS + 20} tokens read before`;
  return [{ name: "time to first token", ...time, samples, wantedRatio: 1 / 0.15, note }];
}

async function candidates(opening: Opening): Promise<Figure[]> {
  await using stack = new AsyncDisposableStack();
  const us = await ours(stack, opening);
  const samples = await interleaved({
    [US]: () => us.ask<number>("candidates", { isTogether: true }),
    "one by one": () => us.ask<number>("candidates", { isTogether: false }),
  });
  return [
    { name: `${CANDIDATES} candidates scored`, ...time, samples, wantedRatio: 5, note: "8 tokens each after 200" },
  ];
}

/** Trying what followed the same words before: where the answer copies and where it does not. */
async function speculate(opening: Opening): Promise<Figure[]> {
  await using stack = new AsyncDisposableStack();
  const us = await ours(stack, opening);
  const figures: Figure[] = [];
  for (const isCopy of [true, false]) {
    const samples = await interleaved({
      [US]: () => us.ask<number>("speculate", { isCopy, isTried: true }),
      "token by token": () => us.ask<number>("speculate", { isCopy, isTried: false }),
    });
    figures.push({
      name: "look-up of what followed",
      ...rate,
      samples,
      note: isCopy ? "a text that is repeated" : "a story",
    });
  }
  return figures;
}

async function texts(opening: Opening): Promise<Figure[]> {
  await using stack = new AsyncDisposableStack();
  const { path } = await ready(opening.home, MINILM);
  const us = await ours(stack, { ...opening, model: MINILM });
  const all = sentences();
  let peer: Side | undefined;
  if (!values.alone) {
    const python = await pythonOf("torch", say);
    const first = { ...opening, path };
    peer = stack.use(await Side.start(SENTENCES, "peers/python/sentence_transformers_side.py", "open", first, python));
    Object.assign(
      versions,
      await peer.ask<object>("about").then((about) => ({ [SENTENCES]: (about as { version: string }).version })),
    );
  }
  const vectors: Record<string, number[]> = {};
  const asked = async (side: Side, isBatch: boolean, form?: string): Promise<number> => {
    const { rate, vector } = await side.ask<{ rate: number; vector: number[] }>("embed", { texts: all, isBatch, form });
    vectors[`${side.name} ${form}`] = vector;
    return rate;
  };
  const figures: Figure[] = [];
  for (const isBatch of [true, false])
    for (const form of ["blocks", "int8"]) {
      const samples = await interleaved({
        [US]: () => asked(us, isBatch, form),
        ...(peer && { [SENTENCES]: () => asked(peer, isBatch) }),
      });
      const note = `${TEXTS} of ${TEXT_TOKENS} tokens, ${isBatch ? "in one call" : "one by one"}, ${form === "int8" ? "int8" : "float32"}`;
      figures.push({ name: "MiniLM", unit: "texts/s", better: "more", samples, wantedRatio: 2, note });
    }
  const theirs = vectors[`${SENTENCES} undefined`];
  for (const [name, vector] of Object.entries(vectors))
    if (theirs !== undefined) say(`cosine of ${name} with ${SENTENCES}: ${dot(vector, theirs).toFixed(8)}`);
  return figures;
}

const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);

/** From exec to the first byte that is written. */
async function cold(opening: Opening): Promise<Figure[]> {
  await ready(opening.home, MINILM);
  const env = { IRORI_HOME: opening.home };
  const commands = {
    "MiniLM embeds a text": {
      args: ["embed", MINILM, "The hearth stood in the middle of the house.", "--json"],
      limit: 600,
    },
    "mock answers": { args: ["run", "mock", "hearth"], limit: 300 },
  };
  const figures: Figure[] = [];
  for (const [name, { args, limit }] of Object.entries(commands)) {
    const samples = await interleaved({ [US]: async () => (await coldRun([BIN, ...args], env)).firstByteMs });
    figures.push({ name, ...time, samples, limit, note: "from exec to the first byte" });
  }
  return figures;
}

/** Pulls, prepares and packs a model, so that none of it is timed. */
async function ready(home: string, model: string): Promise<{ readonly path: string }> {
  const now = () => performance.now();
  const budgetBytes = () => Number.MAX_SAFE_INTEGER;
  await using engine = await Engine.open({ home, threads: Number(values.threads), spinning: false, now, budgetBytes });
  await using lease = await engine.lease(model);
  await lease.warm();
  const stored = await engine.store.find(model);
  if (stored === undefined)
    throw new IroriError("not-found", { what: `${model} is not in the store after it was opened` });
  return stored;
}

async function main(): Promise<void> {
  const home = values.home ?? homeFolder();
  const { path } = await ready(home, values.model);
  const opening: Opening = { home, model: values.model, path, threads: Number(values.threads), spinning: true };
  const groups: Record<string, (opening: Opening) => Promise<Figure[]>> = {
    ...{ decode, row, prefill, prefix, candidates, speculate, texts, cold },
  };
  await report({
    title: `${values.model}, ${values.threads} threads each, ${rounds} rounds`,
    groups: Object.fromEntries(Object.entries(groups).map(([name, group]) => [name, () => group(opening)])),
    ...{ only: values.only.split(","), versions, isJson: values.json },
  });
}

await main().catch(orSentence);
