// Texts as vectors, and pairs of texts as scores: what is put around them, what of them fits, and what is made of the results.
// It does not know batches or Programs.
import { IroriError } from "../base/mod.ts";
import type { Tokenizer } from "../text/mod.ts";
import type { Manifest, Pooling, Sentence } from "./manifest.ts";
import type { TextBatcher, TextRow } from "./text-batcher.ts";
import type { Reading } from "./text-graph.ts";

export interface EmbedOptions {
  /** What the texts are, by the model's own names ("query", "document" …): what it wants in front of them is put there. */
  readonly prompt?: string | undefined;
  /** Default: as the checkpoint says; where it says nothing, the mean over all tokens. */
  readonly pooling?: Pooling | undefined;
  /** Whether vectors get length 1. Default: as the checkpoint says; where it says nothing, true. */
  readonly isNormalized?: boolean | undefined;
  /** Only so many numbers of each vector (for models trained that way: Matryoshka, Kusupati et al. 2022). */
  readonly dimensions?: number | undefined;
  /** Tokens of a text at most, special tokens included. Default: the model's own limit. */
  readonly maxTokens?: number | undefined;
  /** What becomes of longer texts: their ends are cut off (and that is told), or they are read in overlapping windows. */
  readonly long?: "cut" | "windows" | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told as texts are done. */
  readonly onDone?: ((texts: number) => void) | undefined;
}

export interface Embeddings {
  /** One for each text, all of `dimensions` numbers. */
  readonly vectors: readonly Float32Array[];
  readonly dimensions: number;
  /** Tokens of each text that were read, special tokens included. */
  readonly tokens: readonly number[];
  /** Texts (by index) whose ends were cut off. */
  readonly truncated: readonly number[];
  /** Texts (by index) without a word, or without one that the tokenizer knows: their vectors are those of the special tokens alone and mean nothing. */
  readonly empty: readonly number[];
}

export interface Ranked {
  /** Of the passage. */
  readonly index: number;
  /** 0 to 1: the logistic function of the logit. */
  readonly score: number;
  readonly logit: number;
}

export interface RerankOptions extends Pick<EmbedOptions, "maxTokens" | "signal" | "onDone"> {}

/** What reading texts needs of a model. */
export interface Reader {
  readonly model: string;
  readonly manifest: Manifest;
  readonly tokenizer: Tokenizer;
  readonly texts: (reading: Reading) => TextBatcher;
}

/** Share of a window that the next one reads again. */
const OVERLAP = 0.125;

export async function embed(
  reader: Reader,
  texts: readonly string[],
  { prompt, pooling, isNormalized, dimensions, maxTokens, long = "cut", signal, onDone }: EmbedOptions,
): Promise<Embeddings> {
  const { tokenizer } = reader;
  const sentence = sentenceOf(reader);
  const front = promptOf(reader.model, sentence, prompt);
  const limit = limitOf(reader, maxTokens);
  const truncated: number[] = [];
  const empty: number[] = [];
  const windows = texts.map((text, i) => {
    const ids = tokenizer.encode(front + text);
    if (text.trim() === "" || ids.length === 0) empty.push(i);
    const whole = tokenizer.frame(ids, limit);
    if (whole.cutTokens === 0) return [whole];
    if (long === "windows") return windowsOf(tokenizer, ids, limit);
    truncated.push(i);
    return [whole];
  });
  const rows: TextRow[] = windows.flat();
  const batcher = reader.texts({ of: pooling ?? sentence.pooling, hasTypes: false });
  const read = await batcher.read({ rows, signal, onDone: onDone && toldByText(windows, onDone) });
  let at = 0;
  const vectors = windows.map((parts) => {
    const all = read.slice(at, at + parts.length);
    at += parts.length;
    const vector = parts.length === 1 ? (all[0] as Float32Array) : meanOf(all, parts);
    return finished(vector, isNormalized ?? sentence.isNormalized, dimensions);
  });
  const tokens = windows.map((parts) => parts.reduce((sum, { ids }) => sum + ids.length, 0));
  const width = vectors[0]?.length ?? dimensions ?? reader.manifest.config.hiddenSize;
  return { vectors, dimensions: width, tokens, truncated, empty };
}

