// Vectors by number in a row of a kernel's memory, compared with one query: dot − half of the squared length, which is largest
// for the nearest. It does not know what the vectors are.
import { type Kernel, openKernel, paddedDims } from "./kernel.ts";
import { kthLargest } from "./kth-largest.ts";

export interface Nearest {
  readonly key: number;
  readonly score: number;
}
export const NOTHING: Nearest = { key: -1, score: -Infinity };

export class VectorTable {
  readonly #kernel: Kernel;
  /** Bytes of a vector; the query stands in front of all. */
  readonly #size: number;
  #keys: number[] = [];
  #slots = new Map<number, number>();
  /** Half of each vector's squared length; infinite where a key was removed. */
  #half = new Float64Array(16);

  constructor(dims: number) {
    this.#kernel = openKernel(dims);
    this.#size = paddedDims(dims) * 4;
  }

  /** Slots in use, those of removed keys among them. */
  get length(): number {
    return this.#keys.length;
  }

  /** Adds a vector at the end, or changes it in its slot. */
  set(key: number, vector: Float32Array): void {
    const slot = this.#slots.get(key) ?? this.#keys.push(key) - 1;
    this.#slots.set(key, slot);
    if (slot >= this.#half.length) {
      const longer = new Float64Array(this.#half.length * 2);
      longer.set(this.#half);
      this.#half = longer;
    }
    const [at, out] = [this.#at(slot), this.#at(this.length)];
    this.#kernel.reserve(out + 4);
    this.#kernel.f32.set(vector, at / 4);
    this.#kernel.f32.fill(0, at / 4 + vector.length, (at + this.#size) / 4);
    this.#kernel.dots(at, at, 1, out);
    this.#half[slot] = (this.#kernel.f32[out / 4] as number) / 2;
  }

  /** Its slot stays empty until `arrange`. */
  remove(key: number): void {
    const slot = this.#slots.get(key);
    if (slot === undefined) return;
    this.#slots.delete(key);
    this.#half[slot] = Infinity;
  }

  keys(): number[] {
    return [...this.#slots.keys()];
  }

  vectorOf(key: number): Float32Array {
    const at = this.#at(this.#slots.get(key) as number) / 4;
    return this.#kernel.f32.slice(at, at + this.#kernel.dims);
  }

  /** Slots in the order of these keys: all that there are. */
  arrange(keys: readonly number[]): void {
    const slots = keys.map((key) => this.#slots.get(key) as number);
    const records = slots.map((slot) => this.#kernel.u8.slice(this.#at(slot), this.#at(slot + 1)));
    const half = slots.map((slot) => this.#half[slot] as number);
    for (const [i, record] of records.entries()) this.#kernel.u8.set(record, this.#at(i));
    this.#half.set(half);
    this.#keys = [...keys];
    this.#slots = new Map(keys.map((key, i) => [key, i]));
  }

  begin(query: Float32Array): void {
    this.#kernel.reserve(this.#size);
    this.#kernel.f32.set(query, 0);
  }

  /** The nearest to the query in some slots, if it is nearer than `best`. */
  nearest(from: number, to: number, best: Nearest): Nearest {
    const first = this.#scan(from, to) - from;
    const { f32 } = this.#kernel;
    let [at, most] = [-1, best.score];
    for (let slot = from; slot < to; slot++) {
      const score = (f32[first + slot] as number) - (this.#half[slot] as number);
      if (score > most) [at, most] = [slot, score];
    }
    return at < 0 ? best : { key: this.#keys[at] as number, score: most };
  }

  /** The nearest so many keys, nearest first; equal ones by slot. */
  few(count: number): number[] {
    const first = this.#scan(0, this.length);
    const { f32 } = this.#kernel;
    const scores = new Float64Array(this.length);
    for (let slot = 0; slot < scores.length; slot++)
      scores[slot] = (f32[first + slot] as number) - (this.#half[slot] as number);
    const least = kthLargest(scores, scores.length, Math.min(count, this.#slots.size));
    const slots: number[] = [];
    for (let slot = 0; slot < scores.length; slot++)
      if ((scores[slot] as number) >= least && scores[slot] !== -Infinity) slots.push(slot);
    slots.sort((a, b) => (scores[b] as number) - (scores[a] as number) || a - b);
    return slots.slice(0, count).map((slot) => this.#keys[slot] as number);
  }

  /** Where scores of some slots begin, in floats. */
  #scan(from: number, to: number): number {
    const out = this.#at(this.length);
    this.#kernel.reserve(out + (to - from) * 4);
    this.#kernel.dots(0, this.#at(from), to - from, out);
    return out / 4;
  }

  #at(slot: number): number {
    return (slot + 1) * this.#size;
  }
}
