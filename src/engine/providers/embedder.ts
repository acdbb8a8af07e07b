// What every provider of vectors is: texts in, vectors of one length out. It does not know who implements it.

export interface EmbedderCall {
  readonly signal?: AbortSignal | undefined;
  /** What the texts are: models that were trained so get something in front of each. */
  readonly kind?: "query" | "document" | undefined;
}

export interface Embedded {
  /** One a text, each of `dimensions` finite numbers and of length 1 where the model makes them so. */
  readonly vectors: readonly Float32Array[];
  readonly dimensions: number;
  /** Tokens of each text that were read; undefined where the provider does not say. */
  readonly tokens: readonly number[] | undefined;
  /** Texts (by index) whose ends were cut off; undefined where the provider does not say. */
  readonly truncated: readonly number[] | undefined;
  /** Texts (by index) without a word: their vectors mean nothing. */
  readonly empty: readonly number[];
}

export interface Embedder extends AsyncDisposable {
  /** Names the vectors: those of embedders of another id do not compare. */
  readonly id: string;
  readonly model: string;
  /** Numbers of a vector; a server is asked once for one. */
  dimensions(call?: Pick<EmbedderCall, "signal">): Promise<number>;
  /** Vectors in the order of the texts, within 1e-6 the same for a text whoever else is embedded with it. Throws "cancelled". */
  embed(texts: readonly string[], call?: EmbedderCall): Promise<Embedded>;
}
