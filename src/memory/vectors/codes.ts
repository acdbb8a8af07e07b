// Vectors as int8 codes with a scale, and one query's scan over many of them, in slices of the kernel's memory.
// It does not know lists, nor what becomes of the best.

import { type Kernel, openKernel, paddedDims, recordBytes } from "./kernel.ts";
import { kthLargest } from "./kth-largest.ts";

/** Places in the kernel's memory: the query, scores of a slice, its records. */
const QUERY = 0;
const SCORES = 16_384;
const SLICE_RECORDS = 8_192;
const RECORDS = SCORES + SLICE_RECORDS * 4;

/** A vector's record (kernel.ts has its layout). */
export function encode(vector: Float32Array, seq: number): Uint8Array {
  const dims = paddedDims(vector.length);
  const record = new Uint8Array(dims + 16);
  const most = largest(vector);
  const steps = most === 0 ? 0 : 127 / most;
  for (let i = 0; i < vector.length; i++) record[i] = Math.round((vector[i] as number) * steps) & 0xff;
  const view = new DataView(record.buffer);
  view.setFloat32(dims, most / 127, true);
  view.setFloat64(dims + 8, seq, true);
  return record;
}

/** The largest without its sign. Plain loops: they run for every vector that comes in. */
function largest(vector: Float32Array): number {
  let most = 0;
  for (let i = 0; i < vector.length; i++) {
    const x = vector[i] as number;
    if (x > most) most = x;
    else if (-x > most) most = -x;
  }
  return most;
}

/** A query as 16-bit codes at a place of the kernel's memory, as fine as its 32-bit sums allow; a step's size. */
function encodeQuery(query: Float32Array, { i16, dims }: Kernel, at: number): number {
  const most = largest(query);
  const steps = Math.min(32_767, Math.floor(2 ** 31 / (128 * paddedDims(dims))) - 1);
  const [first, perStep] = [at >> 1, most === 0 ? 0 : steps / most];
  i16.fill(0, first, first + paddedDims(dims));
  for (let i = 0; i < query.length; i++) i16[first + i] = Math.round((query[i] as number) * perStep);
  return most / steps;
}

/** Whose record it is. */
export function seqOf(record: Uint8Array): number {
  return new DataView(record.buffer, record.byteOffset + record.length - 8, 8).getFloat64(0, true);
}

/** The vector that a record stands for, within half a step of its scale: into `out` from `at` on. */
export function decodeInto(record: Uint8Array, dims: number, out: Float32Array, at: number): void {
  const scale = new DataView(record.buffer, record.byteOffset + paddedDims(dims), 4).getFloat32(0, true);
  for (let i = 0; i < dims; i++) out[at + i] = (((record[i] as number) << 24) >> 24) * scale;
}

export class CodeScan {
  readonly #kernel: Kernel;
  readonly #size: number;
  #slice = 0;
  #scores = new Float32Array(4_096);
  #seqs = new Float64Array(4_096);
  #count = 0;
  #queryScale = 0;
  /** Σ|query|: a code is off by half a step of its scale at most in each place. */
  #queryMass = 0;
  #mostScale = 0;

  constructor(dims: number) {
    this.#kernel = openKernel(dims);
    this.#size = recordBytes(dims);
    this.#kernel.reserve(RECORDS + SLICE_RECORDS * this.#size);
  }

  /** Records taken since `begin`. */
  get count(): number {
    this.#flush();
    return this.#count;
  }

  begin(query: Float32Array): void {
    this.#queryScale = encodeQuery(query, this.#kernel, QUERY);
    this.#queryMass = 0;
    for (const x of query) this.#queryMass += Math.abs(x);
    this.#slice = 0;
    this.#count = 0;
    this.#mostScale = 0;
  }

  /** One record or many in a row. */
  take(records: Uint8Array): void {
    for (let at = 0; at < records.length; ) {
      const fit = Math.min((SLICE_RECORDS - this.#slice) * this.#size, records.length - at);
      this.#kernel.u8.set(records.subarray(at, at + fit), RECORDS + this.#slice * this.#size);
      this.#slice += fit / this.#size;
      at += fit;
      if (this.#slice === SLICE_RECORDS) this.#flush();
    }
  }

  /** Numbers of the records whose codes score best: `wanted` or, where scores are equal, a few more. */
  best(wanted: number): number[] {
    this.#flush();
    return this.#above(kthLargest(this.#scores, this.#count, wanted));
  }

  /** Numbers of all records that may be among the `wanted` most similar: the codes' rounding is reckoned with. */
  bestWithin(wanted: number): number[] {
    this.#flush();
    const rounding = (this.#mostScale / 2) * this.#queryMass + this.#queryScale * Math.sqrt(this.#kernel.dims);
    return this.#above(kthLargest(this.#scores, this.#count, wanted) - (2 * rounding) / this.#queryScale);
  }

  #above(score: number): number[] {
    const seqs: number[] = [];
    for (let i = 0; i < this.#count; i++) if ((this.#scores[i] as number) >= score) seqs.push(this.#seqs[i] as number);
    return seqs;
  }

  #flush(): void {
    const count = this.#slice;
    if (count === 0) return;
    this.#kernel.codeScores(QUERY, RECORDS, count, SCORES);
    if (this.#count + count > this.#scores.length) this.#grow(this.#count + count);
    this.#scores.set(this.#kernel.f32.subarray(SCORES / 4, SCORES / 4 + count), this.#count);
    const { view } = this.#kernel;
    for (let i = 0, at = RECORDS + this.#size - 16; i < count; i++, at += this.#size) {
      this.#seqs[this.#count + i] = view.getFloat64(at + 8, true);
      this.#mostScale = Math.max(this.#mostScale, view.getFloat32(at, true));
    }
    this.#count += count;
    this.#slice = 0;
  }

  #grow(least: number): void {
    const scores = new Float32Array(Math.max(least, this.#scores.length * 2));
    const seqs = new Float64Array(scores.length);
    scores.set(this.#scores);
    seqs.set(this.#seqs);
    this.#scores = scores;
    this.#seqs = seqs;
  }
}
