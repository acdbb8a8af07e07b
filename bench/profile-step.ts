// Where a step's time goes: microseconds per ONNX op type of one decode step and of a prefill chunk of 256, from the
// library's own profile. `node bench/profile-step.ts MODEL [--home FOLDER] [--threads 2]`. It does not compare anything.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { IroriError } from "../src/base/mod.ts";
import { BoundStep } from "../src/engine/bound-step.ts";
import { CHUNK, KvCache } from "../src/engine/kv-cache.ts";
import { Engine, type Manifest } from "../src/engine/mod.ts";
import { isPrepacked, readStages } from "../src/engine/packed.ts";
import { homeFolder } from "../src/machine.ts";
import { type Program, Runtime } from "../src/runtime/mod.ts";
import { promptIds } from "./work.ts";

/** Runs of each kind; the first ones warm up and are left out. */
const RUNS = 40;
const WARM = 8;
/** Tokens that the cache holds while decode steps are profiled. */
const PAST = 128;

interface TraceEvent {
  readonly cat: string;
  readonly name: string;
  readonly ts: number;
  readonly dur: number;
  readonly args?: { readonly op_name?: string };
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { home: { type: "string" }, threads: { type: "string", default: "2" } },
});
const model = positionals[0] ?? "smollm2-135m";
const home = values.home ?? homeFolder();
const threads = Number(values.threads);
const { folder, manifest } = await prepared();
await using runtime = await Runtime.open({ threads, spinning: true });
for (const [name, tokens] of Object.entries({ "decode step": 1, [`prefill chunk of ${CHUNK}`]: CHUNK }))
  print(name, await profile(tokens));

async function prepared(): Promise<{ folder: string; manifest: Manifest }> {
  const now = () => performance.now();
  const budgetBytes = () => Number.MAX_SAFE_INTEGER;
  await using engine = await Engine.open({ home, threads, spinning: true, now, budgetBytes });
  await using lease = await engine.lease(model);
  await lease.warm();
  const stored = await engine.store.find(model);
  if (stored === undefined) throw new IroriError("not-found", { what: `${model} is not in the store` });
  return { folder: await engine.prepare(stored, "blocks"), manifest: lease.manifest };
}

/** For each stage of the step, the trace of RUNS runs of `tokens` tokens each. */
async function profile(tokens: number): Promise<TraceEvent[][]> {
  const known = await readStages({ folder, runtime, kernels: "own" }, "step-1");
  if (known === undefined) throw new IroriError("not-found", { what: `${folder} holds no packed step of one row` });
  const into = await mkdtemp(join(tmpdir(), "irori-profile-"));
  try {
    const step: Program[] = [];
    for (const [i, { bytes }] of known.stages.entries())
      step.push(
        await runtime.compile(bytes, {
          weightsFolder: folder,
          prepack: isPrepacked(manifest, "own"),
          optimization: "off",
          memoryPattern: false,
          profileTo: join(into, `stage${i}`),
        }),
      );
    await run(step, tokens);
    for (const program of step) await program[Symbol.asyncDispose]();
    const files = (await readdir(into)).sort();
    return await Promise.all(
      files.map(async (file) => JSON.parse(await readFile(join(into, file), "utf8")) as TraceEvent[]),
    );
  } finally {
    await rm(into, { recursive: true });
  }
}

async function run(step: readonly Program[], tokens: number): Promise<void> {
  const { config } = manifest;
  const ids = promptIds(CHUNK, config.vocabSize);
  for (let i = 0; i < RUNS; i++) {
    using cache = new KvCache(config, PAST + CHUNK);
    using bound = new BoundStep(step, 1, { config });
    if (tokens === 1) cache.added(PAST);
    await bound.alone({ cache, ids: ids.slice(0, tokens) }, { at: [tokens - 1], temperatures: [0] });
  }
}

/** The fastest run, and the median of all: the time of all kernels of an op type in one run, and how many there are. */
function print(name: string, stages: readonly TraceEvent[][]): void {
  const runsOf = (events: readonly TraceEvent[]) =>
    events.filter((event) => event.name === "SequentialExecutor::Execute").slice(WARM);
  const byStage = stages.map((events) => runsOf(events).map((run) => ({ dur: run.dur, parts: partsOf(run, events) })));
  const runs = (byStage[0] ?? []).map((_, i) => ({
    dur: byStage.reduce((sum, stage) => sum + (stage[i]?.dur ?? 0), 0),
  }));
  const parts = runs.map((_, i) => merged(byStage.map((stage) => stage[i]?.parts ?? new Map())));
  const fastest = runs.reduce((best, { dur }, i) => (dur < (runs[best]?.dur ?? 0) ? i : best), 0);
  const whole = runs[fastest]?.dur ?? 0;
  const medianOf = (all: readonly number[]) => all.toSorted((a, b) => a - b)[all.length >> 1] as number;
  const median = (medianOf(runs.map(({ dur }) => dur)) / 1000).toFixed(2);
  console.log(`\n${name}: ${(whole / 1000).toFixed(2)} ms, the fastest of ${runs.length} runs (median ${median} ms)\n`);
  console.log("| op | nodes | µs | share | median µs |\n| --- | --- | --- | --- | --- |");
  for (const [op, { nodes, us }] of [...(parts[fastest] as Parts)].sort((a, b) => b[1].us - a[1].us)) {
    const all = medianOf(parts.map((one) => one.get(op)?.us ?? 0));
    console.log(`| ${op} | ${nodes} | ${us} | ${((100 * us) / whole).toFixed(1)} % | ${all} |`);
  }
}

type Parts = Map<string, { nodes: number; us: number }>;

function merged(all: readonly Parts[]): Parts {
  const sum: Parts = new Map();
  for (const parts of all)
    for (const [op, { nodes, us }] of parts) {
      const before = sum.get(op) ?? { nodes: 0, us: 0 };
      sum.set(op, { nodes: before.nodes + nodes, us: before.us + us });
    }
  return sum;
}

function partsOf({ ts, dur }: TraceEvent, events: readonly TraceEvent[]): Parts {
  const parts: Parts = new Map([["(between kernels)", { nodes: 0, us: dur }]]);
  const rest = parts.get("(between kernels)") as { us: number };
  for (const event of events) {
    if (event.cat !== "Node" || !event.name.endsWith("_kernel_time") || event.ts < ts || event.ts > ts + dur) continue;
    const op = event.args?.op_name ?? "?";
    const { nodes, us } = parts.get(op) ?? { nodes: 0, us: 0 };
    parts.set(op, { nodes: nodes + 1, us: us + event.dur });
    rest.us -= event.dur;
  }
  return parts;
}
