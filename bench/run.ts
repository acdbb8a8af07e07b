// `irori bench`: Irori's speed on this machine, and against a peer, in one interleaved run (docs/bench.md).
// It does not know how a side does its work (sides/, peers/) nor how it is told (figures.ts).
import { loadavg } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { IroriError } from "../src/base/mod.ts";
import { Engine } from "../src/engine/mod.ts";
import { homeFolder } from "../src/machine.ts";
import { coldRun } from "./cold.ts";
import { type Figure, type Measured, measured, summary, table, US } from "./figures.ts";
import { machine, ownVersions } from "./machine.ts";
import { installPeers, PEERS, peerVersion } from "./peers.ts";
import { Side } from "./side.ts";
import { COLD_PROMPT, CONTEXT, DECODE_PROMPT, DECODE_TOKENS, type Opening, PREFILL_TOKENS } from "./work.ts";

export interface BenchOptions {
  /** Name or source of the model; pulled and prepared where it is not. */
  readonly model: string;
  /** "llama.cpp"; absent: Irori alone. */
  readonly against?: string | undefined;
  readonly json: boolean;
  /** Folder of the store. */
  readonly home: string;
  /** Threads of either side. Default 2. */
  readonly threads?: number | undefined;
  /** Default 9. */
  readonly rounds?: number | undefined;
  /** Whether Irori's idle threads wait busily. Default true. */
  readonly spinning?: boolean | undefined;
  /** Names of `GROUPS` to measure. Default all. */
  readonly only?: readonly string[] | undefined;
}

interface Setting {
  readonly opening: Opening;
  readonly against: string | undefined;
  readonly rounds: number;
  readonly say: (text: string) => void;
}

/** Between two pieces of work, so that threads of the side that just ran have stopped spinning. */
const PAUSE_MS = 60;

/** The bin, run under this Node. */
const BIN = fileURLToPath(new URL("../bin/irori.js", import.meta.url));

type Group = (setting: Setting) => Promise<Figure[]>;
const GROUPS: Readonly<Record<string, Group>> = { speed, cold, memory, opening, blocked };

/** Measures and prints; the exit code. Throws an IroriError where something cannot be measured. */
export async function runBench(options: BenchOptions): Promise<number> {
  const report = await bench(options);
  console.log(options.json ? JSON.stringify(report, null, 2) : readable(report));
  return 0;
}

async function bench(options: BenchOptions) {
  const { model, against, home, threads = 2, rounds = 9, spinning = true, only = Object.keys(GROUPS) } = options;
  const say = (text: string) => console.error(`irori: ${text}`);
  checkNames(against, only);
  if (against !== undefined) await installPeers(say);
  const path = await ready(options, threads, say);
  const setting: Setting = { opening: { home, model, path, threads, spinning }, against, rounds, say };
  const peer = against === undefined ? undefined : await aboutPeer(setting);
  const figures: Measured[] = [];
  const load = [loadavg()[0]];
  for (const name of only) {
    say(`measuring ${name} …`);
    figures.push(...(await (GROUPS[name] as Group)(setting)).map(measured));
    load.push(loadavg()[0]);
  }
  return {
    model,
    machine: machine(),
    versions: { ...ownVersions(), ...peer?.versions },
    settings: { threads, rounds, spinning, interleaved: true, pauseMs: PAUSE_MS, ...peer?.settings },
    /** Runnable threads of the machine (mean of a minute) before the first group and after each: ours included. */
    load,
    figures,
  };
}

function checkNames(against: string | undefined, only: readonly string[]): void {
  if (against !== undefined && !Object.hasOwn(PEERS, against))
    throw new IroriError("bad-input", { what: "no such peer", got: against, wanted: Object.keys(PEERS).join(", ") });
  for (const name of only)
    if (!Object.hasOwn(GROUPS, name))
      throw new IroriError("bad-input", { what: "no such figure", got: name, wanted: Object.keys(GROUPS).join(", ") });
}

/** Pulls, prepares and packs what the figures open, so that none of it is timed; the path of the model file. */
async function ready({ model, home }: BenchOptions, threads: number, say: (text: string) => void): Promise<string> {
  const now = () => performance.now();
  const onEvent = ({ type, ms }: { type: string; ms: number }) =>
    type !== "open" && say(`${type}: ${ms.toFixed(0)} ms`);
  const budgetBytes = () => Number.MAX_SAFE_INTEGER;
  await using engine = await Engine.open({ home, threads, spinning: false, now, budgetBytes, onEvent });
  await using lease = await engine.lease(model);
  await lease.warm();
  const stored = await engine.store.find(model);
  if (stored === undefined)
    throw new IroriError("not-found", { what: `${model} is not in the store after it was opened` });
  return stored.path;
}

