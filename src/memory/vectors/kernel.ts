// Dot products over packed memory: one query against many codes (int8) or many vectors (float32), as a WebAssembly-SIMD
// kernel emitted here for one size, and its twin in JavaScript. Both give the same bits.
// It does not know what the vectors are, nor where they are stored.
import { kernelBytes } from "./kernel-bytes.ts";

/** A code record: int8 codes, float32 scale, 4 bytes unused, the episode's number as float64. */
export const recordBytes = (dims: number): number => paddedDims(dims) + 16;
/** Sizes are padded with zeros to whole SIMD words. */
export const paddedDims = (dims: number): number => Math.ceil(dims / 16) * 16;
const PAGE_BYTES = 65_536;

export interface Kernel {
  readonly dims: number;
  /** Views of the kernel's memory; taken anew after `reserve`. */
  readonly i16: Int16Array;
  readonly f32: Float32Array;
  readonly u8: Uint8Array;
  readonly view: DataView;
  /** Makes the memory at least so long; views from before are then void. */
  reserve(bytes: number): void;
  /**
   * out[i] = float32(Σ query · codes of record i) · its scale. All are byte offsets; the query is int16, one a dimension,
   * with Σ|query · code| below 2³¹.
   */
  codeScores(query: number, records: number, count: number, out: number): void;
  /** out[i] = Σ query · vector i, float32, summed in four lanes. */
  dots(query: number, vectors: number, count: number, out: number): void;
}

type Scan = (query: number, from: number, count: number, out: number) => void;

abstract class Views {
  readonly dims: number;
  i16 = new Int16Array();
  f32 = new Float32Array();
  u8 = new Uint8Array();
  view = new DataView(new ArrayBuffer(0));

  constructor(dims: number) {
    this.dims = dims;
  }
  protected look(buffer: ArrayBuffer): void {
    this.i16 = new Int16Array(buffer);
    this.f32 = new Float32Array(buffer);
    this.u8 = new Uint8Array(buffer);
    this.view = new DataView(buffer);
  }
}

export class SimdKernel extends Views implements Kernel {
  readonly #memory = new WebAssembly.Memory({ initial: 4 });
  readonly codeScores: Scan;
  readonly dots: Scan;

  constructor(dims: number) {
    super(dims);
    const { codeScores, dots } = new WebAssembly.Instance(moduleOf(dims), { e: { m: this.#memory } }).exports;
    this.codeScores = codeScores as Scan;
    this.dots = dots as Scan;
    this.look(this.#memory.buffer);
  }

  reserve(bytes: number): void {
    const missing = bytes - this.u8.length;
    if (missing <= 0) return;
    this.#memory.grow(Math.ceil(missing / PAGE_BYTES) + 15); // a megabyte more, so that it grows seldom
    this.look(this.#memory.buffer);
  }
}

const modules = new Map<number, WebAssembly.Module>();
function moduleOf(dims: number): WebAssembly.Module {
  const known = modules.get(dims) ?? new WebAssembly.Module(kernelBytes(paddedDims(dims)));
  modules.set(dims, known);
  return known;
}

/** The same numbers in plain JavaScript, for machines without SIMD, and to check the other. */
export class PlainKernel extends Views implements Kernel {
  constructor(dims: number) {
    super(dims);
    this.look(new ArrayBuffer(4 * PAGE_BYTES));
  }

  reserve(bytes: number): void {
    if (bytes <= this.u8.length) return;
    const longer = new Uint8Array(Math.ceil(bytes / PAGE_BYTES + 15) * PAGE_BYTES);
    longer.set(this.u8);
    this.look(longer.buffer);
  }

  codeScores(query: number, records: number, count: number, out: number): void {
    const dims = paddedDims(this.dims);
    const codes = new Int8Array(this.u8.buffer);
    for (let i = 0, at = records; i < count; i++, at += dims + 16) {
      let sum = 0;
      for (let d = 0; d < dims; d++) sum += (this.i16[query / 2 + d] as number) * (codes[at + d] as number);
      this.f32[out / 4 + i] = Math.fround(sum) * (this.f32[(at + dims) / 4] as number);
    }
  }

  dots(query: number, vectors: number, count: number, out: number): void {
    const dims = paddedDims(this.dims);
    const { fround } = Math;
    for (let i = 0; i < count; i++) {
      const at = vectors / 4 + i * dims;
      const sums = new Float32Array(16); // four words of four lanes
      for (let d = 0; d < dims; d++) {
        const product = fround((this.f32[query / 4 + d] as number) * (this.f32[at + d] as number));
        sums[d % 16] = (sums[d % 16] as number) + product;
      }
      const lane = (l: number) => {
        const [a, b, c, d] = [0, 4, 8, 12].map((word) => sums[word + l] as number) as [number, number, number, number];
        return fround(fround(a + b) + fround(c + d));
      };
      this.f32[out / 4 + i] = fround(fround(lane(0) + lane(1)) + fround(lane(2) + lane(3)));
    }
  }
}

/** The kernel of this machine. */
export function openKernel(dims: number): Kernel {
  return WebAssembly.validate(kernelBytes(16)) ? new SimdKernel(dims) : new PlainKernel(dims);
}

/** The part of the global that is used here; TypeScript has it among the browser's. */
declare namespace WebAssembly {
  class Memory {
    readonly buffer: ArrayBuffer;
    constructor(pages: { initial: number });
    grow(pages: number): number;
  }
  class Module {
    constructor(bytes: Uint8Array);
  }
  class Instance {
    readonly exports: Readonly<Record<string, unknown>>;
    constructor(module: Module, imports: unknown);
  }
  function validate(bytes: Uint8Array): boolean;
}
