// Keys and values of one running generation: preallocated for its whole length, written in place by every step.
// It does not know what is generated.
import { IroriError } from "../base/mod.ts";
import type { Config } from "../models/mod.ts";
import { Tensor } from "../runtime/mod.ts";

/** Tokens a cache has room for beyond its context: the attention kernel's spare token. */
const SPARE = 1;

/** Bytes of a page of memory. */
const PAGE = 4096;

/** Tokens that one step adds at most: enough for a prompt's best rate, few enough to cancel soon. */
export const CHUNK = 256;

/** Tokens that a layer's cache has room for: of a window, its past and a chunk. */
const capacityOf = ({ windows }: Config, layer: number, context: number): number => {
  const window = windows?.[layer];
  return Math.min(window ? window - 1 + CHUNK : context, context) + SPARE;
};

/** What keys and values are kept as: float32, or 8-bit integers in measured steps (a quarter of the memory). */
export type KvType = "f32" | "int8";
const TYPES = {
  f32: { dtype: "float32", bytes: 4, array: Float32Array },
  int8: { dtype: "int8", bytes: 1, array: Int8Array },
} as const;

/** Bytes of the KvCache of a context: over all layers, 2 x G x capacity x K numbers. */
export const kvCacheBytes = (config: Config, context: number, type: KvType = "f32"): number =>
  Array.from({ length: config.layers }, (_, l) => capacityOf(config, l, context)).reduce((a, b) => a + b, 0) *
  (2 * config.kvHeads * config.headSize * TYPES[type].bytes);

/** The caches of layers with one window: they hold the last tokens, one behind the other. */
interface Windowed {
  readonly window: number;
  /** Tokens they hold. */
  readonly past: Tensor<"int32">;
}

/** Keys or values of some tokens of a layer: [1, G, tokens, K]. */
export interface KvPart {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int8Array;
}

/** One layer's keys or values: [1, G, capacity, K]. */
interface Memory {
  readonly tensor: Tensor<"float32" | "int8">;
  readonly windowed: Windowed | undefined;
}

export class KvCache implements Disposable {
  /** Tokens it can hold. */
  readonly context: number;
  readonly #config: Config;
  readonly #type: KvType;
  #length = 0;
  readonly #past = Tensor.of("int32", [1]);
  /** By kind and layer: `k.0`. */
  readonly #memory = new Map<string, Memory>();
  readonly #windowed = new Map<number, Windowed>();
  readonly #block: ArrayBuffer;
  #runs = 0;
  #isDisposed = false;

