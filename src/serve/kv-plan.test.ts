// Bytes of caches against sums of llama.cpp's layout that others published (reference/serving-alt.md §4.2, ADR-981).
import assert from "node:assert/strict";
import { test } from "node:test";
import { ggmlKvBytes, kvBytes } from "./kv-plan.ts";

const gemma3 = {
  ...{ kvHeads: 4, headSize: { full: 256, window: 256 }, fullLayers: 5, windowLayers: 29, window: 1024 },
  ...{ chunk: 512, type: "f16" as const },
} as const;
const sum = (cache: Parameters<typeof ggmlKvBytes>[0]) => {
  const { full, window } = ggmlKvBytes(cache);
  return full + window;
};

test("check 7: gemma3-4b at 8k x 2 takes 639,631,360 bytes, at 12k x 1 414 MiB; Gemma 4 E4B in q8_0 102.00 and 21.25 MiB", () => {
  assert.equal(sum({ ...gemma3, context: 8192, rows: 2 }), 639_631_360);
  assert.equal(sum({ ...gemma3, context: 12_288, rows: 1 }) / 2 ** 20, 414);
  const gemma4 = {
    ...{ kvHeads: 2, headSize: { full: 512, window: 256 }, fullLayers: 4, windowLayers: 20, window: 512, chunk: 512 },
    ...{ context: 12_288, rows: 1, type: "q8_0" as const },
  } as const;
  const { full, window } = ggmlKvBytes(gemma4);
  assert.equal(full / 2 ** 20, 102);
  assert.equal(window / 2 ** 20, 21.25);
});

test("check 7: 8-bit and 4-bit caches take 34/64 and 18/64 of 16-bit ones", () => {
  const f16 = sum({ ...gemma3, context: 8192, rows: 2 });
  assert.equal(sum({ ...gemma3, context: 8192, rows: 2, type: "q8_0" }), (f16 * 34) / 64);
  assert.equal(sum({ ...gemma3, context: 8192, rows: 2, type: "q4_0" }), (f16 * 18) / 64);
});

test("a layer with a window stops growing", () => {
  const kinds = [
    { layers: 1, tokenBytes: 10 },
    { layers: 2, tokenBytes: 10, most: 100 },
  ];
  assert.equal(kvBytes(kinds, 50), 3 * 10 * 51);
  assert.equal(kvBytes(kinds, 1000), 10 * 1001 + 2 * 10 * 101);
});
