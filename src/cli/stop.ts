// `irori stop`: ends the running servers of this store in order: what runs gets its time to end. It does not know how they are served.
import { setTimeout as wait } from "node:timers/promises";
import type { ArgsDef } from "citty";
import { IroriError } from "../base/mod.ts";
import { type Found, isProcess, serversOf } from "../serve/attach/mod.ts";
import { nameOf } from "./attach.ts";
import type { Call, Command } from "./command.ts";
import { print, printJson } from "./output.ts";
import { settingsOf } from "./settings.ts";

/** Longer than a server lets its answers end, and its engine. */
const PATIENCE_MS = 20_000;

const args = {
  url: { type: "string", valueHint: "URL", description: "Only the one at this address (default: all of this store)" },
} as const satisfies ArgsDef;

export const stop: Command = { args, run: runStop };

async function runStop(call: Call): Promise<undefined> {
  const url = call.args.text("url")?.replace(/\/+$/, "");
  const { home } = settingsOf(call).settings;
  const all = await serversOf(home);
  const wanted = url === undefined ? all : all.filter(({ record }) => record.url === url);
  if (wanted.length === 0)
    throw new IroriError("not-found", {
      what: url === undefined ? `no server runs over ${home}` : `no server of ${home} is at ${url}`,
      got: all.map(({ record }) => record.url).join(", ") || undefined,
      next: "one that was started over another store is stopped with its IRORI_HOME",
    });
  await Promise.all(wanted.map(end));
  const told = wanted.map(({ record: { url, pid } }) => ({ url, pid }));
  if (call.args.flag("json")) printJson({ stopped: told });
  else for (const { record } of wanted) print(`stopped ${nameOf(record)}\n`);
}

/** It has just said that it is the process of that number. */
async function end({ record }: Found): Promise<void> {
  process.kill(record.pid, "SIGTERM");
  const until = performance.now() + PATIENCE_MS;
  while (isProcess(record.pid)) {
    if (performance.now() > until)
      throw new IroriError("busy", {
        what: `${nameOf(record)} does not end`,
        got: `nothing for ${PATIENCE_MS / 1000} s`,
        next: `kill -9 ${record.pid}: its jobs go on with the next server`,
      });
    await wait(50);
  }
}
