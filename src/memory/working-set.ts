// Vectors of the episodes that were used last, so that they are not read again. Whether an episode is still there is asked
// of the store alone: nothing is ever recalled from here.
import type { DataStore } from "./data-store.ts";
import type { Episode } from "./episode.ts";
import { Lru } from "./lru.ts";

/** Episodes held, and their bytes. */
const WORKING_SET = { episodes: 100, bytes: 2_000_000 };

export class WorkingSet {
  readonly #vectors: Lru<Float32Array>;

  constructor({ episodes = WORKING_SET.episodes, bytes = WORKING_SET.bytes } = {}) {
    this.#vectors = new Lru(bytes, episodes);
  }

  get bytes(): number {
    return this.#vectors.bytes;
  }
  /** Ids of the episodes in mind, the latest last. */
  get ids(): string[] {
    return this.#vectors.keys().map((key) => key.slice(0, key.lastIndexOf("@")));
  }

  /** In the order of the episodes; undefined for one that was removed in between. */
  async vectorsOf(
    store: DataStore,
    namespace: string,
    episodes: readonly Episode[],
  ): Promise<(Float32Array | undefined)[]> {
    const keyOf = ({ id, version }: Episode) => `${id}@${version}`;
    const held = new Map(episodes.map((episode) => [episode.id, this.#vectors.get(keyOf(episode))]));
    const missing = episodes.filter(({ id }) => held.get(id) === undefined);
    const read =
      missing.length === 0
        ? []
        : await store.vectorsOf(
            namespace,
            missing.map(({ id }) => id),
          );
    missing.forEach((episode, i) => {
      const vector = read[i];
      held.set(episode.id, vector);
      if (vector !== undefined) this.#vectors.set(keyOf(episode), vector, vector.byteLength + 64);
    });
    return episodes.map(({ id }) => held.get(id));
  }
}
