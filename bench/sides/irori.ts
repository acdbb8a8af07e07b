// Irori's side of the bench, in a process of its own: does the work of work.ts when it is asked.
// It does not know the other side, rounds or statistics.
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import { generate } from "../../src/engine/generation.ts";
import { kvCacheBytes } from "../../src/engine/kv-cache.ts";
import { Engine, GREEDY, type Lease } from "../../src/engine/mod.ts";
import { Resident } from "../../src/engine/resident.ts";
import { Turns } from "../../src/engine/turns.ts";
import { Runtime } from "../../src/runtime/mod.ts";
import {
  answer,
  CONTEXT,
  DECODE_PROMPT,
  DECODE_TOKENS,
  decodeRate,
  type Opening,
  PREFILL_TOKENS,
  privateBytes,
  promptIds,
  type Request,
} from "../work.ts";

const now = () => performance.now();
let engine: Engine;
let lease: Lease;
let resident: Resident;
let firstResidentMs = 0;

function engineOf({ home, threads, spinning }: Opening): Promise<Engine> {
  // nothing is kept: the same prompt is read again in every round, as the peer does
  return Engine.open({ home, threads, spinning, now, budgetBytes: () => Number.MAX_SAFE_INTEGER, keptBytes: 0 });
}

async function open({ opening }: Request): Promise<void> {
  engine = await engineOf(opening as Opening);
  lease = await engine.lease((opening as Opening).model);
  await lease.warm();
}

/** Moments of the tokens of one greedy answer; `onToken` sees each as it comes. */
async function tokens(prompt: number, maxTokens: number, onToken?: () => void): Promise<number[]> {
  const ids = promptIds(prompt, lease.manifest.config.vocabSize);
  const at: number[] = [];
  const request = { prompt: { ids }, maxTokens, seed: 1, sampling: GREEDY, ignoreEos: true };
  for await (const event of lease.generate(request)) {
    if (event.type !== "token") continue;
    at.push(now());
    onToken?.();
  }
  return at;
}

async function prefill(): Promise<number> {
  const start = now();
  const [first] = await tokens(PREFILL_TOKENS, 1);
  return (PREFILL_TOKENS * 1000) / ((first as number) - start);
}

/** In a fresh process: private bytes while the cache of CONTEXT tokens holds the prompt of 512. */
async function memory(): Promise<{ bytes: number; kvBytes: number }> {
  let bytes = 0;
  const reach = CONTEXT - PREFILL_TOKENS;
  await tokens(PREFILL_TOKENS, reach, () => {
    bytes ||= privateBytes();
  });
  return { bytes, kvBytes: kvCacheBytes(lease.manifest.config, CONTEXT) };
}

/** A bare Resident over the prepared folder, so that Programs can be opened one by one. */
async function openResident({ opening }: Request): Promise<void> {
  const { model, threads, spinning } = opening as Opening;
  engine = await engineOf(opening as Opening);
  const stored = await engine.store.find(model);
  if (stored === undefined) throw new Error(`${model} is not in the store`);
  const folder = await engine.prepare(stored, "blocks");
  const start = now();
  const runtime = await Runtime.open({ threads, spinning });
  resident = await Resident.open({
    ...{ model, folder, now, runtime: async () => runtime, onEvent: () => undefined },
    ...{ turns: new Turns(), budgetBytes: () => Number.MAX_SAFE_INTEGER, keptBytes: 0 },
  });
  firstResidentMs = now() - start;
}

/** Opens the Program of `rows` rows: how long it took and what it added to the private bytes. */
async function openProgram({ rows = 1 }: Request): Promise<{ ms: number; addedBytes: number }> {
  globalThis.gc?.();
  const before = privateBytes();
  const start = now();
  await resident.step(rows);
  const ms = now() - start + (rows === 1 ? firstResidentMs : 0);
  globalThis.gc?.();
  return { ms, addedBytes: privateBytes() - before };
}

/** The longest time (ms) that the event loop was blocked while an answer streams and the Program of `rows` rows opens. */
async function blocked({ rows = 1 }: Request): Promise<number> {
  const { config } = resident.manifest;
  const ids = promptIds(PREFILL_TOKENS, config.vocabSize);
  const request = { ids, maxTokens: 96, seed: 1, sampling: GREEDY, ignoreEos: true, stop: [] };
  const { model, tokenizer, batcher, memory } = resident;
  await batcher.open(1);
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  let opening: Promise<unknown> = Promise.resolve();
  let made = 0;
  histogram.enable();
  for await (const event of generate({ model, config, tokenizer, batcher, memory, openMs: 0, now }, request)) {
    if (event.type === "token" && ++made === 16 && rows > 1) opening = resident.step(rows);
  }
  await opening;
  await pause(2);
  histogram.disable();
  return histogram.max / 1e6;
}

answer({
  open,
  prefill,
  decode: async () => decodeRate(await tokens(DECODE_PROMPT, DECODE_TOKENS)),
  memory,
  openResident,
  openProgram,
  blocked,
});
