// A KvCache takes memory as tokens arrive, not before, also where others were made and let go, and gives it back at once.
import assert from "node:assert/strict";
import { test } from "node:test";
import { KvCache, kvCacheBytes } from "../src/engine/kv-cache.ts";
import { privateBytes } from "../src/machine.ts";
import type { Config } from "../src/models/mod.ts";
import { collected } from "./setup/garbage.ts";

const skip = process.platform !== "linux" && "only Linux tells what no file backs";

test("caches of less and less room, made and let go, are mapped only where tokens come", { skip }, async () => {
  const config = { layers: 4, kvHeads: 4, headSize: 64 } as Config;
  assert.ok(kvCacheBytes(config, 2000) > 16e6);
  let mb = 0;
  for (let round = 0; round < 6; round++) {
    const before = privateBytes();
    const caches = [2000, 1990].map((context) => new KvCache(config, context - 100 * round));
    mb += (privateBytes() - before) / 1e6;
    for (const cache of caches.splice(0)) cache[Symbol.dispose]();
    await collected();
  }
  assert.ok(mb < 8, `${mb.toFixed(1)} MB`);
});

test("a cache that is disposed of gives its memory back at once, after a run over it", { skip }, () => {
  const config = { layers: 4, kvHeads: 4, headSize: 64 } as Config;
  const megabytes = (since: number): number => (privateBytes() - since) / 1e6;
  for (let round = 0; round < 20; round++) {
    const before = privateBytes();
    const cache = new KvCache(config, 2000);
    for (const tensor of Object.values(cache.ports(0).outputs)) (tensor.data as Float32Array).fill(1);
    const run = cache.heldByRun();
    cache[Symbol.dispose]();
    cache[Symbol.dispose]();
    const during = megabytes(before);
    run[Symbol.dispose]();
    assert.ok(during > 16 && megabytes(before) < 2, `${during.toFixed(1)}, then ${megabytes(before).toFixed(1)} MB`);
  }
});

test("what a cache says it holds is what the process has more", { skip }, () => {
  const config = { layers: 30, kvHeads: 3, headSize: 64 } as Config;
  for (const tokens of [40, 700]) {
    const before = privateBytes();
    const caches = Array.from({ length: 6 }, () => new KvCache(config, 2000));
    for (const cache of caches) {
      for (const { data } of Object.values(cache.ports(0).outputs))
        for (let head = 0; head < 3; head++)
          (data as Float32Array).fill(1, head * 2001 * 64, (head * 2001 + tokens) * 64);
      cache.added(tokens);
    }
    const taken = privateBytes() - before;
    const held = caches.reduce((sum, { heldBytes }) => sum + heldBytes, 0);
    for (const cache of caches) cache[Symbol.dispose]();
    assert.ok(Math.abs(held / taken - 1) < 0.1, `${tokens} tokens: ${held} are told, ${taken} are taken`);
  }
});
