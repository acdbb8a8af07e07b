// The centroids of one namespace in a kernel's memory: which lists are near a vector.
// It does not know where lists are stored.
import { type Kernel, openKernel, paddedDims } from "./kernel.ts";

/** Places in the kernel's memory: the query, scores of so many lists, then the centroids. */
const QUERY = 0;
const QUERY_BYTES = 16_384;

export class Centroids {
  /** Of the newest change that is known. */
  version = 0;
  readonly #kernel: Kernel;
  readonly #stride: number;
  readonly #lists: number[] = [];
  readonly #slots = new Map<number, number>();
  /** Half of each centroid's squared length: the nearest is where dot − half is largest. */
  #half = new Float64Array(16);

  constructor(dims: number) {
    this.#kernel = openKernel(dims);
    this.#stride = paddedDims(dims) * 4;
  }

  get count(): number {
    return this.#lists.length;
  }

  /** Adds or moves a list's centroid; null takes the list away. */
  set(list: number, centroid: Float32Array | null): void {
    const slot = this.#slots.get(list) ?? this.#lists.length;
    if (centroid === null) {
      if (slot < this.#lists.length) this.#remove(list, slot);
      return;
    }
    if (slot === this.#lists.length) {
      this.#lists.push(list);
      this.#slots.set(list, slot);
    }
    if (slot >= this.#half.length) {
      const longer = new Float64Array(this.#half.length * 2);
      longer.set(this.#half);
      this.#half = longer;
    }
    this.#kernel.reserve(this.#at(slot + 1) + this.#lists.length * 4);
    this.#kernel.f32.fill(0, this.#at(slot) / 4, this.#at(slot + 1) / 4);
    this.#kernel.f32.set(centroid, this.#at(slot) / 4);
    let sum = 0;
    for (const x of centroid) sum += x * x;
    this.#half[slot] = sum / 2;
  }

  of(list: number): Float32Array {
    const from = this.#at(this.#slots.get(list) as number) / 4;
    return this.#kernel.f32.slice(from, from + this.#kernel.dims);
  }

  /** The list that a vector belongs to; undefined where there is none yet. */
  nearest(vector: Float32Array): number | undefined {
    const scores = this.#scores(vector);
    let best = 0;
    for (let i = 1; i < scores.length; i++) if ((scores[i] as number) > (scores[best] as number)) best = i;
    return this.#lists[best];
  }

  /** All lists, nearest first. */
  inOrder(vector: Float32Array): number[] {
    const scores = this.#scores(vector);
    const order = Array.from(scores.keys()).sort((a, b) => (scores[b] as number) - (scores[a] as number) || a - b);
    return order.map((slot) => this.#lists[slot] as number);
  }

  /** The lists around some points: so many, each point's nearest among them. */
  neighbours(points: readonly Float32Array[], count: number): number[] {
    const rest = Math.ceil(count / points.length);
    return [...new Set(points.flatMap((point) => this.inOrder(point).slice(0, rest)))];
  }

  #scores(vector: Float32Array): Float64Array {
    const count = this.#lists.length;
    const out = this.#at(count);
    this.#kernel.reserve(out + count * 4);
    const { f32, dims } = this.#kernel;
    f32.fill(0, QUERY, paddedDims(dims));
    f32.set(vector, QUERY);
    this.#kernel.dots(QUERY, this.#at(0), count, out);
    return Float64Array.from({ length: count }, (_, i) => (f32[out / 4 + i] as number) - (this.#half[i] as number));
  }

  #at(slot: number): number {
    return QUERY_BYTES + slot * this.#stride;
  }

  /** The last takes the free place. */
  #remove(list: number, slot: number): void {
    const last = this.#lists.pop() as number;
    this.#slots.delete(list);
    if (last === list) return;
    this.#lists[slot] = last;
    this.#slots.set(last, slot);
    const from = this.#at(this.#lists.length);
    this.#kernel.u8.copyWithin(this.#at(slot), from, from + this.#stride);
    this.#half[slot] = this.#half[this.#lists.length] as number;
  }
}
