// `node bench/inside.ts`: captures, ablations, attributions and LoRA steps of GPT-2's shape, against TransformerLens and torch with
// peft, interleaved in one run. It does not know how a side does its work.
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { IroriError } from "../src/base/mod.ts";
import { homeFolder } from "../src/machine.ts";
import { type Figure, US } from "./figures.ts";
import { gpt2Shape } from "./gpt2-shape.ts";
import { machine } from "./machine.ts";
import { pythonOf } from "./python.ts";
import { orSentence, report, say } from "./report.ts";
import { Side } from "./side.ts";
import type { InsideOpening } from "./work.ts";
import { promptIds } from "./work.ts";

const LENS = "TransformerLens";
const PEFT = "torch + peft";
/** Environments of peers (python.ts) and what runs in them. */
const LENS_SIDE = { packages: "transformer-lens", side: "transformer_lens" };
const PEFT_SIDE = { packages: "torch", side: "peft" };
const PAUSE_MS = 60;
const VOCABULARY = 50257;
/** The work: 16 rows of 32 tokens; training on 8 rows of 128. */
const ROWS = batch(16, 32);
const TRAINED = batch(8, 129);
const HEADS = Array.from({ length: 144 }, (_, i) => [Math.floor(i / 12), i % 12]);
const CHOICE = { a: 464, b: 290 };

function batch(rows: number, length: number): number[][] {
  const all = promptIds(rows * length, VOCABULARY);
  return Array.from({ length: rows }, (_, row) => all.slice(row * length, (row + 1) * length));
}

interface Timed<T> {
  readonly ms: number;
  readonly value: T;
  readonly peakBytes?: number;
}

/** Whether Intel made the processor: torch's products are as fast as the library's there, so the bars are lower. */
const isIntel = machine().cpu.includes("Intel");

