// Texts of any number of callers over one Program, in batches of like length under a budget of tokens, callers by turns.
// It does not know what the texts say or what the vectors mean.
import { setImmediate } from "node:timers/promises";
import { cancelled, IroriError } from "../base/mod.ts";
import { type Program, Tensor } from "../runtime/mod.ts";
import type { Turns } from "./turns.ts";

/** Tokens of a run, padding included: fewer run slower, and so do more, which leave the processor's cache. */
const RUN_TOKENS = 512;

/** One text as a model reads it. */
export interface TextRow {
  readonly ids: readonly number[];
  /** Which text of a pair each token belongs to. */
  readonly types?: readonly number[] | undefined;
}

export interface TextAsk {
  readonly rows: readonly TextRow[];
  readonly signal?: AbortSignal | undefined;
  /** Told after each run: how many of the rows are done. */
  readonly onDone?: ((rows: number) => void) | undefined;
}

interface Asked extends TextAsk {
  /** Indices of rows that are still to be read, the longest last. */
  readonly left: number[];
  readonly vectors: Float32Array[];
  readonly resolve: (vectors: readonly Float32Array[]) => void;
  readonly reject: (error: unknown) => void;
}

interface Picked {
  readonly ask: Asked;
  readonly index: number;
  readonly row: TextRow;
}

export class TextBatcher {
  readonly #program: () => Promise<Program>;
  readonly #turns: Turns;
  readonly #asks: Asked[] = [];
  #loop: Promise<void> | undefined;

  constructor(program: () => Promise<Program>, turns: Turns) {
    this.#program = program;
    this.#turns = turns;
  }

  /** A vector for each row, in their order. Throws "cancelled" when the signal aborts, within a run. */
  read(ask: TextAsk): Promise<readonly Float32Array[]> {
    if (ask.signal?.aborted) return Promise.reject(cancelled("reading texts", ask.signal));
    if (ask.rows.length === 0) return Promise.resolve([]);
    const { promise, resolve, reject } = Promise.withResolvers<readonly Float32Array[]>();
    const left = ask.rows.map((_, i) => i).sort((a, b) => lengthOf(ask, a) - lengthOf(ask, b) || b - a);
    this.#asks.push({ ...ask, left, vectors: [], resolve, reject });
    this.#loop ??= this.#run();
    return promise;
  }

  async #run(): Promise<void> {
    for (;;) {
      await setImmediate(); // those that ask at the same time are read together
      for (const ask of [...this.#asks])
        if (ask.signal?.aborted) this.#fail(ask, cancelled("reading texts", ask.signal));
      const picked = this.#pick();
      if (picked.length === 0) break;
      try {
        const program = await this.#program();
        const vectors = await this.#turns.take(() =>
          readRows(
            program,
            picked.map(({ row }) => row),
          ),
        );
        picked.forEach(({ ask, index }, i) => {
          ask.vectors[index] = vectors[i] as Float32Array;
        });
        for (const ask of new Set(picked.map((each) => each.ask))) this.#told(ask);
      } catch (error) {
        for (const ask of new Set(picked.map((each) => each.ask))) this.#fail(ask, error);
      }
    }
    this.#loop = undefined;
  }

  #told(ask: Asked): void {
    if (!this.#asks.includes(ask)) return;
    ask.onDone?.(ask.rows.length - ask.left.length);
    if (ask.left.length > 0) return;
    this.#asks.splice(this.#asks.indexOf(ask), 1);
    ask.resolve(ask.vectors);
  }
  #fail(ask: Asked, error: unknown): void {
    const at = this.#asks.indexOf(ask);
    if (at >= 0) this.#asks.splice(at, 1);
    ask.reject(error);
  }

  /** The longest rows of whoever waited longest, and of others what fits beside them without more padding. */
  #pick(): readonly Picked[] {
    const first = this.#asks.shift();
    if (first === undefined) return [];
    const picked: Picked[] = [];
    const longest = lengthOf(first, first.left.at(-1) as number);
    const room = Math.max(1, Math.floor(RUN_TOKENS / longest));
    for (const ask of [first, ...this.#asks])
      while (picked.length < room) {
        const index = ask.left.at(-1);
        if (index === undefined || lengthOf(ask, index) > longest) break;
        ask.left.pop();
        picked.push({ ask, index, row: ask.rows[index] as TextRow });
      }
    this.#asks.push(first);
    return picked;
  }
}

const lengthOf = ({ rows }: TextAsk, index: number): number => (rows[index] as TextRow).ids.length;

/** One run: rows padded on the right to the longest of them. Throws "bad-file" where a vector is not finite. */
export async function readRows(program: Program, rows: readonly TextRow[]): Promise<readonly Float32Array[]> {
  const length = Math.max(...rows.map(({ ids }) => ids.length));
  const shape = [rows.length, length];
  using owned = new DisposableStack();
  const filled = (of: (row: TextRow, i: number) => number): Tensor<"int64"> => {
    const tensor = owned.use(Tensor.of("int64", shape));
    rows.forEach((row, r) => {
      for (let i = 0; i < row.ids.length; i++) tensor.data[r * length + i] = BigInt(of(row, i));
    });
    return tensor;
  };
  const inputs: Record<string, Tensor> = {
    ids: filled(({ ids }, i) => ids[i] as number),
    positions: filled((_, i) => i),
    mask: filled(() => 1),
    types: filled(({ types }, i) => types?.[i] ?? 0),
  };
  const known = program.inputs.map(({ name }) => [name, inputs[name] as Tensor] as const);
  const { vectors } = await program.run(Object.fromEntries(known));
  const all = owned.use(vectors as Tensor<"float32">).data;
  const width = all.length / rows.length;
  for (const value of all)
    if (!Number.isFinite(value))
      throw new IroriError("bad-file", {
        what: "the model gives no numbers: a text's vector is not finite",
        got: value,
        next: "remove the model and fetch it again",
      });
  return rows.map((_, r) => all.slice(r * width, (r + 1) * width));
}
