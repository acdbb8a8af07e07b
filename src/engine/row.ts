// One row over a step: its tokens go in, the candidates of the last position come out; its KvCache grows in place.
// It does not know text, sampling or other rows.
import { IroriError } from "../base/mod.ts";
import type { Numbers } from "../hooks/mod.ts";
import { Tensor } from "../runtime/mod.ts";
import { candidatesOf, refine } from "./candidates.ts";
import { CHUNK, type KvCache } from "./kv-cache.ts";
import type { Step } from "./programs.ts";
import type { Candidates } from "./sampling.ts";
import { StepBinding } from "./step-binding.ts";

export interface PositionScores {
  /** log Σ exp(logits) of each position. */
  readonly logSumExp: readonly number[];
  /** Most likely token of each position. */
  readonly best: number[];
  /** Logits [positions, V]; overwritten by the next step. */
  readonly logits: Float32Array;
}

/** Buffers of a step that looks at `positions` positions. */
export class StepResults implements Disposable {
  readonly wanted: Tensor<"int64">;
  readonly inverseTemperature: Tensor<"float32">;
  readonly logits: Tensor<"float32">;
  readonly topLogits: Tensor<"float32">;
  readonly topIds: Tensor<"int64">;
  readonly exactLogits: Tensor<"float32">;
  readonly logSumExp: Tensor<"float32">;
  readonly positions: number;

  constructor(positions: number, vocabSize: number) {
    const best = candidatesOf({ vocabSize });
    const top = Math.min(best + 1, vocabSize);
    this.positions = positions;
    this.wanted = Tensor.of("int64", [positions]);
    this.inverseTemperature = Tensor.of("float32", [positions]);
    this.logits = Tensor.of("float32", [positions, vocabSize]);
    this.topLogits = Tensor.of("float32", [positions, top]);
    this.topIds = Tensor.of("int64", [positions, top]);
    this.exactLogits = Tensor.of("float32", [positions, best]);
    this.logSumExp = Tensor.of("float32", [positions]);
  }
  get inputs() {
    return { wanted: this.wanted, inverseTemperature: this.inverseTemperature };
  }
  get outputs() {
    const { logits, topLogits, topIds, exactLogits, logSumExp } = this;
    return { logits, topLogits, topIds, exactLogits, logSumExp };
  }

  /** What the step says of one position. */
  candidates(position: number): Candidates {
    const part = <T extends Float32Array | BigInt64Array>(data: T): T => {
      const width = data.length / this.positions;
      return data.subarray(position * width, (position + 1) * width) as T;
    };
    return refine({
      all: part(this.logits.data),
      topIds: part(this.topIds.data),
      topLogits: part(this.topLogits.data),
      exactLogits: part(this.exactLogits.data),
      logSumExp: this.logSumExp.data[position] as number,
      inverseTemperature: this.inverseTemperature.data[position] as number,
    });
  }
  [Symbol.dispose](): void {
    for (const tensor of [...Object.values(this.inputs), ...Object.values(this.outputs)]) tensor[Symbol.dispose]();
  }
}

