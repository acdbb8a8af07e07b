// A KvCache takes memory as tokens arrive, not before, also where others were made and let go.
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
