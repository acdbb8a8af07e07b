// The soak's self-check: a few seconds over a host that runs no model. The real one: `node bench/soak.ts` (docs/serve.md).
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const script = fileURLToPath(new URL("../bench/soak.ts", import.meta.url));

test("check 34: a soak of a few seconds: every kind of caller is answered, one load, no slot held, nothing unforeseen", async () => {
  const soak = spawn(process.execPath, [script, "--seconds", "3", "--scripted", "--json"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [said, errors, [code]] = await Promise.all([text(soak.stdout), text(soak.stderr), once(soak, "exit")]);
  assert.equal(code, 0, said + errors);
  const result = JSON.parse(said);
  assert.deepEqual([result.failures, result.unforeseen, result.missed], [[], [], []]);
  assert.deepEqual(result.loads, { first: 1 });
  assert.equal(result.slots.free, result.slots.of);
  for (const name of ["interactive stream", "long batch prompt", "mixed options", "one who leaves", "job", "scrape"])
    assert.ok(result.counts[name] >= 1, name);
});
