// A KvCache takes memory as tokens arrive, not before, also where others were made and let go.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Config } from "../models/mod.ts";
import { KvCache, kvCacheBytes } from "./kv-cache.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const privateMb = (): number =>
  Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1000;
const skip = process.platform !== "linux" && "RssAnon is read from /proc, which only Linux has";

test("caches of less and less room, made and let go, are mapped only where tokens come", { skip }, async () => {
  const config = { layers: 4, kvHeads: 4, headSize: 64 } as Config;
  assert.ok(kvCacheBytes(config, 2000) > 16e6);
  let mb = 0;
  for (let round = 0; round < 6; round++) {
    const before = privateMb();
    const caches = [2000, 1990].map((context) => new KvCache(config, context - 100 * round));
    mb += privateMb() - before;
    for (const cache of caches.splice(0)) cache[Symbol.dispose]();
    collect();
    await wait(20);
    collect();
  }
  assert.ok(mb < 8, `${mb.toFixed(1)} MB`);
});
