// What a family of models is: its configuration, its names in each checkpoint format, and its program as a traced Graph.
// It does not know where weights come from nor how attention remembers: both are handed to `trace`.
import type { AttentionOptions, Dim, Value } from "../tensor/mod.ts";
import type { Parts } from "./processing.ts";

/** The hyper-parameters that the engine needs of every family. */
export interface Config {
  /** V: rows of the embedding. */
  readonly vocabSize: number;
  /** L. */
  readonly layers: number;
  /** H: query heads; G: key-value heads; K: channels of a head. */
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  /** D: width of the residual stream. */
  readonly hiddenSize: number;
  /** The longest sequence it was made for, in tokens. */
  readonly maxPositions: number;
  /** Of each layer: tokens that a query sees, its own included; null: all. Absent: all in every layer. */
  readonly windows?: readonly (number | null)[];
}

/** A weight by its checkpoint name, float32 of the given shape (whatever its stored form). */
export type Weights = (name: string, shape: readonly number[]) => Value;

/** cos and sin tables [P, R/2] of a rotary embedding. */
export interface RotaryTables {
  readonly cos: Value;
  readonly sin: Value;
}

/** The tokens of a run: their ids and the way they attend to each other and to the past. */
export interface Tokens {
  /** int64, leading shape `lead`: [B, T], all at once or over the KvCaches of B rows. */
  readonly ids: Value;
  readonly lead: readonly Dim[];
  /** int64, broadcastable to `lead`: each token's place in its text, from 0. */
  readonly positions: Value;
  /** int64 [B, T]: which text of a pair a token belongs to (BERT); absent: all to the first. */
  readonly types?: Value | undefined;
  /** q [...lead, H, K]; k, v [...lead, G, K] before rotation → z [...lead, H, K]. HookPoints under `options.hook`. */
  attend(
    layer: number,
    q: Value,
    k: Value,
    v: Value,
    tables: RotaryTables | undefined,
    options: AttentionOptions,
  ): Value;
}

/** Where a checkpoint's tensor stands in a GGUF file. */
export interface GgufTensor {
  readonly name: string;
  /** Row r of the family's tensor is row `rows(r)` of the file's. */
  readonly rows?: (row: number) => number;
  /** The family's values are the file's plus this. */
  readonly offset?: number;
  /** The file has rows where the family has columns. */
  readonly isTransposed?: boolean;
}

export interface GgufSource {
  readonly metadata: ReadonlyMap<string, unknown>;
  readonly has: (tensor: string) => boolean;
  /** Outermost first; undefined where there is no such tensor. */
  readonly shape: (tensor: string) => readonly number[] | undefined;
  readonly read: (tensor: string) => Promise<Float32Array>;
}

/** How GGUF files hold a family. */
export interface Gguf<C extends Config> {
  /** `general.architecture` values. */
  readonly architectures: readonly string[];
  /** Tensors that `readConfig` reads: settings rather than weights. */
  readonly settings: readonly string[];
  readConfig(source: GgufSource): Promise<C>;
  tensor(config: C, name: string): GgufTensor;
}

/** From hidden states to logits. */
export interface Head<C extends Config> {
  /** Logits [..., V] of hidden states [..., D]. */
  logits(config: C, weights: Weights, hidden: Value): Value;
  /** Name of the weight that the hidden states are multiplied with. */
  weight(config: C): string;
}

export interface Family<C extends Config = Config> {
  readonly name: string;
  /** Values of `model_type` in config.json. */
  readonly modelTypes: readonly string[];
  /** In front of every tensor's name in checkpoints saved with a head, and missing in those saved without, or the other way round. */
  readonly prefix: string;
  /** Whether a token sees only those before it. */
  readonly isCausal: boolean;
  /** Reads config.json as transformers 4 and 5 write it; a setting that is not supported throws. */
  parseConfig(json: unknown): C;
  /** Every weight: checkpoint name and shape. */
  weights(config: C): ReadonlyMap<string, readonly number[]>;
  /** Hidden states [...lead, D] after the final norm. */
  trace(config: C, weights: Weights, tokens: Tokens): Value;
  /** What predicts tokens; encoders have none. */
  readonly head?: Head<C>;
  /** Sentence vectors [B, D] of hidden states [B, T, D]: an encoder's trained pooler; undefined where the checkpoint has none. */
  pool?(config: C, weights: Weights, hidden: Value): Value | undefined;
  /** Scores [B, C] of hidden states [B, T, D] of texts or pairs: a trained classifier; undefined where the checkpoint has none. */
  classify?(config: C, weights: Weights, hidden: Value): Value | undefined;
  /** The configuration for what a checkpoint really holds, where a part may be missing. */
  fit?(config: C, has: (weight: string) => boolean): C;
  /** Which weights play which part, for processing them; families without it are taken as they are. */
  parts?(config: C): Parts;
  /** Last parts of the names of weights that an adapter changes where nothing is said. */
  readonly loraTargets: readonly string[];
  /** Last parts of the names of weights whose rounding costs most: what attention passes on, and the MLP's way out. */
  readonly delicate?: readonly string[];
  /** Whether weights of linear layers are stored [in, out]. Default: [out, in]. */
  readonly isInOut?: boolean;
  readonly gguf?: Gguf<C>;
}

/** A family that predicts tokens. */
export type Decoder<C extends Config = Config> = Family<C> & { readonly head: Head<C> };
