// What 8-bit integers cost a model: its likelihood of a text, or the direction of its vectors, beside those of its own weights.
// It does not know how either is packed.
import type { Config } from "../models/mod.ts";
import type { Program } from "../runtime/mod.ts";
import { BoundStep } from "./bound-step.ts";
import { KvCache } from "./kv-cache.ts";
import { readRows } from "./text-batcher.ts";

/** Tokens of one run. */
const RUN = 128;

/** Mean negative log likelihood of a text, in nats a token. */
export async function meanNll(step: readonly Program[], config: Config, ids: readonly number[]): Promise<number> {
  using bound = new BoundStep(step, 1, { config });
  using cache = new KvCache(config, ids.length);
  let sum = 0;
  for (let at = 0; at < ids.length - 1; at += RUN) {
    const chunk = ids.slice(at, Math.min(at + RUN, ids.length - 1));
    const places = chunk.map((_, i) => i);
    const seen = await bound.alone({ cache, ids: chunk }, { at: places, temperatures: places.map(() => 1) });
    for (const i of places) {
      const next = seen?.candidates(i);
      if (next) sum += next.logSumExp - (next.all[ids[at + i + 1] as number] as number);
    }
  }
  return sum / (ids.length - 1);
}

/** Mean cosine of the vectors of some texts under two Programs. */
export async function meanCosine(
  [a, b]: readonly [Program, Program],
  texts: readonly (readonly number[])[],
): Promise<number> {
  let sum = 0;
  for (const ids of texts) {
    const [[x], [y]] = [await readRows(a, [{ ids }]), await readRows(b, [{ ids }])];
    sum += cosine(x as Float32Array, y as Float32Array);
  }
  return sum / texts.length;
}

function cosine(a: Float32Array, b: Float32Array): number {
  let [dot, x, y] = [0, 0, 0];
  a.forEach((value, i) => {
    dot += value * (b[i] as number);
    x += value * value;
    y += (b[i] as number) ** 2;
  });
  return dot / Math.sqrt(x * y);
}
