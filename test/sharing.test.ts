// Programs of one model share its pages: what further ones add to the process.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { smollm2 } from "./setup/smollm2.ts";

const script = fileURLToPath(new URL("setup/open-programs.ts", import.meta.url));
const skip = process.platform !== "linux" && "RssAnon is read from /proc, which only Linux has";

test("a second and a third step over the same pages add at most 20 MB each", { skip }, async (t) => {
  const { home } = await smollm2();
  const once = async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", script, home]);
    return JSON.parse(stdout) as { rows: number; mb: number; ms: number }[];
  };
  await once(); // traces and packs where that was not done before
  const opened = await once();
  for (const { rows, mb, ms } of opened)
    t.diagnostic(`${rows} rows: +${mb.toFixed(1)} MB RssAnon, ${ms.toFixed(0)} ms`);
  // together: how much of one opening's scratch the allocator hands to the next varies
  assert.ok((opened[1]?.mb ?? 0) + (opened[2]?.mb ?? 0) <= 40);
});
