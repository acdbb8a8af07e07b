// Opens Programs of 1, 2 and 3 rows of the real model one after another and prints what each added: run in a process of its own.
import { readFileSync } from "node:fs";
import { Engine } from "../../src/engine/mod.ts";
import { Runtime } from "../../src/runtime/mod.ts";
import { openResident } from "./resident.ts";

const rssAnonMb = (): number => {
  globalThis.gc?.();
  return Number(/RssAnon:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1000;
};
const now = () => performance.now();
await using engine = await Engine.open({
  home: process.argv[2] as string,
  threads: 2,
  spinning: false,
  budgetBytes: () => 8e9,
  now,
});
const stored = await engine.pull("smollm2-135m");
const folder = await engine.prepare(stored, "blocks");
await using runtime = await Runtime.open({ threads: 2, spinning: false });
const resident = await openResident(folder, runtime, { now });
const added: { rows: number; mb: number; ms: number }[] = [];
for (const rows of [1, 2, 3]) {
  const [before, start] = [rssAnonMb(), now()];
  await resident.step(rows);
  added.push({ rows, ms: now() - start, mb: rssAnonMb() - before });
}
await resident[Symbol.asyncDispose]();
console.log(JSON.stringify(added));
