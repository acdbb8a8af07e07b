// Training a LoRA adapter: examples of token ids in, steps of AdamW out, bit-equal for the same seed and resumable at any step.
// It does not know files, text or terminals; the model's own weights are never changed.
import { IroriError, seededRandom } from "../base/mod.ts";
import { lossChunks, type TraceModel, tokenLoss, tokenLossInputs } from "../engine/mod.ts";
import { type LowRank, type LowRankValues, loraInputs, loraValues, withLora } from "../hooks/mod.ts";
import { maskOf, wholeSequence } from "../models/mod.ts";
import { Tensor } from "../runtime/mod.ts";
import { fuse, type Graph, graph, input, narrowRows, reshape, type Value, withGradients } from "../tensor/mod.ts";
import { AdamW, clipGradients, learningRate } from "./optimizers.ts";

export interface Example {
  readonly ids: readonly number[];
  /** Tokens before it are given, not learned. At least 1: nothing predicts the first token. */
  readonly learnFrom: number;
}

export interface LoraOptions {
  readonly rank: number;
  readonly alpha: number;
  /** Last parts of the names of weights that are adapted: "q_proj". */
  readonly targets: readonly string[];
  readonly rate: number;
  readonly schedule: "constant" | "linear" | "cosine";
  readonly warmup: number;
  readonly epochs: number;
  /** Examples of a step. */
  readonly batch: number;
  /** Examples of one run: a step of more adds up the gradients of several runs, in less memory. Default: all of the step's. */
  readonly runBatch?: number | undefined;
  /** Each layer is computed again in the backward pass instead of kept: less memory, about a third more time. Default false. */
  readonly isRecomputing?: boolean | undefined;
  readonly weightDecay: number;
  /** Largest norm of the gradients. */
  readonly clip: number;
  readonly seed: number;
}

export interface TrainedStep {
  /** From 1. */
  readonly step: number;
  readonly steps: number;
  readonly epoch: number;
  /** Mean cross-entropy of the batch, in nats, before the step. */
  readonly loss: number;
  readonly gradientNorm: number;
  readonly rate: number;
}

/** What a training needs to go on as if it had never stopped. */
export interface TrainingState {
  readonly step: number;
  /** A and B of every change in turn. */
  readonly values: readonly Float32Array[];
  readonly moments: readonly Float32Array[];
}

interface Evaluated {
  readonly loss: number;
  /** Tokens that were learned from. */
  readonly count: number;
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** Shapes of the weights that `targets` name; throws "bad-input" for a target that names none. */
function targetsOf({ family, config }: TraceModel, { targets, rank, alpha }: LoraOptions) {
  const all = [...family.weights(config)].filter(
    ([name, shape]) => shape.length === 2 && /\.\d+\..*\.weight$/.test(name), // of layers: not embeddings, not the head
  );
  const names = (target: string) => all.filter(([name]) => name.endsWith(`.${target}.weight`));
  const unknown = targets.find((target) => names(target).length === 0);
  if (unknown !== undefined) {
    const known = new Set(all.flatMap(([name]) => /(\w+)\.weight$/.exec(name)?.[1] ?? []));
    throw new IroriError("bad-input", { what: "weights to adapt", got: unknown, wanted: [...known].join(", ") });
  }
  const isInOut = family.isInOut ?? false;
  return [...new Map(targets.flatMap(names))].map(([weight, shape]) => ({
    change: { weight, rank, scale: alpha / rank } satisfies LowRank,
    width: shape[isInOut ? 0 : 1] as number,
    out: shape[isInOut ? 1 : 0] as number,
  }));
}

export class LoraTraining {
  readonly changes: readonly LowRankValues[];
  readonly #options: LoraOptions;
  readonly #model: TraceModel;
  readonly #optimizer: AdamW;
  /** By the number of the loss's chunks, with gradients and without. */
  readonly #graphs = new Map<string, Graph>();
  #step = 0;

  private constructor(model: TraceModel, options: LoraOptions, changes: readonly LowRankValues[]) {
    this.#model = model;
    this.#options = options;
    this.changes = changes;
    this.#optimizer = new AdamW({ weightDecay: options.weightDecay });
  }

