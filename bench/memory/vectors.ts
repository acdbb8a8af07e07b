// Test vectors for the memory benches: clustered like texts' embeddings, anisotropic, a quarter of them between two clusters,
// by seed the same everywhere. Shape and parameters follow shared/prototypes/vector-index/gen.cpp. It does not know stores.
import { type Random, seededRandom } from "../../src/base/mod.ts";
import { openKernel } from "../../src/memory/vectors/kernel.ts";

export const DIMS = 384;
const CLUSTERS = 2_000;
const TOPICS = 60;
/** Share of a vector's variance that lies inside its cluster. */
const WITHIN = 0.45;

interface Cluster {
  readonly centre: Float32Array;
  /** Which axis of its own each direction is. */
  readonly axes: Int16Array;
  readonly spread: number;
}

/** Standard normal numbers by Box and Muller. */
function normals(random: Random): () => number {
  let spare: number | undefined;
  return () => {
    if (spare !== undefined) {
      const one = spare;
      spare = undefined;
      return one;
    }
    const length = Math.sqrt(-2 * Math.log(1 - random.next()));
    const angle = 2 * Math.PI * random.next();
    spare = length * Math.sin(angle);
    return length * Math.cos(angle);
  };
}

function unitLength(weights: Float32Array): Float32Array {
  const length = Math.hypot(...weights);
  return weights.map((x) => x / length);
}

/** An endless stream of unit vectors; the same seed gives the same ones. */
export function* clusteredVectors(seed: number): Generator<Float32Array> {
  const random = seededRandom(seed);
  const normal = normals(random);
  const wide = unitLength(Float32Array.from({ length: DIMS }, (_, i) => (i + 1) ** -0.25));
  const narrow = unitLength(Float32Array.from({ length: DIMS }, (_, i) => (i + 1) ** -0.5));
  const gauss = (scale: Float32Array) => scale.map((x) => x * normal());
  const mean = gauss(new Float32Array(DIMS).fill(0.25 / Math.sqrt(DIMS)));
  const topics = Array.from({ length: TOPICS }, () => gauss(wide));
  const clusters = Array.from({ length: CLUSTERS }, (): Cluster => {
    const topic = topics[Math.floor(random.next() * TOPICS)] as Float32Array;
    const own = gauss(wide);
    const axes = Int16Array.from({ length: DIMS }, (_, i) => i);
    for (let i = 0; i < DIMS; i++) {
      const other = i + Math.floor(random.next() * (DIMS - i));
      if (random.next() < 0.5) [axes[i], axes[other]] = [axes[other] as number, axes[i] as number];
    }
    const centre = own.map((x, i) => (0.6 * (topic[i] as number) + 0.8 * x) * Math.sqrt(1 - WITHIN));
    return { centre, axes, spread: Math.sqrt(WITHIN) * (0.7 + 0.6 * random.next()) };
  });
  let total = 0;
  const shares = clusters.map((_, i) => (total += (i + 5) ** -0.6 * (0.5 + random.next())));
  const draw = (): Cluster => {
    const at = random.next() * total;
    let [low, high] = [0, CLUSTERS - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((shares[middle] as number) < at) low = middle + 1;
      else high = middle;
    }
    return clusters[low] as Cluster;
  };
  for (;;) {
    const { centre, axes, spread } = draw();
    const between = random.next() < 0.25 ? random.next() * 0.5 : 0;
    const other = clusters[Math.floor(random.next() * CLUSTERS)] as Cluster;
    const own = spread * (0.8 + 0.4 * random.next());
    const vector = new Float32Array(DIMS);
    for (let i = 0; i < DIMS; i++)
      vector[i] = (mean[i] as number) + (centre[i] as number) * (1 - between) + (other.centre[i] as number) * between;
    for (let i = 0; i < DIMS; i++) {
      const axis = axes[i] as number;
      vector[axis] = (vector[axis] as number) + own * (narrow[i] as number) * normal();
    }
    yield unitLength(vector);
  }
}

/** For each query the numbers of the `count` most similar vectors, exactly, best first. */
export class ExactAnswers {
  readonly #queries: readonly Float32Array[];
  readonly #best: { readonly at: number; readonly score: number }[][];
  readonly #count: number;
  readonly #kernel = openKernel(DIMS);
  #seen = 0;

  constructor(queries: readonly Float32Array[], count: number) {
    this.#queries = queries;
    this.#count = count;
    this.#best = queries.map(() => []);
  }

  take(vectors: readonly Float32Array[]): void {
    const kernel = this.#kernel;
    const [query, scores] = [0, 16_384];
    const from = scores + Math.ceil(vectors.length / 16) * 64;
    kernel.reserve(from + vectors.length * DIMS * 4);
    vectors.forEach((vector, i) => {
      kernel.f32.set(vector, from / 4 + i * DIMS);
    });
    for (const [q, vector] of this.#queries.entries()) {
      kernel.f32.set(vector, query);
      kernel.dots(query, from, vectors.length, scores);
      const best = this.#best[q] as { at: number; score: number }[];
      for (let i = 0; i < vectors.length; i++) {
        const score = kernel.f32[scores / 4 + i] as number;
        if (best.length === this.#count && score <= (best.at(-1)?.score as number)) continue;
        const place = best.findIndex((other) => other.score < score);
        best.splice(place < 0 ? best.length : place, 0, { at: this.#seen + i, score });
        if (best.length > this.#count) best.pop();
      }
    }
    this.#seen += vectors.length;
  }

  answers(): number[][] {
    return this.#best.map((best) => best.map(({ at }) => at));
  }
}
