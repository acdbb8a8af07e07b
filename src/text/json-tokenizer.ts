// Reads a tokenizer out of Hugging Face's tokenizer.json and tokenizer_config.json: its model, vocabulary and tokens.
// Knows those two formats; what it cannot do exactly it refuses by name. Imported only when such a file is read (zod).
import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import { byteOfEntry } from "./byte-alphabet.ts";
import { type Decoding, decodingOf, frameOf } from "./json-decoder.ts";
import { flatten, isSet, type Part, parse, part, unsupported } from "./json-part.ts";
import { isByteLevel, normalStep, preTokenizerSteps } from "./json-steps.ts";
import {
  type AddedToken,
  endIds,
  type Frame,
  isControlText,
  type ModelSettings,
  plainFrame,
  type TokenizerParts,
} from "./parts.ts";

const id = z.int().nonnegative();
const tokenizerShape = z.object({
  added_tokens: z
    .array(
      z.object({
        id,
        content: z.string(),
        special: isSet,
        normalized: isSet,
        lstrip: isSet,
        rstrip: isSet,
        single_word: isSet,
      }),
    )
    .default([]),
  normalizer: part.nullish(),
  pre_tokenizer: part.nullish(),
  post_processor: part.nullish(),
  decoder: part.nullish(),
  padding: z.looseObject({ pad_id: id }).nullish(),
  truncation: z.looseObject({ max_length: id }).nullish(),
  model: z.looseObject({ type: z.string().optional() }),
});
type TokenizerJson = z.infer<typeof tokenizerShape>;

const tokenName = z
  .union([z.string(), z.object({ content: z.string() }).transform(({ content }) => content)])
  .nullish();
const configShape = z.object({
  bos_token: tokenName,
  eos_token: tokenName,
  unk_token: tokenName,
  pad_token: tokenName,
  add_bos_token: z.boolean().nullish(),
  add_eos_token: z.boolean().nullish(),
  model_max_length: z.number().nullish(),
  chat_template: z.union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))]).nullish(),
});

export function partsFromJson(json: unknown, tokenizerConfig: unknown = {}): TokenizerParts {
  const file = parse(tokenizerShape, json, "tokenizer.json");
  const config = parse(configShape, tokenizerConfig, "tokenizer_config.json");
  const cuts = flatten(file.pre_tokenizer, "pretokenizers");
  const isBytes = isByteLevel(cuts);
  const normalizers = flatten(file.normalizer, "normalizers");
  const model = modelOf(file, isBytes);
  const added = addedTokens(file);
  const vocabulary = vocabularyOf(model.entries, added);
  const idOf = (text: string | null | undefined): number | undefined =>
    text == null ? undefined : (added.find((token) => token.text === text)?.id ?? model.idOf(text));
  const around = frameOf(file.post_processor);
  const [before, after] = [firstOf(around), lastOf(around)];
  const bosId = idOf(config.bos_token) ?? before;
  const eosId = idOf(config.eos_token);
  const addsBos = config.add_bos_token ?? before !== undefined;
  const addsEos = config.add_eos_token ?? after !== undefined;
  return {
    vocabulary,
    merges: model.merges,
    scores: model.scores,
    unreachable: model.unreachable,
    charsmap: charsmapOf(normalizers),
    added,
    settings: {
      bosId,
      eosIds: endIds([eosId], added),
      unknownId: idOf(config.unk_token) ?? model.unknownId,
      padId: idOf(config.pad_token) ?? file.padding?.pad_id,
      addsBos,
      addsEos,
      normalizer: normalizers.flatMap(normalStep),
      steps: cuts.flatMap(preTokenizerSteps),
      model: model.settings,
      ...decodings(file.decoder, isBytes),
      frame: around ?? plainFrame(addsBos ? bosId : undefined, addsEos ? eosId : undefined),
      maxTokens: lengthOf(config.model_max_length) ?? file.truncation?.max_length,
      chatTemplate: templateOf(config.chat_template),
    },
  };
}

/** transformers writes 10^30 for "no limit". */
const lengthOf = (length: number | null | undefined): number | undefined =>
  length != null && Number.isSafeInteger(length) && length > 0 && length < 2 ** 31 ? length : undefined;

