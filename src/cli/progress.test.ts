// Progress as a person and as a log see it, on a screen and a clock made here.
import assert from "node:assert/strict";
import { test } from "node:test";
import { showProgress } from "./progress.ts";

/** Shows 0 to 100 % of 1 MB in 200 events, a second each. */
function shown(screen: { isTTY: boolean; columns?: number }, { quiet = false, everyMs = 1000 } = {}) {
  const written: string[] = [];
  let time = 0;
  {
    using progress = showProgress(quiet, { ...screen, write: (text: string) => written.push(text) }, () => time);
    for (let i = 0; i <= 200; i++) {
      time += everyMs;
      progress.onProgress({ step: "prepare", item: "weights", done: i * 5000, total: 1e6, unit: "bytes" });
    }
  }
  return written;
}

test("a log gets a line every tenth", () => {
  const lines = shown({ isTTY: false });
  assert.equal(lines.length, 11);
  assert.equal(lines[5], "preparing weights  50 % of 1.0 MB\n");
  assert.ok(lines.every((line) => line.endsWith("\n") && !line.includes("\r")));
});

test("a terminal gets one line that is written over, never wider than it, and cleared at the end", () => {
  const drawn = shown({ isTTY: true, columns: 20 });
  assert.ok(drawn.every((text) => text.startsWith("\r\u001b[K") && !text.includes("\n")));
  assert.ok(drawn.every((text) => text.length <= "\r\u001b[K".length + 19));
  assert.equal(drawn.at(-1), "\r\u001b[K");
});

test("a terminal is drawn on at most every 80 ms", () => {
  assert.ok(shown({ isTTY: true }, { everyMs: 10 }).length <= (200 * 10) / 80 + 2);
});

test("a download tells its rate over the last seconds and the time that is left; a choice is a line that stays", () => {
  const lines: string[] = [];
  let time = 1000;
  {
    using progress = showProgress(false, { write: (text: string) => lines.push(text) }, () => time);
    progress.onProgress({ step: "choose", item: "took a.gguf", done: 0, unit: "steps" });
    for (let i = 0; i <= 100; i++) {
      time += 1000;
      // resumed at 100 MB; 10 MB a second, then 1 MB a second
      const done = 100e6 + (i <= 50 ? i * 10e6 : 500e6 + (i - 50) * 1e6);
      progress.onProgress({ step: "download", item: "m", done, total: 1000e6, unit: "bytes" });
    }
  }
  assert.deepEqual(lines.slice(0, 3), [
    "took a.gguf\n",
    "fetching m  10 % of 1.00 GB\n",
    "fetching m  20 % of 1.00 GB, 10 MB/s, 80 s left\n",
  ]);
  assert.equal(lines.at(-1), "fetching m  60 % of 1.00 GB, 10 MB/s, 40 s left\n");
});

test("work that is done soon is not told of, nor anything where JSON is asked for", () => {
  assert.deepEqual(shown({ isTTY: false }, { everyMs: 1 }), []);
  assert.deepEqual(shown({ isTTY: true }, { quiet: true }), []);
});
