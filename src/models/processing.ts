// TransformerLens' weight processing as other Values in the place of a model's weights: log-probabilities stay what they are.
// It does not know families: each says which of its weights play which part.
import { IroriError } from "../base/mod.ts";
import { add, mean, mul, reshape, scalar, sub, sum, transpose, type Value } from "../tensor/mod.ts";
import type { Config, Family, Head, Weights } from "./family.ts";

/** What is done to the weights, in TransformerLens' words. */
export interface Processing {
  /** Weights and biases of norms go into the layers that read them. */
  readonly foldLn?: boolean | undefined;
  /** What is written to the residual stream has mean 0: a layer norm does not see the rest. Only for families with layer norms. */
  readonly centerWritingWeights?: boolean | undefined;
  /** Logits have mean 0 over the vocabulary. */
  readonly centerUnembed?: boolean | undefined;
  /** Biases of values go into those of the attention's outputs. */
  readonly foldValueBiases?: boolean | undefined;
}

/** The parts that a family's weights play. Names are modules': `NAME.weight` and, where there is one, `NAME.bias`. */
export interface Parts {
  /** Norms, and the linear layers that read each. */
  readonly norms: readonly { readonly norm: string; readonly readers: readonly string[] }[];
  /** The norm that the head reads. */
  readonly finalNorm: string;
  /** Norms' weights are stored less this. Default 0. */
  readonly normOffset?: number;
  /** Weights [n, D] whose rows are the residual stream's beginning. */
  readonly embeddings: readonly string[];
  /** Linear layers that write to the residual stream. */
  readonly writers: readonly string[];
  /** Whether norms subtract the mean: layer norms. */
  readonly isCentring: boolean;
  /** Whether logits are bent after the head, so that their mean counts. */
  readonly isCapped?: boolean;
  /** Layers whose bias holds that of the values, and those that read the values. */
  readonly values?: readonly {
    readonly from: string;
    /** 1 where the bias is the values', else 0: shape of the bias. */
    readonly isValue: Value;
    /** The values' part of the bias, by heads: [D]. */
    readonly take: (bias: Value) => Value;
    readonly into: string;
  }[];
}

/** The model over processed weights. Throws "unsupported" for what a family's weights do not allow. */
export function processed<C extends Config>(
  family: Family<C>,
  config: C,
  weights: Weights,
  processing: Processing,
): { readonly family: Family<C>; readonly weights: Weights } {
  const parts = family.parts?.(config);
  const { head } = family;
  if (parts === undefined || head === undefined)
    throw new IroriError("unsupported", {
      what: `processing of the weights of a ${family.name}`,
      next: "take them as they are",
    });
  const isCentred = processing.centerUnembed ?? false;
  if (isCentred && parts.isCapped)
    throw new IroriError("unsupported", {
      what: `a centred unembedding: the logits of this ${family.name} are capped`,
    });
  const table = new WeightTable(family, config, weights);
  const folded = processing.foldLn ? foldNorms(table, parts) : undefined;
  if (processing.foldValueBiases) foldValueBiases(table, parts);
  if (processing.centerWritingWeights) centreWriting(table, parts, family.name);
  return {
    weights: (name) => table.get(name),
    family: { ...family, head: processedHead(head, (name) => table.raw(name), isCentred, folded) },
  };
}

/** Weights by name as they become, every matrix as [out, in] however it is stored. */
class WeightTable {
  readonly family: string;
  readonly #isInOut: boolean;
  readonly #shapes: ReadonlyMap<string, readonly number[]>;
  readonly #weights: Weights;
  readonly #made = new Map<string, Value>();

