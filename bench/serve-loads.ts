// What serving must never do, counted from outside: requests of 300 and 7,000 tokens in turn with mixed options load nothing, open no
// weight file and stay in one engine process (strace looks on); 500 connections at once all get their answer, and the memory comes
// back. `node bench/serve-loads.ts [--only loads|connections]`: a tiny checkpoint 200 times and SmolLM2-135M of the store 20 times,
// then a host that runs no model. Exits 1 where a bar is missed. It does not know how serving works.
import { type ChildProcess, execFile, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as wait } from "node:timers/promises";
import { parseArgs } from "node:util";
import { readSettings } from "../src/machine.ts";
import { ProcessHost, startServer } from "../src/serve/mod.ts";
import { ScriptedHost } from "../test/setup/scripted-host.ts";
import { writeTinyModel } from "../test/setup/tiny-model.ts";
import { machine } from "./machine.ts";

const { values } = parseArgs({ options: { only: { type: "string" } } });
console.log(`${machine().cpu}, ${machine().cores} cores`);
const folder = mkdtempSync(join(tmpdir(), "irori-loads-"));
let isMissed = false;
const hold = (what: string, isHeld: boolean): void => {
  isMissed ||= !isHeld;
  console.log(`  ${isHeld ? "held  " : "MISSED"} ${what}`);
};

/** Files of the store that a process maps. */
const mapped = (pid: number): string =>
  [...readFileSync(`/proc/${pid}/maps`, "utf8").matchAll(/\/\S*(?:prepared|models|blobs)\/\S+/g)]
    .map(([path]) => path)
    .sort()
    .join("\n");

/** strace on a process and its threads, once it looks. */
async function watchOpens(pid: number, log: string): Promise<ChildProcess> {
  const strace = spawn("strace", ["-f", "-e", "trace=openat,open", "-o", log, "-p", String(pid)]);
  await new Promise<void>((resolve, reject) => {
    strace.once("error", () => reject(new Error("strace is not here (Debian: apt install strace)")));
    strace.stderr.on("data", (text: Buffer) => {
      if (/attached/.test(String(text))) resolve();
      else if (/Operation not permitted/.test(String(text))) reject(new Error(`strace may not look: ${text}`));
    });
  });
  return strace;
}

async function alternate(model: string, requests: number, word: string): Promise<void> {
  const { settings } = readSettings();
  const host = new ProcessHost({ settings: { ...settings, spin: false }, rows: 2 });
  await using server = await startServer({ host, models: [model], port: 0, version: "0" });
  const body = (i: number) => ({
    ...{ model, prompt: `${i} ${word.repeat(i % 2 === 0 ? 300 : 7000)}`, raw: true, stream: false },
    keep_alive: ["0", "5m", "24h"][i % 3],
    options: { num_predict: 2, num_ctx: 2048 << (i % 3), num_batch: 256 << (i % 4), num_gpu: i % 2, seed: i },
  });
  const ask = async (i: number): Promise<number> => {
    const response = await fetch(`${server.url}/api/generate`, { method: "POST", body: JSON.stringify(body(i)) });
    const told = (await response.json()) as { prompt_eval_count?: number };
    if (response.status !== 200) throw new Error(`${response.status} ${JSON.stringify(told)}`);
    return told.prompt_eval_count ?? 0;
  };
  for (let i = 0; i < 2; i++) await ask(i); // warm-up: both lengths
  const { pid } = host as { pid: number };
  const loaded = () => Object.values(server.serving.residents.loads()).reduce((sum, count) => sum + count, 0);
  const [files, loads] = [mapped(pid), loaded()];
  const log = join(folder, "strace.log");
  const strace = await watchOpens(pid, log);
  const lengths = new Set<number>();
  for (let i = 2; i < requests + 2; i++) lengths.add(await ask(i));
  strace.kill("SIGINT");
  await new Promise((resolve) => strace.once("close", resolve));
  const opened = readFileSync(log, "utf8")
    .split("\n")
    .filter((line) => /weights|pages|\.bin|\.gguf|\.safetensors|blobs/.test(line));
  console.log(
    `${requests} requests to ${model.slice(model.lastIndexOf("/") + 1)}, prompts of ${[...lengths].join(" and ")} tokens`,
  );
  hold(`0 loads after warm-up: ${loaded() - loads}`, loaded() === loads);
  hold(`the same engine process: ${pid}, ${host.pid}`, host.pid === pid);
  hold(`the same mapped files: ${files.split("\n").length}`, files !== "" && mapped(pid) === files);
  hold(`no weight file opened under strace: ${opened.length}`, opened.length === 0);
}

