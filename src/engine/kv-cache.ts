// Keys and values of one running generation: preallocated for its whole length, written in place by every step.
// It does not know what is generated.
import type { Config } from "../models/mod.ts";
import { Tensor } from "../runtime/mod.ts";

/** Tokens a cache has room for beyond its context: the attention kernel's spare token. */
const SPARE = 1;

/** Bytes of the KvCache of a context: L layers x 2 x G x (context + 1) x K float32. */
export const kvCacheBytes = (config: Config, context: number): number =>
  2 * config.layers * config.kvHeads * (context + SPARE) * config.headSize * 4;

export class KvCache implements Disposable {
  /** Tokens it can hold. */
  readonly context: number;
  /** Tokens it holds; a step writes behind them. */
  length = 0;
  readonly #tensors: ReadonlyMap<string, Tensor>;

  constructor(config: Config, context: number) {
    this.context = context;
    const shape = [1, config.kvHeads, context + SPARE, config.headSize];
    const size = shape.reduce((a, b) => a * b, 1);
    // one zeroed block that the system maps page by page as tokens arrive
    const memory = new ArrayBuffer(kvCacheBytes(config, context));
    const names = Array.from({ length: config.layers }, (_, l) => [`k.${l}`, `v.${l}`]).flat();
    this.#tensors = new Map(
      names.map((name, i) => [name, Tensor.of("float32", shape, new Float32Array(memory, i * size * 4, size))]),
    );
  }

  /** Its tensors as inputs and outputs of row `row` of a step. */
  ports(row: number): { readonly inputs: Record<string, Tensor>; readonly outputs: Record<string, Tensor> } {
    const inputs: Record<string, Tensor> = {};
    const outputs: Record<string, Tensor> = {};
    for (const [name, tensor] of this.#tensors) {
      const port = `${name.charAt(0)}.${row}.${name.slice(2)}`;
      inputs[port] = tensor;
      outputs[`${port}'`] = tensor;
    }
    return { inputs, outputs };
  }
  [Symbol.dispose](): void {
    for (const tensor of this.#tensors.values()) tensor[Symbol.dispose]();
  }
}
