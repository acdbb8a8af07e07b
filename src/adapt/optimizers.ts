// Optimisers over flat arrays of parameters: AdamW and SGD, gradient clipping, learning-rate schedules.
// They do not know where gradients come from; numbers are updated in place.

export interface Parameter {
  readonly values: Float32Array;
  readonly gradient: Float32Array;
}

export interface Optimizer {
  /** Updates every parameter by its gradient; `rate` is the learning rate of this step. */
  step(parameters: readonly Parameter[], rate: number): void;
}

export interface AdamWOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  /** Decoupled: w ← w − rate · weightDecay · w before the step. */
  readonly weightDecay?: number;
}

/** AdamW (Loshchilov & Hutter 2019), as torch computes it. */
export class AdamW implements Optimizer {
  readonly #options: Required<AdamWOptions>;
  readonly #moments: { readonly mean: Float32Array; readonly square: Float32Array }[] = [];
  #steps = 0;

  constructor({ beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0.01 }: AdamWOptions = {}) {
    this.#options = { beta1, beta2, epsilon, weightDecay };
  }

  /** Means and squares of every parameter, for `restore`. */
  get moments(): readonly Float32Array[] {
    return this.#moments.flatMap(({ mean, square }) => [mean, square]);
  }
  /** Goes on after `steps` steps. */
  restore(steps: number, moments: readonly Float32Array[]): void {
    this.#steps = steps;
    this.#moments.length = 0;
    for (let i = 0; i < moments.length; i += 2)
      this.#moments.push({ mean: moments[i] as Float32Array, square: moments[i + 1] as Float32Array });
  }

  step(parameters: readonly Parameter[], rate: number): void {
    const { beta1, beta2, epsilon, weightDecay } = this.#options;
    this.#steps++;
    const [bias1, bias2] = [1 - beta1 ** this.#steps, Math.sqrt(1 - beta2 ** this.#steps)];
    parameters.forEach(({ values, gradient }, p) => {
      this.#moments[p] ??= { mean: new Float32Array(values.length), square: new Float32Array(values.length) };
      const { mean, square } = this.#moments[p] as { mean: Float32Array; square: Float32Array };
      for (let i = 0; i < values.length; i++) {
        const g = gradient[i] as number;
        mean[i] = beta1 * (mean[i] as number) + (1 - beta1) * g;
        square[i] = beta2 * (square[i] as number) + (1 - beta2) * g * g;
        const decayed = (values[i] as number) * (1 - rate * weightDecay);
        values[i] =
          decayed - ((rate / bias1) * (mean[i] as number)) / (Math.sqrt(square[i] as number) / bias2 + epsilon);
      }
    });
  }
}

/** Stochastic gradient descent with momentum: v ← momentum · v + g, w ← w − rate · v. */
export class Sgd implements Optimizer {
  readonly #momentum: number;
  readonly #velocities: Float32Array[] = [];

  constructor({ momentum = 0 }: { readonly momentum?: number } = {}) {
    this.#momentum = momentum;
  }

  step(parameters: readonly Parameter[], rate: number): void {
    parameters.forEach(({ values, gradient }, p) => {
      this.#velocities[p] ??= new Float32Array(values.length);
      const velocity = this.#velocities[p] as Float32Array;
      for (let i = 0; i < values.length; i++) {
        velocity[i] = this.#momentum * (velocity[i] as number) + (gradient[i] as number);
        values[i] = (values[i] as number) - rate * (velocity[i] as number);
      }
    });
  }
}

/** Scales gradients so that their norm over all parameters is at most `most`; the norm before. */
export function clipGradients(parameters: readonly Parameter[], most: number): number {
  let sum = 0;
  for (const { gradient } of parameters) for (const g of gradient) sum += g * g;
  const norm = Math.sqrt(sum);
  if (norm > most)
    for (const { gradient } of parameters)
      for (let i = 0; i < gradient.length; i++) gradient[i] = ((gradient[i] as number) * most) / norm;
  return norm;
}

/** The learning rate of step `step` (from 0) of `steps`: a linear rise over `warmup` steps, then constant, linear to 0 or half a cosine to 0. */
export function learningRate(
  kind: "constant" | "linear" | "cosine",
  {
    peak,
    step,
    steps,
    warmup = 0,
  }: { readonly peak: number; readonly step: number; readonly steps: number; readonly warmup?: number },
): number {
  if (step < warmup) return (peak * (step + 1)) / (warmup + 1);
  const done = steps > warmup ? (step - warmup) / (steps - warmup) : 1;
  if (kind === "constant") return peak;
  return kind === "linear" ? peak * (1 - done) : (peak * (1 + Math.cos(Math.PI * done))) / 2;
}
