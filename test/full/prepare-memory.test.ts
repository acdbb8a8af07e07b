// Preparing takes little memory whatever the model's size (bench/prepare.ts measures it; Linux only).
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";

const MOST = 200e6;

const skip = process.platform === "linux" ? false : "private memory is read from /proc";
test("the most private memory while preparing, in any form, is at most 200 MB", { skip }, (t) => {
  const bench = join(import.meta.dirname, "../../bench/prepare.ts");
  const home = join(import.meta.dirname, "../../.cache/test-home");
  const out = execFileSync(process.execPath, [bench, "--home", home, "--large", "--json"], { encoding: "utf8" });
  const { results } = JSON.parse(out) as { results: { model: string; form: string; prepareBytes: number }[] };
  assert.equal(results.length, 6);
  for (const { model, form, prepareBytes } of results) {
    const name = model.startsWith("file:") ? "1.1 billion weights" : model;
    t.diagnostic(`${name} as ${form}: ${(prepareBytes / 1e6).toFixed(0)} MB`);
    assert.ok(prepareBytes > 20e6 && prepareBytes <= MOST, `${name} as ${form}: ${prepareBytes}`);
  }
});