function decodings(decoder: Part | null | undefined, isBytes: boolean): Decoding {
  if (!isBytes) return decodingOf(decoder);
  if (decoder != null && decoder.type !== "ByteLevel")
    throw unsupported("a decoder", JSON.stringify(decoder.type), '"ByteLevel", as the pre-tokenizer is');
  return { decoder: [], decodeStart: undefined };
}

interface Model {
  readonly settings: ModelSettings;
  readonly entries: Iterable<readonly [entry: string, id: number]>;
  readonly idOf: (entry: string) => number | undefined;
  readonly unknownId: number | undefined;
  readonly merges: TokenizerParts["merges"];
  readonly scores?: readonly number[];
  readonly unreachable: ReadonlySet<number>;
}

function modelOf(file: TokenizerJson, isBytes: boolean): Model {
  // files of before 2020 name no type
  const type = file.model.type ?? ("merges" in file.model ? "BPE" : "WordPiece");
  const read = Object.hasOwn(models, type) ? models[type] : undefined;
  if (read === undefined)
    throw unsupported("a kind of model", `model.type ${JSON.stringify(type)}`, Object.keys(models).join(", "));
  return read(file.model, isBytes);
}

const vocabulary = z.record(z.string(), id);
const bpeShape = z.object({
  vocab: vocabulary,
  merges: z.array(z.union([z.string(), z.tuple([z.string(), z.string()])])),
  unk_token: z.string().nullish(),
  dropout: z.number().nullish(),
  continuing_subword_prefix: z.string().nullish(),
  end_of_word_suffix: z.string().nullish(),
  fuse_unk: isSet,
  byte_fallback: isSet,
  ignore_merges: isSet,
});
const wordPieceShape = z.object({
  vocab: vocabulary,
  unk_token: z.string().default("[UNK]"),
  continuing_subword_prefix: z.string().default("##"),
  max_input_chars_per_word: z.int().positive().default(100),
});
const unigramShape = z.object({
  vocab: z.array(z.tuple([z.string(), z.number()])),
  unk_id: id.nullish(),
  byte_fallback: isSet,
});

/** Entries that stand for bytes where the model falls back to them: no text arrives at them by its letters. */
function byteIds(entries: Iterable<readonly [string, number]>, byteFallback: boolean): ReadonlySet<number> {
  const ids = new Set<number>();
  if (byteFallback) for (const [entry, id] of entries) if (byteOfEntry(entry) !== undefined) ids.add(id);
  return ids;
}

const models: Readonly<Record<string, (model: unknown, isBytes: boolean) => Model>> = {
  BPE: (json, isBytes) => {
    const model = parse(bpeShape, json, "tokenizer.json's BPE");
    for (const option of ["dropout", "continuing_subword_prefix", "end_of_word_suffix"] as const) {
      if (model[option])
        throw unsupported("an option of BPE", `model.${option} ${JSON.stringify(model[option])}`, "none");
    }
    const { vocab, fuse_unk: fusesUnknown, ignore_merges: ignoreMerges, byte_fallback } = model;
    const unknownId = model.unk_token == null ? undefined : needed(vocab, model.unk_token);
    const entries = Object.entries(vocab);
    return {
      settings: { kind: "bpe", units: isBytes ? "bytes" : "characters", ignoreMerges, unknownId, fusesUnknown },
      entries,
      idOf: (entry) => vocab[entry],
      unknownId,
      merges: model.merges.map(pairOf),
      unreachable: byteIds(entries, byte_fallback),
    };
  },
  WordPiece: (json, isBytes) => {
    if (isBytes) throw unsupported("a pre-tokenizer", "ByteLevel before a WordPiece");
    const model = parse(wordPieceShape, json, "tokenizer.json's WordPiece");
    const { vocab, continuing_subword_prefix: prefix, max_input_chars_per_word: longestWord } = model;
    const unknownId = needed(vocab, model.unk_token);
    return {
      settings: { kind: "word-piece", prefix, unknownId, longestWord },
      entries: Object.entries(vocab),
      idOf: (entry) => vocab[entry],
      unknownId,
      merges: [],
      unreachable: new Set(),
    };
  },
  Unigram: (json, isBytes) => {
    if (isBytes) throw unsupported("a pre-tokenizer", "ByteLevel before a Unigram");
    const { vocab, unk_id, byte_fallback } = parse(unigramShape, json, "tokenizer.json's Unigram");
    const entries = vocab.map(([entry], id) => [entry, id] as const);
    const ids = new Map(entries);
    const scores = vocab.map(([, score]) => score);
    const unknownId = unk_id ?? undefined;
    return {
      settings: { kind: "unigram", unknownId, unknownScore: unknownScore(scores), isFloat32: false },
      entries,
      idOf: (entry) => ids.get(entry),
      unknownId,
      merges: [],
      scores,
      unreachable: byteIds(entries, byte_fallback),
    };
  },
};