/** Scores of passages for a query, the best first. */
export async function rerank(
  reader: Reader,
  query: string,
  passages: readonly string[],
  { maxTokens, signal, onDone }: RerankOptions,
): Promise<readonly Ranked[]> {
  const limit = limitOf(reader, maxTokens);
  const rows = passages.map((pair) => reader.tokenizer.encodeFramed(query, { pair, maxTokens: limit }));
  const hasTypes = rows.some(({ types }) => types.some((type) => type !== 0));
  const scores = await reader.texts({ of: "classes", hasTypes }).read({ rows, signal, onDone });
  return scores
    .map((score, index) => {
      if (score.length !== 1)
        throw new IroriError("unsupported", {
          what: `${reader.model} sorts texts into ${score.length} classes`,
          wanted: "a reranker with one score",
        });
      const logit = score[0] as number;
      return { index, logit, score: 1 / (1 + Math.exp(-logit)) };
    })
    .sort((a, b) => b.logit - a.logit || a.index - b.index);
}

type Pooled = Exclude<Sentence, { readonly notRun: string }>;

function sentenceOf({ model, manifest: { sentence } }: Reader): Pooled {
  if (sentence === undefined) return { pooling: "mean", isNormalized: true, prompts: {} };
  if (!("notRun" in sentence)) return sentence;
  throw new IroriError("unsupported", {
    what: `${model} makes vectors in a way that Irori does not: ${sentence.notRun}`,
    wanted: "a transformer, mean, cls, max or last-token pooling, and normalisation",
  });
}

function promptOf(model: string, { prompts, defaultPrompt }: Pooled, asked: string | undefined): string {
  const name = asked ?? defaultPrompt;
  if (name === undefined) return "";
  const found = prompts[name];
  if (found !== undefined) return found;
  const names = Object.keys(prompts).join(", ");
  throw new IroriError("bad-input", {
    what: `${model}: a prompt for texts`,
    got: name,
    wanted: names === "" ? "none: the model has no prompts" : names,
  });
}

function limitOf({ manifest: { config }, tokenizer }: Reader, asked: number | undefined): number {
  const most = Math.min(tokenizer.maxTokens ?? config.maxPositions, config.maxPositions);
  if (asked === undefined) return most;
  if (!Number.isInteger(asked) || asked < 1 || asked > config.maxPositions)
    throw new IroriError("bad-input", { what: "tokens of a text", got: asked, wanted: `1 to ${config.maxPositions}` });
  return asked;
}

/** A text in overlapping windows of at most `limit` tokens, special tokens included. */
function windowsOf(tokenizer: Tokenizer, ids: readonly number[], limit: number) {
  const around = tokenizer.frame([], limit).ids.length;
  const size = limit - around;
  const step = Math.max(1, Math.floor(size * (1 - OVERLAP)));
  const windows = [];
  for (let at = 0; ; at += step) {
    windows.push(tokenizer.frame(ids.slice(at, at + size), limit));
    if (at + size >= ids.length) return windows;
  }
}

/** Of the vectors of a text's windows, by their tokens. */
function meanOf(vectors: readonly Float32Array[], windows: readonly TextRow[]): Float32Array {
  const mean = new Float32Array((vectors[0] as Float32Array).length);
  const all = windows.reduce((sum, { ids }) => sum + ids.length, 0);
  vectors.forEach((vector, w) => {
    const share = (windows[w] as TextRow).ids.length / all;
    vector.forEach((value, i) => {
      mean[i] = (mean[i] as number) + share * value;
    });
  });
  return mean;
}

function finished(vector: Float32Array, isNormalized: boolean, dimensions = vector.length): Float32Array {
  if (!Number.isInteger(dimensions) || dimensions < 1 || dimensions > vector.length)
    throw new IroriError("bad-input", {
      what: "numbers of a vector",
      got: dimensions,
      wanted: `1 to ${vector.length}`,
    });
  const cut = vector.slice(0, dimensions);
  if (!isNormalized) return cut;
  let sum = 0;
  for (const value of cut) sum += value * value;
  const length = Math.max(Math.sqrt(sum), 1e-12);
  return cut.map((value) => value / length);
}

/** Told of windows, tells of texts; windows are not done in their order, so texts are counted by their share. */
function toldByText(windows: readonly (readonly unknown[])[], onDone: (texts: number) => void) {
  const all = windows.reduce((sum, parts) => sum + parts.length, 0);
  return (done: number) => onDone(Math.floor((done * windows.length) / all));
}
