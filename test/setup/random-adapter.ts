// LoRA adapters of random numbers for a model that is leased. It does not know what is tested with them.
import { seededRandom } from "../../src/base/mod.ts";
import type { Lease } from "../../src/engine/mod.ts";
import type { Adapter, LowRankValues } from "../../src/hooks/mod.ts";

/** An adapter of random numbers for the weights whose names end in a target. */
export async function randomAdapter(
  lease: Lease,
  targets: readonly string[],
  rank: number,
  seed: number,
): Promise<Adapter> {
  const { family, config } = await lease.inside();
  const random = seededRandom(seed);
  const some = (length: number) => Float32Array.from({ length }, () => (random.next() - 0.5) * 0.5);
  const changes: LowRankValues[] = [];
  for (const [weight, shape] of family.weights(config)) {
    if (!targets.some((target) => weight.endsWith(`.${target}.weight`))) continue;
    const [out, width] = (family.isInOut ? [shape[1], shape[0]] : shape) as [number, number];
    changes.push({ weight, rank, scale: 0.5 + seed, a: some(rank * width), b: some(out * rank) });
  }
  return { changes, config: {} };
}