/** What the peer says of itself. */
async function aboutPeer({ against, opening }: Setting) {
  const peer = PEERS[against as string] as (typeof PEERS)[string];
  await using side = await Side.start(against as string, peer.side, "open", opening);
  const { version, settings } = await side.ask<{ version: string; settings: Record<string, unknown> }>("about");
  const versions = { [peer.package]: peerVersion(peer.package), [against as string]: version };
  return { versions, settings: { [against as string]: settings } };
}

/** Starts both sides (or Irori's alone), fresh. */
async function sides({ opening, against }: Setting, stack: AsyncDisposableStack): Promise<Side[]> {
  const all = [stack.use(await Side.start(US, "sides/irori.ts", "open", opening))];
  if (against !== undefined)
    all.push(stack.use(await Side.start(against, (PEERS[against] as { side: string }).side, "open", opening)));
  return all;
}

function keep(samples: Record<string, number[]>, side: string, value: number): void {
  samples[side] = [...(samples[side] ?? []), value];
}

/** Decode and prefill: A B A B …, the first of each thrown away. */
async function speed(setting: Setting): Promise<Figure[]> {
  await using stack = new AsyncDisposableStack();
  const both = await sides(setting, stack);
  const decode: Record<string, number[]> = {};
  const controlled: Record<string, number[]> = {};
  const prefill: Record<string, number[]> = {};
  for (let round = -1; round < setting.rounds; round++) {
    for (const [what, into] of [
      ["decode", decode],
      ["prefill", prefill],
    ] as const) {
      for (const side of both) {
        await pause(PAUSE_MS);
        const value = await side.ask<number>(what);
        if (round >= 0) keep(into, side.name, value);
        if (what !== "decode" || side.name === US) continue;
        await pause(PAUSE_MS);
        const other = await side.ask<number>("decodeControlled");
        if (round >= 0) keep(controlled, side.name, other);
      }
    }
  }
  // the peer has two ways to decode: the one with the better median counts, never the better of each round
  for (const [name, rates] of Object.entries(controlled))
    if (summary(rates).median > summary(decode[name] ?? rates).median) decode[name] = rates;
  // llama.cpp multiplies 8 bit blocks with AMX where the CPU has it; the library has no such kernel
  const hasAmx = machine().flags.includes("amx_int8");
  const unit = "tokens/s" as const;
  const better = "more" as const;
  return [
    {
      name: "decode",
      unit,
      better,
      wantedRatio: 2,
      samples: decode,
      note: `${DECODE_TOKENS} tokens after ${DECODE_PROMPT}, batch 1`,
    },
    {
      name: "prefill",
      unit,
      better,
      ...(!hasAmx && { wantedRatio: 1.5 }),
      samples: prefill,
      note: `${PREFILL_TOKENS} tokens, to the first answered token${hasAmx ? " (CPU with AMX: no bar)" : ""}`,
    },
  ];
}

/** From exec of the bin to the first token and of `--help`. */
async function cold({ opening, against, rounds }: Setting): Promise<Figure[]> {
  const run = [BIN, "run", opening.model, COLD_PROMPT, "--raw", "--json", "--temperature", "0", "--max-tokens", "1"];
  const commands: Record<string, string[]> = { [US]: run };
  if (against !== undefined)
    commands[against] = [(PEERS[against] as { cold: string }).cold, opening.path, String(opening.threads), COLD_PROMPT];
  const first: Record<string, number[]> = {};
  const help: number[] = [];
  const bare: number[] = [];
  for (let round = -1; round < rounds; round++) {
    for (const [name, args] of Object.entries(commands)) {
      await pause(PAUSE_MS);
      const { firstByteMs } = await coldRun(args, { IRORI_HOME: opening.home });
      if (round >= 0) keep(first, name, firstByteMs);
    }
    const helpRun = await coldRun([BIN, "--help"]);
    const bareRun = await coldRun(["--eval", "process.stdout.write('.')"]);
    if (round >= 0) {
      help.push(helpRun.exitMs);
      bare.push(bareRun.exitMs);
    }
  }
  const unit = "ms" as const;
  const better = "less" as const;
  return [
    {
      name: "exec to first token",
      unit,
      better,
      wantedRatio: 3,
      samples: first,
      note: "26 tokens of prompt, prepared model",
    },
    { name: "irori --help", unit, better, limit: 100, samples: { [US]: help }, note: "exec to exit" },
    { name: "bare Node", unit, better, samples: { [US]: bare }, note: "exec to exit, for comparison" },
  ];
}

