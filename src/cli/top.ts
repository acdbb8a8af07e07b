// `irori top`: what a running server does now, again and again: lanes, slots, queue, tokens a second, loads, memory.
// It does not know how it is served.
import { setTimeout as wait } from "node:timers/promises";
import type { ArgsDef } from "citty";
import { megabytes } from "../engine/mod.ts";
import type { ServerStatus } from "../serve/mod.ts";
import type { Call, Command } from "./command.ts";
import { columns, listenForStop, print, printJson } from "./output.ts";
import { type Address, addressOf, serverArgs, statusAt } from "./server-status.ts";

const args = {
  ...serverArgs,
  once: { type: "boolean", description: "Look for one interval, print once and end" },
  interval: { type: "string", valueHint: "SECONDS", description: "Between two looks (default 1)" },
} as const satisfies ArgsDef;

export const top: Command = { args, run: runTop };

/** What came between two looks. */
interface Look {
  readonly status: ServerStatus;
  /** Of the interval, by lane. */
  readonly rates: Readonly<Record<"interactive" | "batch", { tokensPerSecond: number; requestsPerSecond: number }>>;
}

async function runTop(call: Call): Promise<undefined> {
  const { args } = call;
  const intervalMs = 1000 * (args.number("interval", { min: 0.05, max: 3600 }) ?? 1);
  const isLive = process.stdout.isTTY === true && !args.flag("json") && !args.flag("once");
  using stop = listenForStop();
  const address = await addressOf(call);
  let before = await timed(address);
  while (!stop.signal.aborted) {
    await wait(intervalMs, undefined, { signal: stop.signal }).catch(() => undefined);
    if (stop.signal.aborted) return;
    const now = await timed(address);
    const look = { status: now.status, rates: ratesOf(before, now) };
    if (args.flag("json")) printJson({ url: address.url, ...now.status, rates: look.rates });
    // the cursor home and what is left of the last look away: no flicker
    else
      print(
        isLive ? `\x1b[H${textOf(address.url, look).replaceAll("\n", "\x1b[K\n")}\x1b[J` : textOf(address.url, look),
      );
    if (args.flag("once")) return;
    before = now;
  }
}

interface Timed {
  readonly status: ServerStatus;
  readonly atMs: number;
}
async function timed(address: Address): Promise<Timed> {
  const status = await statusAt(address);
  return { status, atMs: performance.now() };
}

function ratesOf(before: Timed, now: Timed): Look["rates"] {
  const seconds = (now.atMs - before.atMs) / 1000;
  const of = (lane: "interactive" | "batch") => {
    const [a, b] = [before.status.totals[lane], now.status.totals[lane]];
    // a server that was started again counts from nothing
    const per = (name: "tokens" | "requests") => Math.max(0, b[name] - a[name]) / seconds;
    return { tokensPerSecond: round(per("tokens")), requestsPerSecond: round(per("requests")) };
  };
  return { interactive: of("interactive"), batch: of("batch") };
}
const round = (x: number): number => Math.round(x * 10) / 10;

function textOf(url: string, { status, rates }: Look): string {
  const { lanes, models, loads, memory, jobs, remotes, version, totals, uptime_s } = status;
  const laneRows = (["interactive", "batch"] as const).map((name) => {
    const { running, waiting, most, expectedWaitMs } = lanes[name];
    const { tokensPerSecond } = rates[name];
    const wait = waiting > 0 ? `${(expectedWaitMs / 1000).toFixed(1)} s` : "-";
    return [
      name,
      String(running),
      `${waiting} of ${most}`,
      wait,
      tokensPerSecond.toFixed(1),
      String(totals[name].requests),
    ];
  });
  const modelRows = models.map((each) => [
    ...[each.model, megabytes(each.weight_bytes), each.context.toLocaleString("en"), String(each.requests)],
    ...[each.requests > 0 ? "-" : `${Math.round(each.idle_ms / 1000)} s`, each.pinned ? "pinned" : ""],
  ]);
  const causes = Object.entries(loads).map(([cause, count]) => `${count} ${cause}`);
  const jobText = Object.entries(jobs).map(([state, count]) => `${count} ${state}`);
  return `irori ${version} at ${url}, up ${uptimeOf(uptime_s)}
slots ${bar(lanes.slots - lanes.free, lanes.slots)} ${lanes.slots - lanes.free} of ${lanes.slots} held, ${lanes.paused} paused${lanes.isYielding ? ", batch stands still" : ""}

${columns([["LANE", "RUNNING", "WAITING", "WAIT", "TOKENS/S", "REQUESTS"], ...laneRows], [1, 2, 3, 4, 5])}
${columns([["MODEL", "WEIGHTS", "CONTEXT", "REQUESTS", "IDLE", ""], ...modelRows], [1, 2, 3, 4])}
loads   ${causes.join(", ") || "none"}
memory  ${megabytes(memory.privateBytes)} private, ${megabytes(memory.residentBytes)} resident (process ${memory.pid}), ${megabytes(memory.freeBytes)} free
jobs    ${jobText.join(", ") || "none"}
${remotesText(remotes)}`;
}

const remotesText = (remotes: ServerStatus["remotes"]): string =>
  remotes
    .map(
      ({ name, is_well, why, in_flight, most, answered, failed }) =>
        `remote  ${name}: ${is_well ? `${in_flight} of ${most} in flight` : `no work: ${why}`}, ${answered} answered, ${failed} failed\n`,
    )
    .join("");

const bar = (held: number, of: number): string => `[${"#".repeat(held)}${".".repeat(Math.max(0, of - held))}]`;

function uptimeOf(seconds: number): string {
  const [h, m] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return h > 0 ? `${h} h ${m} min` : m > 0 ? `${m} min` : `${Math.round(seconds)} s`;
}