  constructor(config: Config, context: number, type: KvType = "f32") {
    this.context = context;
    this.#config = config;
    this.#type = type;
    const { dtype, bytes, array } = TYPES[type];
    // One zeroed block that the system maps page by page as tokens arrive. A resizable one is made of pages of its own: a fixed one
    // comes from the C library's heap once that has grown, is written full of zeros there and leaves holes behind.
    const bytesOfAll = kvCacheBytes(config, context, type);
    const block = new ArrayBuffer(bytesOfAll, { maxByteLength: bytesOfAll });
    let from = 0;
    for (let l = 0; l < config.layers; l++)
      for (const kind of ["k", "v"]) {
        const shape = [1, config.kvHeads, capacityOf(config, l, context), config.headSize];
        const size = shape.reduce((a, b) => a * b, 1);
        const tensor = Tensor.of<"float32" | "int8">(dtype, shape, new array(block, from, size));
        this.#memory.set(`${kind}.${l}`, { tensor, windowed: this.#windowOf(config.windows?.[l]) });
        from += size * bytes;
      }
    this.#block = block;
  }
  #windowOf(window: number | null | undefined): Windowed | undefined {
    if (!window) return undefined;
    const known = this.#windowed.get(window) ?? { window, past: Tensor.of("int32", [1]) };
    this.#windowed.set(window, known);
    return known;
  }

  /** Tokens it has seen. */
  get length(): number {
    return this.#length;
  }

  /** Bytes that no token has reached yet. */
  get untouchedBytes(): number {
    const { kvHeads, headSize } = this.#config;
    let tokens = 0;
    for (const { tensor, windowed } of this.#memory.values())
      tokens += (tensor.shape[2] as number) - Math.min(this.#heldBy(windowed), tensor.shape[2] as number);
    return tokens * kvHeads * headSize * TYPES[this.#type].bytes;
  }
  /** Bytes that its tokens have reached, in whole pages: those of a head lie apart from those of another. */
  get heldBytes(): number {
    const { kvHeads, headSize } = this.#config;
    const token = headSize * TYPES[this.#type].bytes;
    let bytes = 0;
    for (const { tensor, windowed } of this.#memory.values())
      bytes += kvHeads * Math.min(this.#heldBy(windowed) * token + PAGE, (tensor.shape[2] as number) * token);
    return bytes;
  }
  #heldBy(windowed: Windowed | undefined): number {
    return windowed === undefined ? this.#length : (windowed.past.data[0] as number);
  }

  /** By the symbol of a cache's axis in a step of one row: its capacity, and the tokens that it holds. */
  get sizes(): Readonly<Record<string, { readonly capacity: number; readonly held: number }>> {
    const sizes: Record<string, { capacity: number; held: number }> = {
      C0: { capacity: this.context + SPARE, held: this.#length },
    };
    for (const { tensor, windowed } of this.#memory.values())
      if (windowed)
        sizes[`C0_${windowed.window}`] = { capacity: tensor.shape[2] as number, held: windowed.past.data[0] as number };
    return sizes;
  }

  /** Makes room for the keys and values of so many tokens, which a step then writes behind those that are there. */
  makeRoom(tokens: number): void {
    const kept = new Map<Windowed, number>();
    for (const { tensor, windowed } of this.#memory.values()) {
      if (windowed === undefined) continue;
      const held = windowed.past.data[0] as number;
      if (held + tokens + SPARE <= (tensor.shape[2] as number)) continue;
      const stay = Math.min(held, windowed.window - 1);
      copyTokens(tensor, held - stay, tensor, 0, stay);
      kept.set(windowed, stay);
    }
    for (const [{ past }, stay] of kept) past.data[0] = stay;
  }

  /** A step has written the keys and values of so many tokens; one that was disposed of meanwhile counts none. */
  added(tokens: number): void {
    if (this.#isDisposed) return;
    this.#length += tokens;
    this.#past.data[0] = this.#length;
    for (const { past } of this.#windowed.values()) past.data[0] = (past.data[0] as number) + tokens;
  }

  /** Whether the first `length` tokens can be had from it: layers with a window may have forgotten what these see. */
  canGive(length: number): boolean {
    const gone = this.#length - length;
    return (
      gone >= 0 &&
      [...this.#windowed.values()].every(
        ({ window, past }) => (past.data[0] as number) - gone >= Math.min(window - 1, length),
      )
    );
  }

  /** Forgets the tokens from `length` on. Throws where `canGive` says no. */
  truncate(length: number): void {
    const gone = this.#refuseForgotten(length);
    this.added(-gone);
  }

  /** Takes over the first `length` tokens of another cache, in the place of its own. Throws where `canGive` of that one says no. */
  fill(from: KvCache, length: number): void {
    const gone = from.#refuseForgotten(length);
    for (const [name, { tensor, windowed }] of from.#memory) {
      const { held, stay } = from.#stayOf(windowed, gone);
      copyTokens(tensor, held - stay, (this.#memory.get(name) as Memory).tensor, 0, stay);
      if (windowed) (this.#windowed.get(windowed.window) as Windowed).past.data[0] = stay;
    }
    this.#length = length;
    this.#past.data[0] = length;
  }

  /** Copies of what its first `length` tokens left, by kind and layer: [1, G, tokens, K], of layers with a window the last tokens. */
  parts(length: number): Record<string, KvPart> {
    const gone = this.#refuseForgotten(length);
    const { kvHeads, headSize } = this.#config;
    const parts: Record<string, KvPart> = {};
    for (const [name, { tensor, windowed }] of this.#memory) {
      const { held, stay } = this.#stayOf(windowed, gone);
      const part = {
        shape: [1, kvHeads, stay, headSize],
        data: new TYPES[this.#type].array(kvHeads * stay * headSize),
      };
      copyTokens(tensor, held - stay, part, 0, stay);
      parts[name] = part;
    }
    return parts;
  }

  /** The shapes of `parts(length)`. */
  static partShapes({ layers, kvHeads, headSize, windows }: Config, length: number): Record<string, readonly number[]> {
    const stay = (layer: number): number =>
      Math.min(windows?.[layer] ? (windows[layer] as number) - 1 : length, length);
    const all = Array.from({ length: layers }, (_, l) =>
      ["k", "v"].map((kind) => [`${kind}.${l}`, [1, kvHeads, stay(l), headSize]] as const),
    );
    return Object.fromEntries(all.flat());
  }

  /** Takes over `length` tokens as `parts` gave them, in the place of its own. */
  put(length: number, parts: Readonly<Record<string, KvPart>>): void {
    for (const [name, { tensor, windowed }] of this.#memory) {
      const part = parts[name] as KvPart;
      const stay = part.shape[2] as number;
      copyTokens(part, 0, tensor, 0, stay);
      if (windowed) windowed.past.data[0] = stay;
    }
    this.#length = length;
    this.#past.data[0] = length;
  }

  /** Of tokens that a layer holds but for the last `gone`: how many, and how many of these the next tokens see. */
  #stayOf(windowed: Windowed | undefined, gone: number): { readonly held: number; readonly stay: number } {
    const held = this.#heldBy(windowed) - gone;
    return { held, stay: windowed === undefined ? held : Math.min(held, windowed.window - 1) };
  }

  #refuseForgotten(length: number): number {
    if (this.canGive(length)) return this.#length - length;
    throw new IroriError("bad-input", {
      what: "tokens of a KvCache",
      got: `the first ${length} of ${this.#length}`,
      wanted: "as many as its layers with windows still hold",
    });
  }

  /** Its tensors as inputs and outputs of row `row` of a step. */
  ports(row: number): { readonly inputs: Record<string, Tensor>; readonly outputs: Record<string, Tensor> } {
    const inputs: Record<string, Tensor> = { [`past.${row}`]: this.#past };
    for (const { window, past } of this.#windowed.values()) inputs[`past.${row}.${window}`] = past;
    const outputs: Record<string, Tensor> = {};
    for (const [name, { tensor }] of this.#memory) {
      const port = `${name.charAt(0)}.${row}.${name.slice(2)}`;
      inputs[port] = tensor;
      outputs[`${port}'`] = tensor;
    }
    return { inputs, outputs };
  }

  /** For a run over it: its memory stays until that has ended, also where it is disposed of meanwhile. */
  heldByRun(): Disposable {
    this.#runs++;
    return {
      [Symbol.dispose]: () => {
        this.#runs--;
        this.#release();
      },
    };
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#past[Symbol.dispose]();
    for (const { tensor } of this.#memory.values()) tensor[Symbol.dispose]();
    for (const { past } of this.#windowed.values()) past[Symbol.dispose]();
    this.#release();
  }
  /** Gives its pages back at once: they would wait for a collection. A binding that still names them refuses to run. */
  #release(): void {
    if (this.#isDisposed && this.#runs === 0 && !this.#block.detached) this.#block.transferToFixedLength(0);
  }
}

/** Copies `count` tokens of each head, from place `start` of one cache to place `at` of another. */
function copyTokens(from: KvPart, start: number, to: KvPart, at: number, count: number): void {
  const [, heads, capacity, width] = from.shape as [number, number, number, number];
  const room = to.shape[2] as number;
  const [source, target] = [from.data, to.data];
  for (let h = 0; h < heads; h++) {
    const first = (h * capacity + start) * width;
    const part = source.subarray(first, first + count * width);
    target.set(part, (h * room + at) * width);
  }
}