/** As in sentencepiece: ten below the least likely token. */
const unknownScore = (scores: readonly number[]): number =>
  scores.reduce((least, score) => Math.min(least, score), 0) - 10;

function needed(vocab: Readonly<Record<string, number>>, token: string): number {
  const id = Object.hasOwn(vocab, token) ? vocab[token] : undefined;
  if (id !== undefined) return id;
  throw new IroriError("bad-file", {
    what: "tokenizer.json names an unknown token that is not in its vocabulary",
    got: JSON.stringify(token),
    next: "fetch the file again from the source of the model",
  });
}

function addedTokens({ added_tokens: tokens }: TokenizerJson): AddedToken[] {
  return tokens.map((token) => ({
    id: token.id,
    text: token.content,
    control: token.special || isControlText(token.content),
    normalized: token.normalized,
    stripLeft: token.lstrip,
    stripRight: token.rstrip,
    singleWord: token.single_word,
  }));
}

/** Ids have holes at most where a few added tokens follow: an id far beyond the count is a broken file. */
function vocabularyOf(entries: Model["entries"], added: readonly AddedToken[]): (string | undefined)[] {
  const all = [...entries];
  const largest = [...all.map(([, id]) => id), ...added.map(({ id }) => id)].reduce((a, b) => Math.max(a, b), -1);
  const limit = (all.length + added.length) * 2 + 1024;
  if (largest >= limit) {
    throw new IroriError("bad-file", {
      what: `tokenizer.json gives an id far beyond its ${all.length + added.length} tokens`,
      got: largest,
      wanted: `below ${limit}`,
      next: "fetch the file again from the source of the model",
    });
  }
  const vocabulary = new Array<string | undefined>(largest + 1).fill(undefined);
  for (const [entry, id] of all) vocabulary[id] = entry;
  return vocabulary;
}

function pairOf(merge: string | [string, string], rank: number): readonly [string, string] {
  if (typeof merge !== "string") return merge;
  const [left, right, ...more] = merge.split(" ");
  if (left && right && more.length === 0) return [left, right];
  throw new IroriError("bad-file", {
    what: `merge ${rank} of tokenizer.json is not two tokens`,
    got: JSON.stringify(merge),
    wanted: '"a b"',
    next: "fetch the file again from the source of the model",
  });
}

const mapShape = z.object({ precompiled_charsmap: z.base64() });

/** sentencepiece's table of characters; at most one normalizer has one. */
function charsmapOf(nodes: readonly Part[]): Uint8Array | undefined {
  const tables = nodes.filter(({ type }) => type === "Precompiled");
  if (tables.length > 1) throw unsupported("a normalizer", `${tables.length} times Precompiled`, "once");
  const [table] = tables;
  if (table === undefined) return undefined;
  return Buffer.from(parse(mapShape, table, "the Precompiled in tokenizer.json").precompiled_charsmap, "base64");
}

/** The token that a single text begins or ends with. */
const firstOf = (frame: Frame | undefined): number | undefined => idIn(frame?.single[0]);
const lastOf = (frame: Frame | undefined): number | undefined => idIn(frame?.single.at(-1));
const idIn = (slot: Frame["single"][number] | undefined): number | undefined =>
  slot !== undefined && "ids" in slot ? slot.ids[0] : undefined;

function templateOf(template: z.infer<typeof configShape>["chat_template"]): string | undefined {
  if (template == null || typeof template === "string") return template ?? undefined;
  return template.find(({ name }) => name === "default")?.template;
}
