// Irori's side of bench/inside.ts, in a process of its own: captures, ablations, attributions and training steps when asked.
// It does not know the other sides, rounds or statistics.
import { readFileSync } from "node:fs";
import { LoraTraining } from "../../src/adapt/mod.ts";
import { Engine, type Lease, type Traced } from "../../src/engine/mod.ts";
import type { InterventionSpec } from "../../src/hooks/mod.ts";
import { answer, type InsideOpening, type Request } from "../work.ts";

const now = () => performance.now();
let engine: Engine;
let lease: Lease;
let training: AsyncGenerator<{ readonly loss: number }> | undefined;

async function openEngine({ home, threads }: InsideOpening): Promise<void> {
  engine = await Engine.open({ home, threads, spinning: true, now, budgetBytes: () => Number.MAX_SAFE_INTEGER });
}

async function open({ opening }: Request): Promise<void> {
  const given = opening as InsideOpening;
  await openEngine(given);
  lease = await engine.lease(`file:${given.path}`, { form: "f32", warm: false });
}

/** A prepared model in a fresh process: opening it; then the Graph of a new kind of capture, planned and compiled. */
async function opening({ opening }: Request): Promise<{ openMs: number; planMs: number; compileMs: number }> {
  const given = opening as InsideOpening;
  await openEngine(given);
  const start = now();
  lease = await engine.lease(`file:${given.path}`, { form: "f32", warm: false });
  const openMs = now() - start;
  const model = await lease.inside();
  await lease.trace({ ids: [[1, 2]], capture: ["blocks.3.hook_resid_post"] }); // opens the runtime
  const asked = now();
  let planned = asked;
  let compiled = asked;
  const timed: typeof model = {
    ...model,
    program: async (graph) => {
      planned = now();
      const held = await model.program(graph);
      compiled = now();
      return held;
    },
  };
  const { trace } = await import("../../src/engine/trace.ts");
  await trace(timed, { ids: [[1, 2]], capture: ["blocks.*.attn.hook_z"] });
  return { openMs, planMs: planned - asked, compileMs: compiled - planned };
}

const magnitude = ({ logits }: Traced): number => {
  const { shape, data } = logits as { shape: readonly number[]; data: Float32Array };
  const [rows, positions, width] = shape as [number, number, number];
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    const from = (row * positions + positions - 1) * width;
    for (let i = from; i < from + width; i++) sum += Math.abs(data[i] as number);
  }
  return sum / (rows * width);
};

async function timed<T>(work: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const start = now();
  const value = await work();
  return { ms: now() - start, value };
}
const idsOf = ({ ids }: Request) => ids as number[][];

/** Logits of all positions, as the peer computes them. */
const forward = (request: Request) => timed(async () => magnitude(await lease.trace({ ids: idsOf(request) })));
/** Logits of the last position alone: what an experiment reads. */
const forwardLast = (request: Request) =>
  timed(async () => magnitude(await lease.trace({ ids: idsOf(request), only: [-1] })));

/** Everything that the peer's cache holds. */
const ALL = [
  "hook_{embed,pos_embed}",
  "blocks.*.hook_{resid_pre,attn_out,resid_mid,mlp_out,resid_post}",
  "blocks.*.ln{1,2}.hook_*",
  "blocks.*.attn.hook_{q,k,v,attn_scores,pattern,z}",
  "blocks.*.mlp.hook_*",
  "ln_final.hook_*",
];
const captures = (request: Request) =>
  timed(async () => Object.keys(await lease.trace({ ids: idsOf(request), capture: ALL })).length - 1);

/** Mean magnitude of the last logits with each head's z at zero: a run goes on from its layer, whose inputs one run has captured. */
const ablate = (request: Request) =>
  timed(async () => {
    const ids = idsOf(request);
    const capture = ["blocks.*.hook_resid_pre", "blocks.*.attn.hook_z"];
    const clean = await lease.trace({ ids, capture, outputs: [] });
    const results: number[] = [];
    for (const [layer, head] of request.heads as [number, number][]) {
      const at = `blocks.${layer}.attn.hook_z`;
      const resid = `blocks.${layer}.hook_resid_pre`;
      const zeroed: InterventionSpec = { at, do: "zero", heads: [head] };
      const from = { [at]: clean[at], [resid]: clean[resid] } as Traced;
      results.push(magnitude(await lease.trace({ ids, from, interventions: [zeroed], only: [-1] })));
    }
    return results;
  });

/** Gradient x value of every head's z, of the difference of two logits at the last position, summed: [layers][heads]. */
const attribute = (request: Request) =>
  timed(async () => {
    const { a, b } = request as unknown as { a: number; b: number };
    const of = [
      { position: -1, id: a, weight: 1 },
      { position: -1, id: b, weight: -1 },
    ];
    const at = ["blocks.*.attn.hook_z"];
    const traced = await lease.trace({ ids: idsOf(request), capture: at, outputs: [], gradients: { of, at } });
    const { layers, heads, headSize } = lease.manifest.config;
    return Array.from({ length: layers }, (_, layer) => {
      const name = `blocks.${layer}.attn.hook_z`;
      const [z, gradient] = [traced[name]?.data, traced[`grad.${name}`]?.data] as [Float32Array, Float32Array];
      const sums = new Array<number>(heads).fill(0);
      for (let i = 0; i < z.length; i++) {
        const head = Math.floor(i / headSize) % heads;
        sums[head] = (sums[head] as number) + (z[i] as number) * (gradient[i] as number);
      }
      return sums;
    });
  });

/** One step over the batch of ids [B, T + 1]. */
async function step(request: Request): Promise<{ ms: number; value: number; peakBytes: number }> {
  if (training === undefined) {
    const options = { rank: 8, alpha: 16, targets: ["c_attn"], rate: 1e-4, schedule: "constant" } as const;
    const rest = {
      warmup: 0,
      epochs: 10_000,
      batch: idsOf(request).length,
      weightDecay: 0.01,
      clip: Infinity,
      seed: 0,
    };
    const examples = idsOf(request).map((ids) => ({ ids, learnFrom: 1 }));
    training = LoraTraining.start(await lease.inside(), { ...options, ...rest }).run(examples);
  }
  const running = training;
  const { ms, value } = await timed(async () => ((await running.next()).value as { loss: number }).loss);
  const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  return { ms, value, peakBytes: Number(peak) * 1024 };
}

answer({ nothing: async () => undefined, open, opening, forward, forwardLast, captures, ablate, attribute, step });