/** Index of the largest value, the first of equal ones. */
function largestOf(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

/** What a changed step has beside the usual inputs and outputs. */
export interface StepExtras extends Disposable {
  /** Inputs that stay. */
  readonly fixed: Readonly<Record<string, Tensor>>;
  /** Inputs for `count` tokens behind `past` others, over caches of these sizes; theirs until the next step. */
  readonly inputs: (past: number, count: number, caches: KvCache["sizes"]) => Readonly<Record<string, Tensor>>;
  /** Where captures of `count` tokens are written, over caches of these sizes. */
  readonly outputs: (count: number, caches: KvCache["sizes"]) => Readonly<Record<string, Tensor>>;
  /** Captures by HookPoint from what was written there; `caches` as they were before the step. */
  readonly read: (
    outputs: Readonly<Record<string, Tensor>>,
    count: number,
    caches: KvCache["sizes"],
  ) => Readonly<Record<string, Numbers>>;
}

export class Row implements Disposable {
  readonly #step: Step;
  readonly #extras: StepExtras | undefined;
  readonly #cache: KvCache;
  readonly #vocabSize: number;
  readonly #owned = new DisposableStack();
  #ids: Tensor<"int64"> | undefined;
  /** What the last step captured. */
  captured: Readonly<Record<string, Numbers>> = {};
  #results: StepResults | undefined;
  #binding: StepBinding | undefined;

  constructor(step: Step, cache: KvCache, vocabSize: number, extras?: StepExtras) {
    this.#extras = extras;
    this.#step = step;
    this.#cache = cache;
    this.#vocabSize = vocabSize;
  }

  /**
   * Appends tokens in one run; the candidates of what follows the last. They are overwritten by the next step.
   * @param temperature of `logSumExp`; 0 leaves it at 1
   */
  async step(ids: readonly number[], temperature: number, signal?: AbortSignal): Promise<Candidates> {
    const results = this.#resultsFor(1);
    results.wanted.data[0] = BigInt(ids.length - 1);
    results.inverseTemperature.data[0] = temperature > 0 ? 1 / temperature : 1;
    await this.#run(ids, results, signal);
    return results.candidates(0);
  }

  /** Appends tokens in one run; what the model thinks at every one of them. */
  async scores(ids: readonly number[], signal?: AbortSignal): Promise<PositionScores> {
    const results = this.#resultsFor(ids.length);
    for (let i = 0; i < ids.length; i++) results.wanted.data[i] = BigInt(i);
    results.inverseTemperature.data.fill(1);
    await this.#run(ids, results, signal);
    const positions = ids.map((_, i) => results.candidates(i));
    return {
      logSumExp: positions.map(({ logSumExp }) => logSumExp),
      best: positions.map(({ ids, all }) => ids[0] ?? largestOf(all)),
      logits: results.logits.data,
    };
  }

  #resultsFor(positions: number): StepResults {
    if (this.#results?.positions !== positions)
      this.#results = this.#owned.use(new StepResults(positions, this.#vocabSize));
    return this.#results;
  }

  async #run(ids: readonly number[], results: StepResults, signal: AbortSignal | undefined): Promise<void> {
    const { length, context } = this.#cache;
    if (ids.length > CHUNK)
      throw new IroriError("bad-input", { what: "tokens of one step", got: ids.length, wanted: `at most ${CHUNK}` });
    if (length + ids.length > context)
      throw new IroriError("no-room", {
        what: "the KvCache is full",
        got: `${length} + ${ids.length} tokens`,
        wanted: `at most ${context}`,
      });
    if (this.#ids?.shape[0] !== ids.length) this.#ids = this.#owned.use(Tensor.of("int64", [ids.length]));
    ids.forEach((id, i) => {
      (this.#ids as Tensor<"int64">).data[i] = BigInt(id);
    });
    this.#cache.makeRoom(ids.length);
    using run = new DisposableStack();
    const caches = this.#cache.sizes;
    const inputs = this.#extras?.inputs(length, ids.length, caches) ?? {};
    const outputs = this.#extras?.outputs(ids.length, caches) ?? {};
    for (const tensor of Object.values(outputs)) run.use(tensor);
    const changed = { ...inputs, ...outputs, "ids.0": this.#ids, ...results.inputs, ...results.outputs };
    const sizes = { tokens: ids.length, positions: results.positions };
    if (this.#binding === undefined) {
      const ports = this.#cache.ports(0);
      const fixed = { ...this.#extras?.fixed, ...ports.inputs, ...ports.outputs };
      this.#binding = this.#owned.use(new StepBinding(this.#step, { ...changed, ...fixed }, sizes));
    } else this.#binding.set(changed, sizes);
    await this.#binding.run(signal);
    this.captured = this.#extras?.read(outputs, ids.length, caches) ?? {};
    this.#cache.added(ids.length);
  }

  [Symbol.dispose](): void {
    for (const tensor of Object.values(this.#extras?.fixed ?? {})) tensor[Symbol.dispose]();
    this.#extras?.[Symbol.dispose]();
    this.#owned.dispose();
  }
}
