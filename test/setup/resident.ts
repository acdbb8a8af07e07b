// A prepared model opened by itself, without an engine, and its logits.
import type { GenerationSetting } from "../../src/engine/generation.ts";
import type { KvType } from "../../src/engine/kv-cache.ts";
import type { Kernels } from "../../src/engine/packed.ts";
import { Resident } from "../../src/engine/resident.ts";
import { Row } from "../../src/engine/row.ts";
import type { StepResults } from "../../src/engine/step-results.ts";
import { Turns } from "../../src/engine/turns.ts";
import type { Runtime } from "../../src/runtime/mod.ts";

interface Opened {
  readonly kernels?: Kernels;
  readonly kvType?: KvType;
  readonly keptBytes?: number;
  readonly budgetBytes?: () => number;
  readonly now?: () => number;
}

export const openResident = (
  folder: string,
  runtime: Runtime,
  { kernels = "own", kvType, keptBytes = 0, budgetBytes = () => 8e9, now = () => 0 }: Opened = {},
): Promise<Resident> =>
  Resident.open({
    ...{ model: "the model", folder, now, turns: new Turns(), keptBytes },
    ...{ kernels: { prompt: kernels, answer: kernels }, kvType },
    ...{ runtime: async () => runtime, onEvent: () => undefined, budgetBytes },
  });

/** What `generate` needs of a resident model. */
export const settingOf = (resident: Resident): GenerationSetting => {
  const { model, batcher, memory, tokenizer, manifest } = resident;
  return { model, config: manifest.config, tokenizer, batcher, memory, openMs: 0, now: () => 0 };
};

/** A row for `context` tokens, over a cache that others neither see nor get. */
export function rowOf({ batcher, memory }: Resident, context: number): Row & Disposable {
  return new Row(batcher, memory.take([], context, false));
}

/** Logits [T, V] at every token of a text, fed in runs of the given sizes, over and over. */
export async function logitsOf(
  resident: Resident,
  ids: readonly number[],
  sizes: readonly number[],
): Promise<Float32Array> {
  const { vocabSize } = resident.manifest.config;
  using row = rowOf(resident, ids.length);
  const all = new Float32Array(ids.length * vocabSize);
  for (let at = 0, i = 0; at < ids.length; i++) {
    const chunk = ids.slice(at, at + (sizes[i % sizes.length] as number));
    const from = at;
    await row.feed(chunk, {
      look: "each",
      onRun: (done, results) => {
        const seen = results as StepResults;
        for (let p = 0; p < seen.positions; p++)
          all.set(seen.candidates(p).all as Float32Array, (from + done - seen.positions + p) * vocabSize);
      },
    });
    at += chunk.length;
  }
  return all;
}
