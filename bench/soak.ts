// A server under mixed load for a long time: does it leak, load again, or fail? `node bench/soak.ts [--minutes 15] [--kill]`, SmolLM2-135M
// of the store; `--seconds 5 --scripted` is the self-check over a host that runs no model. `--minutes 60` is the long one. Prints a
// line a minute, then the result; exits 1 where a bar is missed. It does not know how serving works.
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { readSettings } from "../src/machine.ts";
import { type Host, ProcessHost, startServer } from "../src/serve/mod.ts";
import { ScriptedHost } from "../test/setup/scripted-host.ts";
import { machine } from "./machine.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "15" },
    seconds: { type: "string" },
    scripted: { type: "boolean", default: false },
    /** Kill the engine once, after a third of the time. */
    kill: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const lastsMs = values.seconds === undefined ? Number(values.minutes) * 60_000 : Number(values.seconds) * 1000;
const say = (text: string): void => void (values.json ? process.stderr : process.stdout).write(`${text}\n`);
/** Reference §7, check 34: a server that has settled may grow by so much. */
const MOST_MB_PER_MINUTE = 1;

const model = values.scripted ? "one" : "smollm2-135m";
const lost: string[] = [];
const { settings } = readSettings();
const host: Host & { readonly pid?: number | undefined } = values.scripted
  ? Object.assign(new ScriptedHost({ stepMs: 1 }), { pid: undefined })
  : new ProcessHost({ settings: { ...settings, spin: false }, rows: 4 });
const unforeseen: string[] = [];
const server = await startServer({
  ...{ host, models: [model], port: 0, version: "soak", lanes: { slots: 6 } },
  onEngine: ({ type }) => lost.push(type),
  onError: (id, error) => unforeseen.push(`${id}: ${error}`),
});
const { url, serving } = server;

const counts = new Map<string, number>();
const count = (name: string): void => void counts.set(name, (counts.get(name) ?? 0) + 1);
let words = 0;
const text = (tokens: number): string =>
  `Note ${++words}. ${"The fire never goes out. ".repeat(Math.ceil(tokens / 6))}`;
const post = (path: string, body: object, signal: AbortSignal | null = null) =>
  fetch(url + path, { method: "POST", body: JSON.stringify({ model, ...body }), signal });

/** Every kind of caller, each again and again until the end. */
const callers: Readonly<Record<string, () => Promise<void>>> = {
  "interactive stream": async () => {
    const response = await post("/v1/chat/completions", {
      ...{ messages: [{ role: "user", content: text(40) }], max_tokens: 40, stream: true },
    });
    const told = await response.text();
    if (response.status === 200 && told.endsWith("data: [DONE]\n\n")) return;
    if (response.status !== 503 && !told.includes("engine_lost"))
      throw new Error(`${response.status} ${told.slice(-200)}`);
    count("engine lost, told");
  },
  "long batch prompt": async () => {
    const response = await post("/v1/completions", { prompt: text(700), max_tokens: 30, lane: "batch" });
    await checked(response);
  },
  "mixed options": async () => {
    const options = { num_ctx: 2048 << (words % 3), num_batch: 512, num_predict: 12 };
    await checked(await post("/api/generate", { prompt: text(60), options, keep_alive: "0", stream: false }));
  },
  "one who leaves": async () => {
    const leaving = new AbortController();
    setTimeout(() => leaving.abort(), 20 + (words % 7) * 60);
    const asked = { messages: [{ role: "user", content: text(100) }], max_tokens: 500, stream: true };
    await post("/v1/chat/completions", asked, leaving.signal)
      .then((response) => response.text())
      .catch(() => undefined);
  },
  job: async () => {
    const body = { messages: [{ role: "user", content: text(20) }], max_tokens: 20 };
    const { id } = (await (await post("/irori/jobs", { url: "/v1/chat/completions", body })).json()) as { id: string };
    for (;;) {
      const job = (await (await fetch(`${url}/irori/jobs/${id}?wait_ms=5000`)).json()) as { status: string };
      if (job.status === "done") return;
      if (job.status === "failed" || job.status === "cancelled") throw new Error(`a job ${job.status}`);
    }
  },
  scrape: async () => {
    await checked(await fetch(`${url}/metrics`));
    await wait(1000);
  },
};
async function checked(response: Response): Promise<void> {
  const told = await response.text();
  if (response.status === 503 && response.headers.has("retry-after")) count("engine lost, told");
  else if (response.status !== 200) throw new Error(`${response.status} ${told.slice(0, 200)}`);
}

interface Sample {
  readonly minutes: number;
  readonly serverMb: number;
  readonly engineMb: number;
  readonly files: number;
}
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
/** Memory of a process that no file backs: what leaks. Of the server's own, what is garbage is collected first. */
const privateMb = (pid: number | undefined): number => {
  if (pid === undefined) return 0;
  const kilobytes = /^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kilobytes ?? 0) / 1000;
};
const start = performance.now();
const sample = (): Sample => {
  collect();
  return measured();
};
const measured = (): Sample => ({
  ...{ minutes: (performance.now() - start) / 60_000, serverMb: privateMb(process.pid) },
  ...{ engineMb: privateMb(host.pid), files: readdirSync("/proc/self/fd").length },
});

interface At {
  readonly minutes: number;
}
/** What is warm by then: pools, compiled code, kept prompts; after a kill the new engine begins with none of them. */
const settled = <T extends At>(samples: readonly T[]): T[] =>
  samples.filter(({ minutes }) => minutes > (lastsMs / 60_000) * 0.4);