const { values } = parseArgs({
  options: {
    home: { type: "string" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "7" },
    sweeps: { type: "string", default: "2" },
    only: { type: "string", default: "opening,forward,ablation,training" },
    alone: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const [rounds, sweeps] = [Number(values.rounds), Number(values.sweeps)];

async function main(): Promise<void> {
  const home = values.home ?? homeFolder();
  say("writing the checkpoint …");
  const path = await gpt2Shape(home);
  const opening: InsideOpening = { home, path, threads: Number(values.threads) };
  const groups: Record<string, (opening: InsideOpening) => Promise<Figure[]>> = {
    opening: openings,
    forward: forwards,
    ablation: ablations,
    training: trainings,
  };
  await report({
    title: `GPT-2's shape (124 M), float32, ${opening.threads} threads each`,
    groups: Object.fromEntries(Object.entries(groups).map(([name, group]) => [name, () => group(opening)])),
    ...{ only: values.only.split(","), versions, isJson: values.json },
  });
}

const versions: Record<string, string> = {};

async function ours(stack: AsyncDisposableStack, opening: InsideOpening): Promise<Side> {
  return stack.use(await Side.start(US, "sides/inside.ts", "open", opening));
}
async function peer(
  stack: AsyncDisposableStack,
  name: string,
  { packages, side: file }: typeof LENS_SIDE,
  opening: InsideOpening,
): Promise<Side[]> {
  if (values.alone) return [];
  const python = await pythonOf(packages, say);
  const side = stack.use(await Side.start(name, `peers/python/${file}_side.py`, "open", opening, python));
  const about = await side.ask<{ version: string; torch: string }>("about");
  versions[file] = about.version;
  versions.torch = about.torch;
  return [side];
}

/** Opening the prepared model in a fresh process, and the first of a new kind of trace: planned and compiled. */
async function openings(opening: InsideOpening): Promise<Figure[]> {
  const ms = { openMs: [] as number[], planMs: [] as number[], compileMs: [] as number[] };
  for (let round = -1; round < rounds; round++) {
    await using fresh = await Side.start(US, "sides/inside.ts", "nothing", opening);
    const one = await fresh.ask<{ openMs: number; planMs: number; compileMs: number }>("opening", { opening });
    if (round < 0) continue;
    ms.openMs.push(one.openMs);
    ms.planMs.push(one.planMs);
    ms.compileMs.push(one.compileMs);
  }
  const figure = { unit: "ms", better: "less" } as const;
  return [
    { name: "opening a prepared f32 model", ...figure, limit: 60, samples: { [US]: ms.openMs }, note: "548 MB" },
    {
      name: "planning a hooked Program",
      ...figure,
      samples: { [US]: ms.planMs },
      note: "12 HookPoints; once a kind of request",
    },
    {
      name: "compile of a hooked Program",
      ...figure,
      limit: 100,
      samples: { [US]: ms.compileMs },
      note: "12 HookPoints",
    },
  ];
}

/** Asks sides in turn, after `first`; the first round warms up. `check` compares what they answered. */
async function interleaved<T>(
  sides: readonly Side[],
  what: string,
  more: Readonly<Record<string, unknown>>,
  times: number,
  check: (a: T, b: T) => void,
  first: () => Promise<void> = async () => undefined,
): Promise<{ ms: Record<string, number[]>; last: Record<string, Timed<T>> }> {
  const ms: Record<string, number[]> = {};
  const last: Record<string, Timed<T>> = {};
  for (let round = -1; round < times; round++) {
    await pause(PAUSE_MS);
    await first();
    for (const side of sides) {
      await pause(PAUSE_MS);
      const one = await side.ask<Timed<T>>(what, more);
      last[side.name] = one;
      if (round >= 0) ms[side.name] = [...(ms[side.name] ?? []), one.ms];
    }
  }
  const [a, b] = sides.map(({ name }) => (last[name] as Timed<T>).value);
  if (a !== undefined && b !== undefined) check(a, b);
  return { ms, last };
}

/** Both sides must have computed the same, or a figure means nothing. */
function close(what: string, tolerance: number) {
  return (a: unknown, b: unknown): void => {
    const [x, y] = [a, b].map((value) => [value].flat(3) as number[]) as [number[], number[]];
    const largest = Math.max(...y.map(Math.abs));
    const apart = Math.max(...y.map((value, i) => Math.abs(value - (x[i] as number)))) / largest;
    if (x.length === y.length && apart <= tolerance) return;
    throw new IroriError("library", {
      what: `${what}: both sides computed different numbers`,
      got: apart,
      wanted: `at most ${tolerance}`,
    });
  };
}

async function forwards(opening: InsideOpening): Promise<Figure[]> {
  await using stack = new AsyncDisposableStack();
  const us = await ours(stack, opening);
  const sides = [us, ...(await peer(stack, LENS, LENS_SIDE, opening))];
  const ids = { ids: ROWS };
  const all = await interleaved<number>(sides, "forward", ids, rounds, close("forward", 1e-4));
  const kept = await interleaved<number>(sides, "captures", ids, rounds, (a, b) => {
    if (a !== b) throw new IroriError("library", { what: "captures", got: a, wanted: b });
  });
  const last: Record<string, number[]> = {};
  const attribute = { ...ids, ...CHOICE };
  const attributed = await interleaved<number[][]>(
    sides,
    "attribute",
    attribute,
    rounds,
    close("attribute", 1e-3),
    async () => {
      const { ms } = await us.ask<Timed<number>>("forwardLast", ids);
      last[US] = [...(last[US] ?? []), ms];
    },
  );
  last[US]?.shift(); // the round that warms up
  const factor = isIntel ? 1.5 : 2.5;
  const figure = { unit: "ms", better: "less" } as const;
  const shape = "16 x 32 tokens";
  const limit = 2.1 * median(all.ms[US] ?? []);
  return [
    { name: "forward", ...figure, wantedRatio: factor, samples: all.ms, note: `${shape}, all logits` },
    { name: "forward", ...figure, samples: last, note: `${shape}, last logits` },
    {
      name: "forward with all captures",
      ...figure,
      wantedRatio: factor,
      samples: kept.ms,
      note: `${shape}, ${kept.last[US]?.value} HookPoints`,
    },
    {
      name: "attributions of 144 heads",
      ...figure,
      limit,
      samples: attributed.ms,
      note: `${shape}; the bar is 2.1 x the forward of all logits`,
    },
  ];
}

const median = (list: readonly number[]): number => list.toSorted((a, b) => a - b)[list.length >> 1] as number;

async function ablations(opening: InsideOpening): Promise<Figure[]> {
  await using stack = new AsyncDisposableStack();
  const sides = [await ours(stack, opening), ...(await peer(stack, LENS, LENS_SIDE, opening))];
  for (const side of sides) await side.ask("ablate", { ids: ROWS, heads: HEADS.slice(0, 1) });
  const ms: Record<string, number[]> = {};
  const found: number[][] = [];
  for (let round = 0; round < sweeps; round++)
    for (const [i, side] of sides.entries()) {
      await pause(PAUSE_MS);
      const one = await side.ask<Timed<number[]>>("ablate", { ids: ROWS, heads: HEADS });
      ms[side.name] = [...(ms[side.name] ?? []), one.ms];
      found[i] = one.value;
    }
  if (found[1]) close("ablate", 1e-4)(found[0], found[1]);
  return [
    {
      ...{ name: "ablation of each of 144 heads", unit: "ms", better: "less", samples: ms },
      ...{ wantedRatio: isIntel ? 5 : 8, note: "16 x 32 tokens, last logits of each" },
    },
  ];
}

async function trainings(opening: InsideOpening): Promise<Figure[]> {
  const ms: Record<string, number[]> = {};
  const peaks: Record<string, number[]> = {};
  for (const attention of ["sdpa", "eager"] as const) {
    await using stack = new AsyncDisposableStack();
    const sides = [
      await ours(stack, opening),
      ...(await peer(stack, `${PEFT}, ${attention}`, PEFT_SIDE, { ...opening, attention })),
    ];
    const { ms: own, last } = await interleaved<number>(sides, "step", { ids: TRAINED }, rounds, close("step", 0.01));
    for (const [name, list] of Object.entries(own)) ms[name] = [...(ms[name] ?? []), ...list];
    for (const [name, { peakBytes = 0 }] of Object.entries(last))
      peaks[name] = [...(peaks[name] ?? []), peakBytes / 1e6];
  }
  // torch's better attention counts
  const peers = Object.keys(ms).filter((name) => name !== US);
  const best = peers.toSorted((a, b) => median(ms[a] ?? []) - median(ms[b] ?? []))[0];
  const pick = (all: Record<string, number[]>) => ({ [US]: all[US] ?? [], ...(best && { [best]: all[best] ?? [] }) });
  const note = "8 x 128 tokens, rank 8 on c_attn (q, k, v), whole step with AdamW";
  return [
    { name: "LoRA step", unit: "ms", better: "less", wantedRatio: isIntel ? 1.3 : 2.2, samples: pick(ms), note },
    {
      name: "LoRA step, peak memory",
      unit: "MB",
      better: "less",
      wantedRatio: 2,
      samples: pick(peaks),
      note: "VmHWM, mapped weights included",
    },
  ];
}

await main().catch(orSentence);
