// Keys and values of one running generation: preallocated for its whole length, written in place by every step.
// It does not know what is generated.
import type { Config } from "../models/mod.ts";
import { Tensor } from "../runtime/mod.ts";

/** Tokens a cache has room for beyond its context: the attention kernel's spare token. */
const SPARE = 1;

/** Tokens that one step adds at most: enough for a prompt's best rate, few enough to cancel soon. */
export const CHUNK = 256;

/** Tokens that a layer's cache has room for: of a window, its past and a chunk. */
const capacityOf = ({ windows }: Config, layer: number, context: number): number => {
  const window = windows?.[layer];
  return Math.min(window ? window - 1 + CHUNK : context, context) + SPARE;
};

/** Bytes of the KvCache of a context: over all layers, 2 x G x capacity x K float32. */
export const kvCacheBytes = (config: Config, context: number): number =>
  Array.from({ length: config.layers }, (_, l) => capacityOf(config, l, context)).reduce((a, b) => a + b, 0) *
  (2 * config.kvHeads * config.headSize * 4);

/** The caches of layers with one window: they hold the last tokens, one behind the other. */
interface Windowed {
  readonly window: number;
  readonly capacity: number;
  readonly tensors: Tensor<"float32">[];
  /** Tokens they hold. */
  readonly past: Tensor<"int32">;
}

export class KvCache implements Disposable {
  /** Tokens it can hold. */
  readonly context: number;
  #length = 0;
  readonly #past = Tensor.of("int32", [1]);
  readonly #tensors = new Map<string, Tensor<"float32">>();
  readonly #windowed = new Map<number, Windowed>();

  constructor(config: Config, context: number) {
    this.context = context;
    // one zeroed block that the system maps page by page as tokens arrive
    const memory = new ArrayBuffer(kvCacheBytes(config, context));
    let from = 0;
    for (let l = 0; l < config.layers; l++)
      for (const kind of ["k", "v"]) {
        const capacity = capacityOf(config, l, context);
        const shape = [1, config.kvHeads, capacity, config.headSize];
        const size = shape.reduce((a, b) => a * b, 1);
        const tensor = Tensor.of("float32", shape, new Float32Array(memory, from, size));
        this.#tensors.set(`${kind}.${l}`, tensor);
        from += size * 4;
        const window = config.windows?.[l];
        if (!window) continue;
        const same = this.#windowed.get(window);
        if (same === undefined)
          this.#windowed.set(window, { window, capacity, tensors: [tensor], past: Tensor.of("int32", [1]) });
        else same.tensors.push(tensor);
      }
  }

  /** Tokens it has seen. */
  get length(): number {
    return this.#length;
  }

  /** By the symbol of a cache's axis in a step of one row: its capacity, and the tokens that it holds. */
  get sizes(): Readonly<Record<string, { readonly capacity: number; readonly held: number }>> {
    const sizes: Record<string, { capacity: number; held: number }> = {
      C0: { capacity: this.context + SPARE, held: this.#length },
    };
    for (const { window, capacity, past } of this.#windowed.values())
      sizes[`C0_${window}`] = { capacity, held: past.data[0] as number };
    return sizes;
  }

  /** Makes room for the keys and values of so many tokens, which a step then writes behind those that are there. */
  makeRoom(tokens: number): void {
    for (const { window, capacity, tensors, past } of this.#windowed.values()) {
      const held = past.data[0] as number;
      if (held + tokens + SPARE <= capacity) continue;
      const kept = Math.min(held, window - 1);
      for (const { data, shape } of tensors) {
        const [, heads, , width] = shape as [number, number, number, number];
        for (let h = 0; h < heads; h++) {
          const start = h * capacity * width;
          data.copyWithin(start, start + (held - kept) * width, start + held * width);
        }
      }
      past.data[0] = kept;
    }
  }

  /** A step has written the keys and values of so many tokens. */
  added(tokens: number): void {
    this.#length += tokens;
    this.#past.data[0] = this.#length;
    for (const { past } of this.#windowed.values()) past.data[0] = (past.data[0] as number) + tokens;
  }

  /** Its tensors as inputs and outputs of row `row` of a step. */
  ports(row: number): { readonly inputs: Record<string, Tensor>; readonly outputs: Record<string, Tensor> } {
    const inputs: Record<string, Tensor> = { [`past.${row}`]: this.#past };
    for (const { window, past } of this.#windowed.values()) inputs[`past.${row}.${window}`] = past;
    const outputs: Record<string, Tensor> = {};
    for (const [name, tensor] of this.#tensors) {
      const port = `${name.charAt(0)}.${row}.${name.slice(2)}`;
      inputs[port] = tensor;
      outputs[`${port}'`] = tensor;
    }
    return { inputs, outputs };
  }
  [Symbol.dispose](): void {
    this.#past[Symbol.dispose]();
    for (const tensor of this.#tensors.values()) tensor[Symbol.dispose]();
    for (const { past } of this.#windowed.values()) past[Symbol.dispose]();
  }
}