/** The lowest of each minute: what is held when little runs. */
const lowest = <T extends At>(samples: readonly T[], of: (sample: T) => number): T[] =>
  [...Map.groupBy(settled(samples), ({ minutes }) => Math.floor(minutes)).values()].map(
    (all) => all.toSorted((a, b) => of(a) - of(b))[0] as T,
  );

/** Slope of a line through the samples, by least squares. */
function slope<T extends At>(samples: readonly T[], of: (sample: T) => number): number {
  const mean = (all: readonly number[]) => all.reduce((sum, x) => sum + x, 0) / all.length;
  const [x, y] = [samples.map(({ minutes }) => minutes), samples.map(of)];
  const [mx, my] = [mean(x), mean(y)];
  const spread = x.reduce((sum, each) => sum + (each - mx) ** 2, 0);
  return x.reduce((sum, each, i) => sum + (each - mx) * ((y[i] as number) - my), 0) / spread;
}

say(`soak: ${(lastsMs / 60_000).toFixed(1)} minutes, ${model}; ${machine().cpu}, ${machine().cores} cores`);
const ends = start + lastsMs;
const failures: string[] = [];
const working = Object.entries(callers).map(async ([name, call]) => {
  while (performance.now() < ends) {
    await call().then(
      () => count(name),
      (error: Error) => failures.push(`${name}: ${error.message}`),
    );
    if (failures.length > 100) return;
  }
});
const samples: Sample[] = [sample()];
const every = Math.min(10_000, lastsMs / 12);
// caches come and go by 50 MB with every prompt: one look in ten seconds would seldom meet the least
const engine: Pick<Sample, "minutes" | "engineMb">[] = [];
const looking = setInterval(() => {
  engine.push({ minutes: (performance.now() - start) / 60_000, engineMb: privateMb(host.pid) });
}, 250);
let isKilled = !values.kill;
let toldAt = 0;
while (performance.now() < ends) {
  await wait(every);
  samples.push(sample());
  const { minutes, serverMb, engineMb, files } = samples.at(-1) as Sample;
  if (!isKilled && minutes * 60_000 > lastsMs / 3 && host.pid !== undefined) {
    isKilled = true;
    process.kill(host.pid, "SIGKILL");
  }
  if (minutes - toldAt < 1) continue;
  toldAt = minutes;
  const done = [...counts].map(([name, times]) => `${times} ${name}`).join(", ");
  say(
    `${minutes.toFixed(1)} min: server ${serverMb.toFixed(0)} MB, engine ${engineMb.toFixed(0)} MB, ${files} files; ${done}`,
  );
}
await Promise.all(working);
for (let i = 0; i < 200 && serving.lanes.state().free < 6; i++) await wait(20);

clearInterval(looking);
const serverMb = (each: Sample) => each.serverMb;
const engineMb = (each: Pick<Sample, "engineMb">) => each.engineMb;
const lanes = serving.lanes.state();
const result = {
  ...{ minutes: lastsMs / 60_000, model, counts: Object.fromEntries(counts), failures, unforeseen, lost },
  loads: serving.residents.loads(),
  serverMbPerMinute: slope(lowest(samples, serverMb), serverMb),
  engineMbPerMinute: slope(lowest(engine, engineMb), engineMb),
  engineLeastMb: lowest(engine, engineMb).map((each) => Math.round(each.engineMb)),
  ...{ first: samples[0], last: samples.at(-1), slots: { free: lanes.free, of: lanes.slots } },
};
await server[Symbol.asyncDispose]();
const loads = Object.values(result.loads).reduce((sum, each) => sum + each, 0);
const isShort = lastsMs < 5 * 60_000; // too short for a slope
const missed = [
  ...(failures.length > 0 ? [`${failures.length} failures, the first: ${failures[0]}`] : []),
  ...(unforeseen.length > (values.kill ? 1000 : 0) ? [`unforeseen: ${unforeseen[0]}`] : []),
  ...(loads > (values.kill ? 2 : 1) ? [`${loads} loads`] : []),
  ...(lanes.free < lanes.slots ? [`${lanes.slots - lanes.free} slots are still held`] : []),
  ...(["serverMbPerMinute", "engineMbPerMinute"] as const)
    .filter((name) => !isShort && result[name] > MOST_MB_PER_MINUTE)
    .map((name) => `${name} ${result[name].toFixed(2)}`),
];
if (values.json) process.stdout.write(`${JSON.stringify({ ...result, missed })}\n`);
else {
  say(`calls: ${[...counts].map(([name, times]) => `${times} ${name}`).join(", ")}`);
  say(
    `loads: ${JSON.stringify(result.loads)}; slots free ${lanes.free} of ${lanes.slots}; failures ${failures.length}`,
  );
  const by = (x: number) => `${x >= 0 ? "+" : ""}${x.toFixed(2)} MB/min`;
  say(
    `after two fifths: server ${by(result.serverMbPerMinute)}, engine ${by(result.engineMbPerMinute)} (bar ${MOST_MB_PER_MINUTE})`,
  );
  say(`the engine's least of each of these minutes, MB: ${result.engineLeastMb.join(", ")}`);
  say(missed.length === 0 ? "held" : `missed: ${missed.join("; ")}`);
}
process.exitCode = missed.length === 0 ? 0 : 1;
