// llama.cpp's side of the bench (node-llama-cpp), in a process of its own: does the work of work.ts when it is asked.
// It does not know the other side, rounds or statistics.
import { getLlama } from "node-llama-cpp";
import {
  answer,
  CONTEXT,
  DECODE_PROMPT,
  DECODE_TOKENS,
  decodeRate,
  PREFILL_TOKENS,
  privateBytes,
  promptIds,
} from "../work.ts";
import { manyPrompts, rateOfAll, STEPS } from "../work-many.ts";
import { CONTEXT_SETTINGS, LLAMA_SETTINGS, MODEL_SETTINGS } from "./settings.mjs";

const GREEDY = { temperature: 0, yieldEogToken: true };
let llama;
let model;
let sequence;
let vocabSize;
let opened;
let many;

/** What the file says of its architecture. */
function settings() {
  const { metadata } = model.fileInfo;
  return metadata[metadata.general.architecture] ?? {};
}

async function open({ opening }) {
  opened = opening;
  llama = await getLlama({ ...LLAMA_SETTINGS, maxThreads: opening.threads });
  model = await llama.loadModel({ ...MODEL_SETTINGS, modelPath: opening.path });
  vocabSize = settings().vocab_size ?? model.fileInfo.metadata.tokenizer.ggml.tokens.length;
  const context = await model.createContext({ ...CONTEXT_SETTINGS, contextSize: CONTEXT, threads: opening.threads });
  sequence = context.getSequence();
}

/** Tokens per second through the stream that the library offers. */
async function decode() {
  await sequence.clearHistory();
  const at = [];
  for await (const _ of sequence.evaluate(promptIds(DECODE_PROMPT, vocabSize), GREEDY)) {
    at.push(performance.now());
    if (at.length === DECODE_TOKENS) break;
  }
  return decodeRate(at);
}

/** Tokens per second through its lower interface, one evaluation a token: on some machines faster than the stream. */
async function decodeControlled() {
  await sequence.clearHistory();
  const ids = promptIds(DECODE_PROMPT, vocabSize);
  await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, -1));
  const at = [];
  let token = ids.at(-1);
  while (at.length < DECODE_TOKENS) {
    const [made] = await sequence.controlledEvaluate([[token, { generateNext: { token: true, options: GREEDY } }]]);
    token = made.next.token;
    at.push(performance.now());
  }
  return decodeRate(at);
}

/** Tokens per second of so many sequences of one context, decoded at once, in all. */
async function decodeMany({ rows }) {
  if (many?.rows !== rows) {
    await many?.context.dispose();
    const settings = { ...CONTEXT_SETTINGS, sequences: rows, contextSize: CONTEXT, threads: opened.threads };
    many = { rows, context: await model.createContext(settings) };
  }
  const sequences = Array.from({ length: rows }, () => many.context.getSequence());
  const one = async (sequence, ids) => {
    const at = [];
    for await (const _ of sequence.evaluate(ids, GREEDY)) {
      at.push(performance.now());
      if (at.length === STEPS) break;
    }
    return at;
  };
  const prompts = manyPrompts(rows, vocabSize);
  const rate = rateOfAll(await Promise.all(sequences.map((each, i) => one(each, prompts[i]))));
  for (const each of sequences) each.dispose();
  return rate;
}

async function prefill() {
  await sequence.clearHistory();
  const start = performance.now();
  for await (const _ of sequence.evaluate(promptIds(PREFILL_TOKENS, vocabSize), GREEDY)) break;
  return (PREFILL_TOKENS * 1000) / (performance.now() - start);
}

async function memory() {
  await prefill();
  const { embedding_length: width, block_count: layers, attention } = settings();
  const headSize = attention.key_length ?? width / attention.head_count;
  // keys and values of every layer in float16, windows not counted
  const kvBytes = layers * 2 * headSize * attention.head_count_kv * CONTEXT * 2;
  return { bytes: privateBytes(), kvBytes };
}

/** Its version, and how it runs. */
async function about() {
  return {
    version: `${llama.llamaCppRelease.release} (${llama.buildType})`,
    settings: { ...LLAMA_SETTINGS, ...MODEL_SETTINGS, ...CONTEXT_SETTINGS, system: llama.systemInfo.trim() },
  };
}

answer({ open, decode, decodeControlled, decodeMany, prefill, memory, about });