/** Private bytes after the prefill of 512, each time in a fresh process. */
async function memory(setting: Setting): Promise<Figure[]> {
  const total: Record<string, number[]> = {};
  const withoutKv: Record<string, number[]> = {};
  for (let round = 0; round < Math.min(3, setting.rounds); round++) {
    await using stack = new AsyncDisposableStack();
    for (const side of await sides(setting, stack)) {
      const { bytes, kvBytes } = await side.ask<{ bytes: number; kvBytes: number }>("memory");
      keep(total, side.name, bytes / 1e6);
      keep(withoutKv, side.name, (bytes - kvBytes) / 1e6);
    }
  }
  const unit = "MB" as const;
  const better = "less" as const;
  const note = `after the prefill of ${PREFILL_TOKENS}, context ${CONTEXT}`;
  return [
    { name: "private memory", unit, better, samples: total, note },
    { name: "private memory − KV", unit, better, limit: 150, samples: withoutKv, note },
  ];
}

/** The first Program of a process, then the second and the third of the same form. */
async function opening({ opening, rounds }: Setting): Promise<Figure[]> {
  const ms: number[][] = [[], [], []];
  const added: number[][] = [[], [], []];
  for (let round = -1; round < Math.min(5, rounds); round++) {
    await using side = await Side.start(US, "sides/irori.ts", "openResident", opening);
    for (let i = 0; i < 3; i++) {
      const opened = await side.ask<{ ms: number; addedBytes: number }>("openProgram", { rows: i + 1 });
      if (round < 0) continue;
      ms[i]?.push(opened.ms);
      added[i]?.push(opened.addedBytes / 1e6);
    }
  }
  const names = ["first Program", "second Program", "third Program"];
  return names.flatMap((name, i): Figure[] => [
    { name, unit: "ms", better: "less", samples: { [US]: ms[i] ?? [] }, ...(i > 0 && { limit: 150 }), note: "opening" },
    {
      name,
      unit: "MB",
      better: "less",
      samples: { [US]: added[i] ?? [] },
      ...(i > 0 && { limit: 20 }),
      note: "private memory added",
    },
  ]);
}

/** The longest block of the event loop while an answer streams, alone and while another Program opens beside it. */
async function blocked({ opening, rounds }: Setting): Promise<Figure[]> {
  const alone: number[] = [];
  const beside: number[] = [];
  for (let round = -1; round < Math.min(5, rounds); round++) {
    await using side = await Side.start(US, "sides/irori.ts", "openResident", opening);
    const warm = await side.ask<number>("blocked", { rows: 1 });
    const quiet = await side.ask<number>("blocked", { rows: 1 });
    const busy = await side.ask<number>("blocked", { rows: 2 });
    if (round < 0 || !Number.isFinite(warm)) continue;
    alone.push(quiet);
    beside.push(busy);
  }
  const figure = { unit: "ms", better: "less", limit: 20 } as const;
  return [
    { name: "event loop blocked", ...figure, samples: { [US]: alone }, note: "at most, while an answer streams" },
    { name: "event loop blocked", ...figure, samples: { [US]: beside }, note: "at most, a second Program opening" },
  ];
}

type Report = Awaited<ReturnType<typeof bench>>;

function readable({ model, machine, versions, settings, load, figures }: Report): string {
  const { cpu, cores, flags, memoryBytes, system } = machine;
  return [
    `${model}, ${settings.threads} threads each, ${settings.rounds} rounds, interleaved; median (minimum–maximum)`,
    `${cpu}, ${cores} cores, ${(memoryBytes / 1e9).toFixed(0)} GB, ${system}; ${flags.join(" ")}`,
    Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", "),
    `load of the machine meanwhile: ${load.map((one) => one?.toFixed(1)).join(", ")}`,
    "",
    table(figures),
  ].join("\n");
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      against: { type: "string" },
      json: { type: "boolean", default: false },
      home: { type: "string" },
      threads: { type: "string" },
      rounds: { type: "string" },
      only: { type: "string" },
      "no-spinning": { type: "boolean", default: false },
    },
  });
  const done = runBench({
    model: positionals[0] ?? "smollm2-135m",
    against: values.against,
    json: values.json,
    home: values.home ?? homeFolder(),
    threads: values.threads === undefined ? undefined : Number(values.threads),
    rounds: values.rounds === undefined ? undefined : Number(values.rounds),
    only: values.only?.split(","),
    spinning: !values["no-spinning"],
  });
  process.exitCode = await done.catch((error: unknown) => {
    if (!(error instanceof IroriError)) throw error;
    console.error(`irori: ${error.message}`);
    return 1;
  });
}
