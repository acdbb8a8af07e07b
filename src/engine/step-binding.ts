// The stages of a step bound to tensors, run one after another; what one stage gives a later one is kept here.
// It does not know what the tensors mean.
import { type Binding, type Program, Tensor } from "../runtime/mod.ts";
import type { Step } from "./programs.ts";

type Tensors = Readonly<Record<string, Tensor>>;

export interface StepSizes {
  /** Tokens of all rows together. */
  readonly tokens: number;
  /** Positions whose logits are wanted. */
  readonly positions: number;
}

interface StepRun {
  readonly signal?: AbortSignal | undefined;
  readonly isHeadWanted?: boolean;
}

const pick = (tensors: Tensors, ports: Program["inputs"]): Record<string, Tensor> =>
  Object.fromEntries(ports.filter(({ name }) => name in tensors).map(({ name }) => [name, tensors[name] as Tensor]));

export class StepBinding implements Disposable {
  readonly #step: Step;
  readonly #owned = new DisposableStack();
  readonly #bindings: Binding[] = [];
  #between: Record<string, Tensor>;
  #sizes: StepSizes;

  /** @param tensors every input and output of the step by name, but those between its stages */
  constructor(step: Step, tensors: Tensors, sizes: StepSizes) {
    this.#step = step;
    this.#sizes = sizes;
    this.#between = this.#makeBetween();
    const all = { ...tensors, ...this.#between };
    for (const program of step)
      this.#bindings.push(this.#owned.use(program.bind(pick(all, program.inputs), pick(all, program.outputs))));
  }

  /** Binds other tensors in the place of some. */
  set(tensors: Tensors, sizes: StepSizes = this.#sizes): void {
    const isSame = sizes.tokens === this.#sizes.tokens && sizes.positions === this.#sizes.positions;
    this.#sizes = sizes;
    const before = this.#between;
    if (!isSame) this.#between = this.#makeBetween();
    const changed = isSame ? tensors : { ...tensors, ...this.#between };
    this.#step.forEach((program, i) => {
      (this.#bindings[i] as Binding).set(pick(changed, program.inputs), pick(changed, program.outputs));
    });
    if (!isSame) for (const tensor of Object.values(before)) tensor[Symbol.dispose]();
  }

  /** Runs the stages one after another; without a wanted head (the last of them), hidden states are all that is made. */
  async run({ signal, isHeadWanted = true }: StepRun = {}): Promise<void> {
    const bindings = isHeadWanted ? this.#bindings : this.#bindings.slice(0, -1);
    for (const binding of bindings) await binding.run(signal === undefined ? {} : { signal });
  }

  /** Outputs of a stage that are inputs of another: [tokens or positions, D]. */
  #makeBetween(): Record<string, Tensor> {
    const taken = new Set(this.#step.flatMap((program) => program.inputs.map((port) => port.name)));
    const given = this.#step.flatMap((program) => program.outputs).filter((port) => taken.has(port.name));
    const { tokens, positions } = this.#sizes;
    return Object.fromEntries(
      given.map(({ name, shape }) => {
        const sizes = shape.map((size) => (typeof size === "number" ? size : size === "W" ? positions : tokens));
        return [name, Tensor.of("float32", sizes)];
      }),
    );
  }

  [Symbol.dispose](): void {
    for (const tensor of Object.values(this.#between)) tensor[Symbol.dispose]();
    this.#owned.dispose();
  }
}
