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
  const shapes = family.weights(config);
  const made = new Map<string, Value>();
  const raw = (name: string): Value => weights(name, shapes.get(name) as readonly number[]);
  const get = (name: string): Value => made.get(name) ?? raw(name);
  const bias = (module: string): string | undefined => (shapes.has(`${module}.bias`) ? `${module}.bias` : undefined);
  // every matrix as [out, in], however it is stored
  const turned = (value: Value): Value => (family.isInOut ? transpose(value, [1, 0]) : value);
  const change = (module: string, to: (w: Value) => Value): void => {
    const name = `${module}.weight`;
    made.set(name, turned(to(turned(get(name)))));
  };
  const needBias = (module: string, of: string): string => {
    const name = bias(module);
    if (name !== undefined) return name;
    throw new IroriError("unsupported", { what: `${module} of a ${family.name} has no bias to take that of ${of}` });
  };
  const product = (w: Value, x: Value): Value => sum(mul(w, reshape(x, [1, x.shape[0] as number])), [1]);
  const normWeight = (norm: string): Value => add(raw(`${norm}.weight`), scalar(parts.normOffset ?? 0));
  const neutral = (norm: string): void => {
    const zero = mul(raw(`${norm}.weight`), scalar(0));
    made.set(`${norm}.weight`, parts.normOffset === 1 ? zero : add(zero, scalar(1)));
    const b = bias(norm);
    if (b !== undefined) made.set(b, mul(raw(b), scalar(0)));
  };

  let unembed = (w: Value): Value => w;
  let logitBias: ((w: Value) => Value) | undefined;
  if (processing.foldLn) {
    for (const { norm, readers } of parts.norms) {
      const b = bias(norm);
      for (const reader of readers) {
        if (b !== undefined) {
          const name = needBias(reader, norm);
          made.set(name, add(get(name), product(turned(get(`${reader}.weight`)), raw(b))));
        }
        change(reader, (w) => mul(w, normWeight(norm)));
      }
      neutral(norm);
    }
    const [weight, b] = [normWeight(parts.finalNorm), bias(parts.finalNorm)];
    if (b !== undefined) logitBias = (w) => product(w, raw(b));
    unembed = (w) => mul(w, weight);
    neutral(parts.finalNorm);
  }
  if (processing.foldValueBiases)
    for (const { from, isValue, take, into } of parts.values ?? []) {
      const [name, out] = [needBias(from, "its values"), needBias(into, from)];
      made.set(out, add(get(out), product(turned(get(`${into}.weight`)), take(get(name)))));
      made.set(name, sub(get(name), mul(get(name), isValue)));
    }
  if (processing.centerWritingWeights) {
    if (!parts.isCentring)
      throw new IroriError("unsupported", {
        what: `centred writing weights: the norms of a ${family.name} see the mean`,
      });
    for (const name of parts.embeddings) made.set(name, centred(get(name), 1));
    for (const writer of parts.writers) {
      change(writer, (w) => centred(w, 0));
      const b = bias(writer);
      if (b !== undefined) made.set(b, centred(get(b), 0));
    }
  }
  const isCentred = processing.centerUnembed ?? false;
  if (isCentred && parts.isCapped)
    throw new IroriError("unsupported", {
      what: `a centred unembedding: the logits of this ${family.name} are capped`,
    });
  return {
    weights: (name) => get(name),
    family: { ...family, head: processedHead(head, raw, { isCentred, unembed, logitBias }) },
  };
}

const centred = (value: Value, axis: number): Value => sub(value, mean(value, [axis], true));

/** The head over its own table, which may be the embedding too: that one stays. */
function processedHead<C extends Config>(
  head: Head<C>,
  raw: (name: string) => Value,
  {
    isCentred,
    unembed,
    logitBias,
  }: {
    readonly isCentred: boolean;
    readonly unembed: (w: Value) => Value;
    readonly logitBias: ((w: Value) => Value) | undefined;
  },
): Head<C> {
  return {
    ...head,
    logits: (config, weights, hidden) => {
      const name = head.weight(config);
      const changed = unembed(raw(name));
      const table = isCentred ? centred(changed, 0) : changed;
      const logits = head.logits(config, (each, shape) => (each === name ? table : weights(each, shape)), hidden);
      const bias = logitBias?.(raw(name));
      return bias === undefined ? logits : add(logits, isCentred ? centred(bias, 0) : bias);
    },
  };
}