/** Between two words of the host that runs no model. */
const STEP_MS = 50;
const WORDS = 60;

interface Streams {
  /** From the request to its first word, and from a word to the next, over all streams. */
  readonly firstMs: readonly number[];
  readonly gapsMs: readonly number[];
}

/** So many streams at once, read in a process of their own: what reading costs is not the server's. */
async function readStreams(url: string, count: number): Promise<Streams> {
  const args = [new URL("sides/streams.ts", import.meta.url).pathname, url, String(count), String(WORDS)];
  return new Promise((resolve, reject) =>
    execFile(process.execPath, args, { maxBuffer: 1 << 26 }, (error, told) =>
      error === null ? resolve(JSON.parse(told) as Streams) : reject(error),
    ),
  );
}

/** Node alone with the same streams, in a process of its own. */
async function bareStreams(count: number): Promise<Streams> {
  const bare = fork(new URL("sides/bare-stream.ts", import.meta.url), [String(STEP_MS), String(WORDS)], {
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  try {
    const [url] = await once(bare.stdout as Readable, "data");
    await readStreams(String(url).trim(), count);
    return await readStreams(String(url).trim(), count);
  } finally {
    bare.kill();
  }
}

async function connections(): Promise<void> {
  const host = new ScriptedHost({ stepMs: STEP_MS });
  const queue = { interactive: 1000, batch: 10 };
  const lanes = { slots: 500, reserved: { interactive: 0, batch: 0 }, queue };
  const limits = { openRequests: 1000 };
  await using server = await startServer({ host, models: ["one"], port: 0, version: "0", limits, lanes });
  const at = (all: readonly number[], share: number) =>
    [...all].sort((a, b) => a - b)[Math.floor(share * (all.length - 1))] as number;
  const heap = () => {
    globalThis.gc?.();
    return process.memoryUsage().heapUsed / 1e6;
  };
  const told = ({ firstMs, gapsMs }: Streams) =>
    `first word p50 ${at(firstMs, 0.5).toFixed(0)}, p99 ${at(firstMs, 0.99).toFixed(0)} ms; ` +
    `a word p50 ${at(gapsMs, 0.5).toFixed(1)}, p99 ${at(gapsMs, 0.99).toFixed(1)} ms`;
  const alone = await readStreams(server.url, 1);
  console.log(`1 stream of ${WORDS} words, one every ${STEP_MS} ms: ${told(alone)}`);
  await readStreams(server.url, 500); // what is made once is made
  await wait(500);
  const before = heap();
  const all = await readStreams(server.url, 500);
  console.log(`500 at once: ${told(all)}`);
  const bare = await bareStreams(500);
  console.log(`500 at once, Node alone: ${told(bare)}`);
  const added = (of: keyof Streams) => at(all[of], 0.99) - at(alone[of], 0.5);
  hold(`p99 of what a word waits longer, below 50 ms: ${added("gapsMs").toFixed(1)} ms`, added("gapsMs") < 50);
  hold(
    `the same of the first word, all asked in one instant: ${added("firstMs").toFixed(0)} ms, ` +
      `${(at(all.firstMs, 0.99) - at(bare.firstMs, 0.99)).toFixed(0)} ms of them not Node's own`,
    added("firstMs") < 50,
  );
  await wait(500);
  const grown = heap() - before;
  hold(`the heap is back${globalThis.gc ? "" : " (give --expose-gc)"}: ${grown.toFixed(1)} MB more`, grown < 5);
  hold(`nothing runs: ${host.running}`, host.running === 0);
}

try {
  if (values.only !== "connections") {
    await alternate(writeTinyModel(join(folder, "tiny"), { max_position_embeddings: 8192 }), 200, "a");
    await alternate("smollm2-135m", 20, " fire");
  }
  if (values.only !== "loads") await connections();
} finally {
  rmSync(folder, { recursive: true });
}
process.exitCode = isMissed ? 1 : 0;
