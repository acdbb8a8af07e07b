// A process that prepares one model from its checkpoint, packs it and ends: `HOME MODEL FORM`. It measures what only it can know.
import { readFileSync } from "node:fs";
import { Engine, type Form } from "../../src/engine/mod.ts";

const [home, model, form] = process.argv.slice(2) as [string, string, Form];
const spent: Record<string, number> = {};
const written = () => Number(/^wchar: (\d+)/m.exec(readFileSync("/proc/self/io", "utf8"))?.[1]);
await using engine = await Engine.open({
  ...{ home, threads: 2, spinning: false },
  budgetBytes: () => 8e9,
  now: () => performance.now(),
  fetching: { acceptsTerms: () => true },
});
const stored = await engine.pull(model);
const [before, start] = [written(), performance.now()];
await engine.prepare(stored, form);
spent.prepareMs = performance.now() - start;
spent.preparedBytes = written() - before;
{
  await using lease = await engine.lease(model, { form, warm: false });
  process.send?.("packs");
  await lease.warm();
}
spent.packMs = performance.now() - start - spent.prepareMs;
spent.packedBytes = written() - before - spent.preparedBytes;
process.send?.({ ...spent, checkpointBytes: stored.bytes });
process.disconnect?.();
