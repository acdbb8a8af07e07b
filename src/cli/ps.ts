// `irori ps`: what a running server holds open, runs and lets wait.
// It does not know how it is served.
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { megabytes } from "../engine/mod.ts";
import { DEFAULT_PORT, type ServerStatus } from "../serve/mod.ts";
import type { Call, Command } from "./command.ts";
import { columns, print, printJson } from "./output.ts";

const args = {
  url: { type: "string", valueHint: "URL", description: `The server (default http://127.0.0.1:${DEFAULT_PORT})` },
  key: { type: "string", valueHint: "KEY", description: "The key that it wants" },
} as const satisfies ArgsDef;

export const ps: Command = { args, run: runPs };

async function runPs({ args }: Call): Promise<undefined> {
  const url = args.text("url") ?? `http://127.0.0.1:${DEFAULT_PORT}`;
  const key = args.text("key");
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const response = await fetch(`${url}/irori/status`, { headers }).catch((cause: unknown) => {
    throw new IroriError("io", { what: `nothing answers at ${url}`, next: "`irori serve` starts a server", cause });
  });
  if (!response.ok)
    throw new IroriError("io", { what: `${url} refuses`, got: `${response.status} ${await response.text()}` });
  const status = (await response.json()) as ServerStatus;
  if (args.flag("json")) printJson(status);
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
