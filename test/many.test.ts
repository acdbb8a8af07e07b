// Many answers at once over one model: whoever joins, leaves, pauses or is cancelled, each answer is as if it were alone.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { PauseController, seededRandom } from "../src/base/mod.ts";
import { BoundStep } from "../src/engine/bound-step.ts";
import { type Answer, type GenerationRequest, generate } from "../src/engine/generation.ts";
import { KvCache } from "../src/engine/kv-cache.ts";
import { DEFAULT_SAMPLING, Engine, GREEDY } from "../src/engine/mod.ts";
import type { Resident } from "../src/engine/resident.ts";
import { Runtime } from "../src/runtime/mod.ts";
import { openResident, settingOf } from "./setup/resident.ts";
import { writeTinyGguf } from "./setup/tiny-gguf.ts";

let folder: string;
let prepared: string;
let runtime: Runtime;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "irori-many-"));
  const path = join(folder, "tiny.gguf");
  await writeTinyGguf(path);
  const now = () => performance.now();
  await using engine = await Engine.open({ home: folder, threads: 2, spinning: false, now, budgetBytes: () => 8e9 });
  prepared = await engine.prepare(await engine.pull(`file:${path}`), "blocks");
  runtime = await Runtime.open({ threads: 2, spinning: false });
});
after(async () => {
  await runtime[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const random = seededRandom(20);
const whole = (most: number): number => Math.floor(random.next() * most);
/** Prompts that often begin alike, one of them longer than a chunk. */
const BEGINNINGS = [40, 90, 300].map((length) => Array.from({ length }, () => 2 + whole(150)));
const requests: readonly GenerationRequest[] = Array.from({ length: 48 }, (_, i) => {
  const beginning = (BEGINNINGS[i % BEGINNINGS.length] as number[]).slice(0, i % 4 === 0 ? 3 : 500);
  return {
    ids: [...beginning, ...Array.from({ length: 1 + whole(12) }, () => 2 + whole(150))],
    sampling: [GREEDY, DEFAULT_SAMPLING, { ...DEFAULT_SAMPLING, topK: 0, repetitionPenalty: 1.2 }][i % 3] ?? GREEDY,
    ...{ seed: i, maxTokens: 1 + whole(30), stop: [], ignoreEos: true, speculate: i % 5 === 0 },
  };
});

async function answerOf(
  resident: Resident,
  request: GenerationRequest,
  signal?: AbortSignal,
  onToken?: () => void,
): Promise<Answer> {
  for await (const event of generate(settingOf(resident), request, signal)) {
    if (event.type === "end") return event;
    if (event.type === "token") onToken?.();
  }
  return assert.fail("no end");
}

/** Answers of all requests, one after another, nothing kept. */
async function alone(): Promise<readonly (readonly number[])[]> {
  await using resident = await openResident(prepared, runtime);
  const all: (readonly number[])[] = [];
  for (const request of requests) all.push((await answerOf(resident, request)).ids);
  return all;
}

test("10,000 random joins, leaves, pauses and cancels: no cache is left, and every answer is the one it gives alone", async () => {
  const wanted = await alone();
  await using resident = await openResident(prepared, runtime, { keptBytes: 4e6 });
  await resident.batcher.open(16);
  interface Running {
    readonly control: AbortController;
    readonly pause: PauseController;
    readonly done: Promise<void>;
  }
  const running = new Set<Running>();
  let [whole_, cut, reused] = [0, 0, 0];
  const join_ = () => {
    const i = whole(requests.length);
    const [control, pause] = [new AbortController(), new PauseController()];
    const request = { ...(requests[i] as GenerationRequest), pause, urgency: whole(3) };
    const done = answerOf(resident, request, control.signal).then((answer) => {
      const ids = wanted[i] as readonly number[];
      if (answer.stop !== "cancelled") assert.deepEqual(answer.ids, ids, `request ${i}`);
      else assert.deepEqual(answer.ids, ids.slice(0, answer.ids.length), `request ${i}, cancelled`);
      if (answer.stop === "cancelled") cut++;
      else whole_++;
      reused += answer.reusedTokens;
    });
    const one: Running = { control, pause, done };
    running.add(one);
    done.finally(() => running.delete(one)).catch(() => undefined);
  };
  const anyone = (): Running | undefined => [...running][whole(running.size)];
  const failures: Promise<void>[] = [];
  for (let operation = 0; operation < 10_000; operation++) {
    const dice = random.next();
    if (running.size === 0 || (dice < 0.4 && running.size < 24)) {
      join_();
      failures.push(([...running].at(-1) as Running).done);
    } else if (dice < 0.45) anyone()?.control.abort();
    else if (dice < 0.65) anyone()?.pause.pause({ release: random.next() < 0.3 });
    else anyone()?.pause.resume();
    await new Promise((resolve) => (operation % 6 === 0 ? setTimeout(resolve, 4) : setImmediate(resolve)));
  }
  for (const { pause } of running) pause.resume();
  await Promise.all(failures);
  assert.equal(resident.memory.inUse, 0);
  assert.ok(resident.memory.keptBytes <= 4e6);
  // how many end by themselves depends on the machine's pace
  assert.ok(whole_ > 50 && cut > 50 && reused > 1000, `${whole_} whole, ${cut} cut, ${reused} tokens reused`);
});

test("beside a more urgent answer others take turns, three a step: each goes on, and all are as they would be", async () => {
  await using resident = await openResident(prepared, runtime);
  const ask = (seed: number, urgency: number): GenerationRequest => ({
    ...{ ids: [2 + seed, 9, 40 + seed, 7, 12], sampling: GREEDY, seed, maxTokens: 24, stop: [], ignoreEos: true },
    ...{ urgency },
  });
  const expected: (readonly number[])[] = [];
  for (let i = 0; i < 8; i++) expected.push((await answerOf(resident, ask(i, 0))).ids);
  const order: number[] = [];
  const others = Array.from({ length: 7 }, (_, i) => answerOf(resident, ask(i, 0), undefined, () => order.push(i)));
  while (order.length < 14) await new Promise((resolve) => setTimeout(resolve, 1)); // all of them answer
  const urgent = await answerOf(resident, ask(7, 1), undefined, () => order.push(7));
  const made = [...(await Promise.all(others)), urgent].map(({ ids }) => ids);
  assert.deepEqual(made, expected);
  // but for the first ones: others were under way while its own prompt was read
  const turns = order.join("").slice(order.indexOf(7), order.lastIndexOf(7)).split("7").slice(4);
  assert.ok(turns.length >= 18 && turns.every((turn) => turn.length <= 3), turns.join(" "));
  // seven take turns by three: each comes within three steps
  const told = turns.slice(0, 3).join("");
  for (let i = 0; i < 7; i++) assert.ok(told.includes(String(i)), `${i} was left out: ${turns.join(" ")}`);
});

test("a KvCache that is disposed of while a run is over it stays until that has ended, and the next refuses it; other rows go on", async () => {
  await using resident = await openResident(prepared, runtime);
  const { config } = resident.manifest;
  using one = new BoundStep(await resident.step(1), 1, { config });
  using two = new BoundStep(await resident.step(2), 2, { config });
  const look = { at: [199], temperatures: [1] };
  const ids = Array.from({ length: 200 }, (_, i) => 2 + (i % 150));
  for (let round = 0; round < 20; round++) {
    const cache = new KvCache(config, 4000);
    const running = one.alone({ cache, ids }, look);
    cache[Symbol.dispose]();
    assert.ok((await running)?.candidates(0));
    await assert.rejects(one.alone({ cache, ids }, look), /disposed of|is gone/);
    const [left, stays] = [new KvCache(config, 4000), new KvCache(config, 4000)];
    const both = two.together(
      [left, stays].map((each) => ({ cache: each, ids: [7] })),
      [1, 1],
    );
    left[Symbol.dispose]();
    await both;
    assert.deepEqual([left.length, stays.length], [0, 1]);
    two.leave(left);
    await two.together([{ cache: stays, ids: [8] }], [1]);
    assert.equal(stays.length, 2);
    stays[Symbol.dispose]();
  }
});