  /** A new adapter (A uniform in ±1/√in, B zero), or one that goes on from a state. */
  static start(model: TraceModel, options: LoraOptions, state?: TrainingState): LoraTraining {
    const random = seededRandom(options.seed);
    const made = targetsOf(model, options).map(({ change, width, out }): LowRankValues => {
      const a = Float32Array.from({ length: change.rank * width }, () => (2 * random.next() - 1) / Math.sqrt(width));
      return { ...change, a, b: new Float32Array(out * change.rank) };
    });
    const training = new LoraTraining(model, options, made);
    if (state !== undefined) {
      made.forEach(({ a, b }, i) => {
        a.set(state.values[2 * i] as Float32Array);
        b.set(state.values[2 * i + 1] as Float32Array);
      });
      training.#step = state.step;
      training.#optimizer.restore(state.step, state.moments);
    }
    return training;
  }

  get state(): TrainingState {
    const values = this.changes.flatMap(({ a, b }) => [a, b]);
    return { step: this.#step, values, moments: this.#optimizer.moments };
  }

  steps(examples: number): number {
    return this.#options.epochs * Math.ceil(examples / this.#options.batch);
  }

  /** The steps that are left, each after it was taken. An aborted signal ends them between two steps. */
  async *run(examples: readonly Example[], signal?: AbortSignal): AsyncGenerator<TrainedStep, void> {
    const { batch, seed, clip, schedule, rate: peak, warmup } = this.#options;
    const steps = this.steps(examples.length);
    const perEpoch = Math.ceil(examples.length / batch);
    while (this.#step < steps && !signal?.aborted) {
      const epoch = Math.floor(this.#step / perEpoch);
      const order = shuffled(examples, seed + 1 + epoch);
      const from = (this.#step % perEpoch) * batch;
      const { loss, gradients } = await this.#evaluate(order.slice(from, from + batch), true);
      const parameters = this.changes.flatMap(({ weight, a, b }) => [
        { values: a, gradient: gradients.get(`${weight}.A`) as Float32Array },
        { values: b, gradient: gradients.get(`${weight}.B`) as Float32Array },
      ]);
      if (!Number.isFinite(loss))
        throw new IroriError("bad-input", {
          what: `the loss of step ${this.#step + 1} is not finite`,
          got: loss,
          next: "take a lower learning rate",
        });
      const gradientNorm = clipGradients(parameters, clip);
      const rate = learningRate(schedule, { peak, step: this.#step, steps, warmup });
      this.#optimizer.step(parameters, rate);
      this.#step++;
      yield { step: this.#step, steps, epoch, loss, gradientNorm, rate };
    }
  }

  /** Mean loss over the tokens of examples, nothing learned. */
  async lossOf(examples: readonly Example[]): Promise<number> {
    let [sum, tokens] = [0, 0];
    for (let at = 0; at < examples.length; at += this.#options.batch) {
      const { loss, count } = await this.#evaluate(examples.slice(at, at + this.#options.batch), false);
      sum += loss * count;
      tokens += count;
    }
    return sum / tokens;
  }

  #graphOf(hasGradients: boolean, chunks: number): Graph {
    const key = `${hasGradients} ${chunks}`;
    const known = this.#graphs.get(key) ?? this.#graph(hasGradients, chunks);
    this.#graphs.set(key, known);
    return known;
  }

  /** Inputs ids, positions, mask [B, T], those of the loss, and the adapter's; outputs loss and, asked for, gradients. */
  #graph(hasGradients: boolean, chunks: number) {
    const { family, config, weights } = this.#model;
    const { head } = family;
    const port = (name: string): Value => input(name, "int64", ["B", "T"]);
    if (head === undefined)
      throw new IroriError("unsupported", { what: `a ${family.name} predicts no tokens: it cannot be trained to` });
    const tokens = wholeSequence(port("ids"), port("positions"), maskOf(port("mask"), true));
    const hidden = reshape(family.trace(config, weights, tokens), ["B*T", config.hiddenSize]);
    const loss = tokenLoss(hidden, (rows) => head.logits(config, weights, rows), chunks);
    const adapted = narrowRows(withLora(graph({ loss }, [port("ids")]), "lora", this.changes));
    if (!hasGradients) return fuse(adapted);
    const parameters: Record<string, Value> = {};
    for (const { weight, rank, a, b } of this.changes) {
      const names = loraInputs("lora", weight);
      parameters[`${weight}.A`] = input(names.a, "float32", [rank, a.length / rank]);
      parameters[`${weight}.B`] = input(names.b, "float32", [b.length / rank, rank]);
    }
    const layers = Array.from({ length: config.layers }, (_, l) => `blocks.${l}.hook_resid_pre`);
    const checkpoints = this.#options.isRecomputing ? layers : [];
    return fuse(withGradients(adapted, "loss", parameters, { checkpoints }));
  }

  /** Mean loss over the tokens of examples, their number, and asked for the gradients: of as many runs as the options say. */
  async #evaluate(examples: readonly Example[], hasGradients: boolean): Promise<Evaluated> {
    const size = this.#options.runBatch ?? examples.length;
    const parts: Evaluated[] = [];
    for (let at = 0; at < examples.length; at += size)
      if (examples.slice(at, at + size).some(({ ids, learnFrom }) => Math.max(1, learnFrom) < ids.length))
        parts.push(await this.#run(examples.slice(at, at + size), hasGradients));
    if (parts.length === 0)
      throw new IroriError("bad-input", { what: "examples of a step", got: "no token to learn", wanted: "1 or more" });
    const [first] = parts as [Evaluated];
    if (parts.length === 1) return first;
    const count = parts.reduce((sum, part) => sum + part.count, 0);
    const gradients = new Map<string, Float32Array>();
    for (const name of first.gradients.keys()) {
      const sum = new Float64Array(first.gradients.get(name)?.length ?? 0);
      for (const part of parts)
        (part.gradients.get(name) as Float32Array).forEach((value, i) => {
          sum[i] = (sum[i] as number) + (value * part.count) / count;
        });
      gradients.set(name, Float32Array.from(sum));
    }
    return { loss: parts.reduce((sum, part) => sum + (part.loss * part.count) / count, 0), count, gradients };
  }

  async #run(examples: readonly Example[], hasGradients: boolean): Promise<Evaluated> {
    const { ids, positions, mask, rows, targets, shape } = batchOf(examples);
    using held = await this.#model.program(this.#graphOf(hasGradients, lossChunks(rows.length)));
    using owned = new DisposableStack();
    const integers = (values: readonly number[]) => ({ shape, data: BigInt64Array.from(values, BigInt) });
    const values = {
      ...{ ids: integers(ids), positions: integers(positions), mask: integers(mask) },
      ...tokenLossInputs(rows, targets),
    };
    const inputs: Record<string, Tensor> = {};
    for (const [name, { shape, data }] of Object.entries(values))
      inputs[name] = owned.use(Tensor.of("int64", shape, data as BigInt64Array));
    for (const [name, { shape, data }] of Object.entries(loraValues("lora", this.changes)))
      inputs[name] = owned.use(Tensor.of("float32", shape, data as Float32Array));
    const results = await held.program.run(inputs);
    const gradients = new Map<string, Float32Array>();
    for (const [name, tensor] of Object.entries(results)) {
      owned.use(tensor);
      if (name.startsWith("grad.")) gradients.set(name.slice(5), (tensor.data as Float32Array).slice());
    }
    return { loss: results.loss?.data[0] as number, count: rows.length, gradients };
  }
}

/** Examples without their last tokens, which predict nothing, as rows of one length; the positions with a token to learn behind them. */
function batchOf(examples: readonly Example[]) {
  const length = Math.max(...examples.map(({ ids }) => ids.length - 1));
  const rows: number[] = [];
  const targets: number[] = [];
  examples.forEach(({ ids, learnFrom }, row) => {
    for (let i = Math.max(1, learnFrom); i < ids.length; i++) {
      rows.push(row * length + i - 1);
      targets.push(ids[i] as number);
    }
  });
  const each = (value: (ids: readonly number[], i: number) => number) =>
    examples.flatMap(({ ids }) => Array.from({ length }, (_, i) => value(ids, i)));
  return {
    shape: [examples.length, length],
    ids: each((ids, i) => (i < ids.length - 1 ? (ids[i] as number) : 0)),
    positions: each((_, i) => i),
    mask: each((ids, i) => Number(i < ids.length - 1)),
    rows,
    targets,
  };
}

/** Fisher and Yates, by a seed. */
export function shuffled<T>(list: readonly T[], seed: number): T[] {
  const random = seededRandom(seed);
  const all = [...list];
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(random.next() * (i + 1));
    [all[i], all[j]] = [all[j] as T, all[i] as T];
  }
  return all;
}
