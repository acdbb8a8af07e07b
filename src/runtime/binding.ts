// Inputs and outputs that stay bound to a Program from run to run; only what changes is bound again.
// It does not know what the tensors mean. It keeps their memory alive until it is disposed of.

import { IroriError } from "../base/mod.ts";
import type { Handle, Ort } from "./ort.ts";
import { checkFit, type PortInfo, type Tensors } from "./ports.ts";
import { type Hold, hold, type Tensor } from "./tensor.ts";

/** What Bindings need of their Program. */
export interface Runner {
  readonly bindings: Set<BoundValues>;
  readonly name: string;
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  readonly ort: Ort;
  readonly session: Handle;
  execute(start: (runOptions: Handle | null) => Promise<void>, signal: AbortSignal | undefined): Promise<void>;
}

interface Bound {
  readonly tensor: Tensor;
  readonly held: Hold;
}

/** What a Binding holds of the library: never the Binding itself, so that a forgotten one can be collected. */
export class BoundValues {
  readonly ort: Ort;
  readonly handle: Handle;
  readonly bound = new Map<string, Bound>();
  readonly #owner: Set<BoundValues>;

  constructor(ort: Ort, handle: Handle, owner: Set<BoundValues>) {
    this.ort = ort;
    this.handle = handle;
    this.#owner = owner;
    owner.add(this);
  }

  /** Gives everything back, once: by the Binding, by its Program's end, or when the Binding is collected. */
  release(): void {
    if (!this.#owner.delete(this)) return;
    this.ort.release("IoBinding", this.handle);
    for (const { held } of this.bound.values()) held.release();
    this.bound.clear();
  }
}

const forgottenBindings = new FinalizationRegistry<BoundValues>((values) => values.release());

export class Binding implements Disposable {
  readonly #runner: Runner;
  readonly #values: BoundValues;
  #isRunning = false;
  #state: "open" | "closing" | "closed" = "open";

  /** Bindings come from `Program.bind`. */
  constructor(runner: Runner, inputs: Tensors, outputs: Tensors) {
    checkFit(runner.name, "input", runner.inputs, inputs, true);
    checkFit(runner.name, "output", runner.outputs, outputs, true);
    this.#runner = runner;
    this.#values = new BoundValues(runner.ort, runner.ort.make("CreateIoBinding", runner.session), runner.bindings);
    forgottenBindings.register(this, this.#values, this);
    this.#bindAll(inputs, outputs);
  }

  /** Binds other tensors in the place of some. Throws "bad-input" while a run is in flight. */
  set(inputs: Tensors = {}, outputs: Tensors = {}): void {
    this.#refuse("bound again");
    checkFit(this.#runner.name, "input", this.#runner.inputs, inputs, false);
    checkFit(this.#runner.name, "output", this.#runner.outputs, outputs, false);
    this.#bindAll(inputs, outputs);
  }

  /** Runs once over what is bound; the outputs hold the results when the promise resolves. */
  async run(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    this.#refuse("run");
    for (const { tensor, held } of this.#values.bound.values()) refuseDetached(this.#runner.name, tensor, held);
    const { ort, session } = this.#runner;
    const { handle } = this.#values;
    this.#isRunning = true;
    try {
      const start = (runOptions: Handle | null) => ort.callAsync("RunWithBinding", session, runOptions, handle);
      await this.#runner.execute(start, options.signal);
    } finally {
      this.#isRunning = false;
      if (this.#state === "closing") this.#release();
    }
  }

  /** Releases the binding, after a run in flight. */
  [Symbol.dispose](): void {
    if (this.#state !== "open") return;
    this.#state = "closing";
    if (!this.#isRunning) this.#release();
  }

  #release(): void {
    this.#state = "closed";
    forgottenBindings.unregister(this);
    this.#values.release();
  }

  #bindAll(inputs: Tensors, outputs: Tensors): void {
    for (const name of Object.keys(inputs)) this.#bind("BindInput", "in", name, inputs[name] as Tensor);
    for (const name of Object.keys(outputs)) this.#bind("BindOutput", "out", name, outputs[name] as Tensor);
  }

  #bind(bind: "BindInput" | "BindOutput", side: string, name: string, tensor: Tensor): void {
    const key = `${side} ${name}`;
    const before = this.#values.bound.get(key);
    if (before?.tensor === tensor) return;
    const held = hold(tensor, this.#runner.ort);
    try {
      this.#runner.ort.call(bind, this.#values.handle, name, held.handle);
    } catch (error) {
      held.release();
      throw error;
    }
    this.#values.bound.set(key, { tensor, held });
    before?.held.release();
  }

  #refuse(action: string): void {
    const { name } = this.#runner;
    if (this.#state !== "open") {
      throw new IroriError("bad-input", { what: `a binding of ${name} was disposed of and cannot be ${action}` });
    }
    if (this.#isRunning) {
      throw new IroriError("bad-input", {
        what: `a binding of ${name} cannot be ${action} while its run is in flight`,
        next: "await that run, or make a second binding",
      });
    }
  }
}

function refuseDetached(program: string, tensor: Tensor, { data }: Hold): void {
  if (!(data.buffer instanceof ArrayBuffer && data.buffer.detached)) return;
  throw new IroriError("bad-input", {
    what: `the memory of ${tensor.dtype} [${tensor.shape.join(", ")}], bound to ${program}, is gone`,
    next: "bind another tensor: this one's ArrayBuffer was transferred or its tensor disposed of",
  });
}
