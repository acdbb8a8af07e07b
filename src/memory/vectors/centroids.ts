// The centroids of one namespace: which lists are near a vector. Many lists stand in groups of similar ones, so that a new
// vector is compared with those of the nearest groups alone; a search looks at all. It does not know where lists are stored.
import { NOTHING, VectorTable } from "./vector-table.ts";

/** Fewer lists are compared one by one. */
const GROUPED_FROM = 256;
/** Groups whose lists a new vector is compared with. */
const NEAREST_GROUPS = 8;
const ROUNDS = 2;
/** Groups are made anew when so large a share of the lists came after them. */
const NEW_SHARE = 0.06;

interface Groups {
  /** The middle of each group, by its number. */
  readonly middles: VectorTable;
  /** Slots of lists where each group begins; the last is where those that came later begin. */
  readonly starts: readonly number[];
}

export class Centroids {
  /** Of the newest change that is known. */
  version = 0;
  readonly #dims: number;
  readonly #lists: VectorTable;
  #groups: Groups | undefined;

  constructor(dims: number) {
    this.#dims = dims;
    this.#lists = new VectorTable(dims);
  }

  /** Adds or moves a list's centroid; null takes the list away. */
  set(list: number, centroid: Float32Array | null): void {
    if (centroid === null) this.#lists.remove(list);
    else this.#lists.set(list, centroid);
  }

  /** The list that a vector belongs to; undefined where there is none yet. */
  nearest(vector: Float32Array): number | undefined {
    const lists = this.#lists;
    if (lists.length >= GROUPED_FROM && this.#late() > lists.length * NEW_SHARE) this.#group();
    lists.begin(vector);
    let best = lists.nearest(lists.length - this.#late(), lists.length, NOTHING);
    if (this.#groups !== undefined) {
      const { middles, starts } = this.#groups;
      middles.begin(vector);
      for (const group of middles.few(NEAREST_GROUPS))
        best = lists.nearest(starts[group] as number, starts[group + 1] as number, best);
    }
    return best === NOTHING ? undefined : best.key;
  }

  get count(): number {
    return this.#lists.keys().length;
  }

  /** So many lists, nearest first. */
  near(vector: Float32Array, count: number): number[] {
    this.#lists.begin(vector);
    return this.#lists.few(count);
  }

  /** Lists that came after the groups. */
  #late(): number {
    return this.#lists.length - (this.#groups?.starts.at(-1) ?? 0);
  }

  /** As many groups as each has lists: begun at some lists, moved to the middle of those nearest to them. */
  #group(): void {
    const keys = this.#lists.keys();
    const count = Math.ceil(3 * Math.sqrt(keys.length));
    const vectors = keys.map((key) => this.#lists.vectorOf(key));
    let centres = Array.from(
      { length: count },
      (_, g) => vectors[Math.floor((g * keys.length) / count)] as Float32Array,
    );
    let groups: number[][] = [];
    let middles = new VectorTable(this.#dims);
    for (let round = 0; round <= ROUNDS; round++) {
      middles = new VectorTable(this.#dims);
      for (const [g, centre] of centres.entries()) middles.set(g, centre);
      groups = centres.map(() => []);
      for (const [i, vector] of vectors.entries()) {
        middles.begin(vector);
        groups[middles.nearest(0, count, NOTHING).key]?.push(i);
      }
      centres = groups.map((members, g) =>
        members.length === 0 ? (centres[g] as Float32Array) : mean(members.map((i) => vectors[i] as Float32Array)),
      );
    }
    this.#lists.arrange(groups.flat().map((i) => keys[i] as number));
    let slot = 0;
    this.#groups = { middles, starts: [0, ...groups.map(({ length }) => (slot += length))] };
  }
}

function mean(vectors: readonly Float32Array[]): Float32Array {
  const sum = new Float32Array(vectors[0]?.length ?? 0);
  for (const vector of vectors)
    for (let d = 0; d < sum.length; d++) sum[d] = (sum[d] as number) + (vector[d] as number);
  return sum.map((x) => x / vectors.length);
}
