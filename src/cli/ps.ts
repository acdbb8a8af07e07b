// `irori ps`: what a running server holds open, runs and lets wait.
// It does not know how it is served.
import type { ArgsDef } from "citty";
import { megabytes } from "../engine/mod.ts";
import type { ServerStatus } from "../serve/mod.ts";
import type { Call, Command } from "./command.ts";
import { columns, print, printJson } from "./output.ts";
import { addressOf, serverArgs, statusAt } from "./server-status.ts";

const args = serverArgs satisfies ArgsDef;

export const ps: Command = { args, run: runPs };

async function runPs(call: Call): Promise<undefined> {
  const status = await statusAt(await addressOf(call));
  if (call.args.flag("json")) printJson(status);
  else print(textOf(status));
}

function textOf({ models, lanes, memory }: ServerStatus): string {
  const rows = models.map((each) => [
    ...[each.model, megabytes(each.weight_bytes), each.context.toLocaleString("en"), String(each.requests)],
    each.requests > 0 ? "-" : `${Math.round(each.idle_ms / 1000)} s`,
  ]);
  const lane = (name: "interactive" | "batch") =>
    `${name}: ${lanes[name].running} running, ${lanes[name].waiting} of ${lanes[name].most} waiting`;
  return `${columns([["MODEL", "WEIGHTS", "CONTEXT", "REQUESTS", "IDLE"], ...rows], [1, 2, 3, 4])}
${lanes.free} of ${lanes.slots} slots free, ${lanes.paused} paused · ${lane("interactive")} · ${lane("batch")}
process ${memory.pid}: ${megabytes(memory.privateBytes)} private, ${megabytes(memory.freeBytes)} free on the machine
`;
}
