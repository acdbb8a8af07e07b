// What a model takes of memory against its plan, at three contexts: check 9 of the serving reference. Linux: reads /proc.
// `node bench/residency.ts [--model smollm2-135m]`. It does not know how the plan is made.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { readSettings } from "../src/machine.ts";
import { ProcessHost } from "../src/serve/mod.ts";
import { itemsOf } from "../src/serve/residency.ts";

const { values } = parseArgs({ options: { model: { type: "string", default: "smollm2-135m" } } });
const { model } = values;
const { settings } = readSettings();

interface Resident {
  /** As `ps` counts: a page of a file that is mapped twice counts twice. */
  readonly all: number;
  /** Each page once. */
  readonly once: number;
}

/** Bytes of a process that are in memory, of files and of none. */
function residentOf(pid: number): Resident {
  const read = (file: string, name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${pid}/${file}`, "utf8"))?.[1]) * 1024;
  return { all: read("status", "RssAnon") + read("status", "RssFile"), once: read("smaps_rollup", "Pss") };
}

{
  await using first = new ProcessHost({ rows: 1, settings });
  await first.load(model); // prepared and packed where it was not
}
let worst = 0;
for (const context of [512, 2048, 4096]) {
  await using host = new ProcessHost({ rows: 1, settings });
  const facts = await host.measure(model);
  const before = residentOf((await host.memory()).pid);
  await host.load(model);
  const ids = Array.from({ length: context - 8 }, (_, i) => 100 + ((i * 7919) % (facts.vocabSize - 200)));
  const request = { ids, seed: 1, maxTokens: 8, ignoreEos: true, sampling: { temperature: 0 } };
  for await (const _ of host.generate(model, request));
  const after = residentOf(host.pid as number);
  const measured = after.all - before.all;
  const planned = itemsOf({ facts, context }).reduce((sum, { bytes }) => sum + bytes, 0);
  worst = Math.max(worst, Math.abs(planned / measured - 1));
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(0);
  console.log(
    `check 9: ${context} tokens: planned ${megabytes(planned)} MB, measured ${megabytes(measured)} MB, ${(planned / measured).toFixed(3)} x; each page once ${megabytes(after.once - before.once)} MB`,
  );
}
console.log(`check 9: at most ${(worst * 100).toFixed(1)} % off: ${worst <= 0.1 ? "holds" : "does not hold"}`);
if (worst > 0.1) process.exitCode = 1;