  constructor(family: Family, config: Config, weights: Weights) {
    this.family = family.name;
    this.#isInOut = family.isInOut ?? false;
    this.#shapes = family.weights(config);
    this.#weights = weights;
  }
  raw(name: string): Value {
    return this.#weights(name, this.#shapes.get(name) as readonly number[]);
  }
  get(name: string): Value {
    return this.#made.get(name) ?? this.raw(name);
  }
  set(name: string, value: Value): void {
    this.#made.set(name, value);
  }
  matrix(module: string): Value {
    return this.#turned(this.get(`${module}.weight`));
  }
  setMatrix(module: string, value: Value): void {
    this.set(`${module}.weight`, this.#turned(value));
  }
  #turned(value: Value): Value {
    return this.#isInOut ? transpose(value, [1, 0]) : value;
  }
  /** Name of a module's bias, where it has one. */
  bias(module: string): string | undefined {
    return this.#shapes.has(`${module}.bias`) ? `${module}.bias` : undefined;
  }
  needBias(module: string, of: string): string {
    const name = this.bias(module);
    if (name !== undefined) return name;
    throw new IroriError("unsupported", { what: `${module} of a ${this.family} has no bias to take that of ${of}` });
  }
}

/** W [out, in] · x [in]. */
const product = (w: Value, x: Value): Value => sum(mul(w, reshape(x, [1, x.shape[0] as number])), [1]);

/** What the head does with its table [V, D]. */
interface Folded {
  readonly table: (w: Value) => Value;
  /** [V]; absent: none. */
  readonly bias: ((w: Value) => Value) | undefined;
}

/** Norms' weights and biases into the layers that read them; those of the final one are the head's. */
function foldNorms(table: WeightTable, { norms, finalNorm, normOffset = 0 }: Parts): Folded {
  const weightOf = (norm: string): Value => add(table.raw(`${norm}.weight`), scalar(normOffset));
  const neutral = (norm: string): void => {
    const zero = mul(table.raw(`${norm}.weight`), scalar(0));
    table.set(`${norm}.weight`, normOffset === 1 ? zero : add(zero, scalar(1)));
    const bias = table.bias(norm);
    if (bias !== undefined) table.set(bias, mul(table.raw(bias), scalar(0)));
  };
  for (const { norm, readers } of norms) {
    const bias = table.bias(norm);
    for (const reader of readers) {
      const name = bias && table.needBias(reader, norm);
      if (bias && name) table.set(name, add(table.get(name), product(table.matrix(reader), table.raw(bias))));
      table.setMatrix(reader, mul(table.matrix(reader), weightOf(norm)));
    }
    neutral(norm);
  }
  const [weight, bias] = [weightOf(finalNorm), table.bias(finalNorm)];
  const last = bias === undefined ? undefined : table.raw(bias);
  neutral(finalNorm);
  return { table: (w) => mul(w, weight), bias: last && ((w) => product(w, last)) };
}

function foldValueBiases(table: WeightTable, { values = [] }: Parts): void {
  for (const { from, isValue, take, into } of values) {
    const [name, out] = [table.needBias(from, "its values"), table.needBias(into, from)];
    table.set(out, add(table.get(out), product(table.matrix(into), take(table.get(name)))));
    table.set(name, sub(table.get(name), mul(table.get(name), isValue)));
  }
}

function centreWriting(table: WeightTable, { isCentring, embeddings, writers }: Parts, family: string): void {
  if (!isCentring)
    throw new IroriError("unsupported", { what: `centred writing weights: the norms of a ${family} see the mean` });
  for (const name of embeddings) table.set(name, centred(table.get(name), 1));
  for (const writer of writers) {
    table.setMatrix(writer, centred(table.matrix(writer), 0));
    const bias = table.bias(writer);
    if (bias !== undefined) table.set(bias, centred(table.get(bias), 0));
  }
}

const centred = (value: Value, axis: number): Value => sub(value, mean(value, [axis], true));

/** The head over its own table, which may be the embedding too: that one stays. */
function processedHead<C extends Config>(
  head: Head<C>,
  raw: (name: string) => Value,
  isCentred: boolean,
  folded: Folded | undefined,
): Head<C> {
  return {
    ...head,
    logits: (config, weights, hidden) => {
      const name = head.weight(config);
      const changed = folded?.table(raw(name)) ?? raw(name);
      const table = isCentred ? centred(changed, 0) : changed;
      const logits = head.logits(config, (each, shape) => (each === name ? table : weights(each, shape)), hidden);
      const bias = folded?.bias?.(raw(name));
      return bias === undefined ? logits : add(logits, isCentred ? centred(bias, 0) : bias);
    },
  };
}
