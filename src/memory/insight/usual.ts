// How similar two texts of a memory are by chance: what all of them share (a form, a language, a greeting) links nothing.
// Measured on a sample, kept in the store, measured anew when the memory has grown. It does not know links.
import type { Json } from "../episode.ts";
import type { Parts } from "../parts.ts";
import { dot } from "../vectors/lists.ts";

export interface Usual {
  readonly mean: number;
  readonly deviation: number;
  /** Episodes there were when it was measured. */
  readonly episodes: number;
}

/** Fewer episodes tell nothing about the usual. */
const LEAST_EPISODES = 20;
const SAMPLE = 128;
const SEED = 1;
/** Growth after which it is measured again. */
const GROWTH = 1.25;
/** Deviations above the mean from which a similarity is no chance. */
const UNUSUAL = 3;

/** Undefined while there are too few episodes. */
export async function usualOf({
  store,
  namespace,
  now,
}: Pick<Parts, "store" | "namespace" | "now">): Promise<Usual | undefined> {
  const episodes = await store.countEpisodes(namespace);
  if (episodes < LEAST_EPISODES) return undefined;
  const kept = (await store.getRecord(namespace, "usual", "similarity"))?.body as (Usual & Json) | undefined;
  if (kept !== undefined && episodes < kept.episodes * GROWTH && episodes * GROWTH > kept.episodes) return kept;
  const usual = {
    ...measure((await store.sampleVectors(namespace, SAMPLE, SEED)).map(({ vector }) => vector)),
    episodes,
  };
  await store.putRecord(namespace, "usual", { key: "similarity", body: usual, recordedAt: now() });
  return usual;
}

function measure(vectors: readonly Float32Array[]): { mean: number; deviation: number } {
  const all = vectors.flatMap((vector, i) => vectors.slice(0, i).map((other) => dot(vector, other)));
  const mean = all.reduce((sum, x) => sum + x, 0) / all.length;
  const variance = all.reduce((sum, x) => sum + (x - mean) ** 2, 0) / all.length;
  return { mean: Math.max(0, mean), deviation: Math.sqrt(variance) };
}

/** Similarity from which a link is more than chance. */
export const leastSimilarity = ({ mean, deviation }: Usual): number => Math.min(0.95, mean + UNUSUAL * deviation);
/** What of a similarity is more than usual: 0 to 1. */
export const beyondUsual = (similarity: number, { mean }: Usual): number =>
  Math.max(0, (similarity - mean) / (1 - mean));
