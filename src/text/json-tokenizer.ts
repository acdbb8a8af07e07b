// Reads a tokenizer out of Hugging Face's tokenizer.json and tokenizer_config.json: its model, vocabulary and tokens.
// Knows those two formats; what it cannot do exactly it refuses by name. Imported only when such a file is read (zod).
// Vocabulary and merges, nearly all of the file, stay where they lie in its bytes and are parsed entry by entry.
import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import { byteOfEntry } from "./byte-alphabet.ts";
import { type Decoding, decodingOf, frameOf } from "./json-decoder.ts";
import { JsonMembers } from "./json-members.ts";
import { flatten, isSet, type Part, parse, part, unsupported } from "./json-part.ts";
import { isByteLevel, normalStep, preTokenizerSteps } from "./json-steps.ts";
import {
  type AddedToken,
  type Entries,
  endIds,
  entriesOf,
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

/** From the bytes of tokenizer.json, and tokenizer_config.json parsed. */
export function partsFromJson(bytes: Uint8Array, tokenizerConfig: unknown = {}): TokenizerParts {
  try {
    return partsOf(bytes, tokenizerConfig);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new IroriError("bad-file", {
      what: "tokenizer.json is not JSON",
      got: error.message,
      next: "fetch the file again from the source of the model",
      cause: error,
    });
  }
}

function partsOf(bytes: Uint8Array, tokenizerConfig: unknown): TokenizerParts {
  const { rest, lists } = split(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  const file = parse(tokenizerShape, rest, "tokenizer.json");
  const config = parse(configShape, tokenizerConfig, "tokenizer_config.json");
  const cuts = flatten(file.pre_tokenizer, "pretokenizers");
  const isBytes = isByteLevel(cuts);
  const normalizers = flatten(file.normalizer, "normalizers");
  const model = modelOf(file, lists, isBytes);
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

/** What stays in the bytes; undefined where the file has none, or something else in its place. */
interface Lists {
  readonly vocab: JsonMembers | undefined;
  readonly merges: JsonMembers | undefined;
}

/** The file parsed, but for the lists of its model, which are null there. */
function split(bytes: Buffer): { readonly rest: unknown; readonly lists: Lists } {
  const [modelAt] = JsonMembers.at(bytes, 0)?.find("model") ?? [];
  const model = modelAt === undefined ? undefined : JsonMembers.at(bytes, modelAt);
  const [vocabAt, mergesAt] = [model?.find("vocab"), model?.find("merges")];
  const listAt = (place: Place | undefined) => place && JsonMembers.at(bytes, place[0]);
  const lists = { vocab: listAt(vocabAt), merges: listAt(mergesAt) };
  const cut = [lists.vocab && vocabAt, lists.merges && mergesAt].filter((place) => place !== undefined);
  let text = "";
  let at = 0;
  for (const [start, end] of cut.sort(([a], [b]) => a - b)) {
    text += `${bytes.toString("utf8", at, start)}null`;
    at = end;
  }
  return { rest: JSON.parse(text + bytes.toString("utf8", at)), lists };
}

type Place = readonly [start: number, end: number];

type Vocabulary = Entries<readonly [entry: string, id: number]>;

interface Model {
  readonly settings: ModelSettings;
  readonly entries: Vocabulary;
  readonly idOf: (entry: string) => number | undefined;
  readonly unknownId: number | undefined;
  readonly merges: TokenizerParts["merges"];
  readonly scores?: ArrayLike<number>;
  readonly unreachable: ReadonlySet<number>;
}

function modelOf(file: TokenizerJson, lists: Lists, isBytes: boolean): Model {
  // files of before 2020 name no type
  const type = file.model.type ?? ("merges" in file.model ? "BPE" : "WordPiece");
  const read = Object.hasOwn(models, type) ? models[type] : undefined;
  if (read === undefined)
    throw unsupported("a kind of model", `model.type ${JSON.stringify(type)}`, Object.keys(models).join(", "));
  return read(file.model, lists, isBytes);
}

const bpeShape = z.object({
  unk_token: z.string().nullish(),
  dropout: z.number().nullish(),
  continuing_subword_prefix: z.string().nullish(),
  end_of_word_suffix: z.string().nullish(),
  fuse_unk: isSet,
  byte_fallback: isSet,
  ignore_merges: isSet,
});
const wordPieceShape = z.object({
  unk_token: z.string().default("[UNK]"),
  continuing_subword_prefix: z.string().default("##"),
  max_input_chars_per_word: z.int().positive().default(100),
});
const unigramShape = z.object({ unk_id: id.nullish(), byte_fallback: isSet });

const models: Readonly<Record<string, (model: unknown, lists: Lists, isBytes: boolean) => Model>> = {
  BPE: (json, lists, isBytes) => {
    const model = parse(bpeShape, json, "tokenizer.json's BPE");
    for (const option of ["dropout", "continuing_subword_prefix", "end_of_word_suffix"] as const) {
      if (model[option])
        throw unsupported("an option of BPE", `model.${option} ${JSON.stringify(model[option])}`, "none");
    }
    const { fuse_unk: fusesUnknown, ignore_merges: ignoreMerges, byte_fallback } = model;
    const entries = entriesById(lists.vocab);
    const unknownId = model.unk_token == null ? undefined : needed(entries, model.unk_token);
    return {
      settings: { kind: "bpe", units: isBytes ? "bytes" : "characters", ignoreMerges, unknownId, fusesUnknown },
      entries,
      idOf: (entry) => idIn(entries, entry),
      unknownId,
      merges: mergesOf(lists.merges),
      unreachable: byteIds(entries, byte_fallback),
    };
  },
  WordPiece: (json, lists, isBytes) => {
    if (isBytes) throw unsupported("a pre-tokenizer", "ByteLevel before a WordPiece");
    const model = parse(wordPieceShape, json, "tokenizer.json's WordPiece");
    const { continuing_subword_prefix: prefix, max_input_chars_per_word: longestWord } = model;
    const entries = entriesById(lists.vocab);
    const unknownId = needed(entries, model.unk_token);
    return {
      settings: { kind: "word-piece", prefix, unknownId, longestWord },
      entries,
      idOf: (entry) => idIn(entries, entry),
      unknownId,
      merges: [],
      unreachable: new Set(),
    };
  },
  Unigram: (json, lists, isBytes) => {
    if (isBytes) throw unsupported("a pre-tokenizer", "ByteLevel before a Unigram");
    const { unk_id, byte_fallback } = parse(unigramShape, json, "tokenizer.json's Unigram");
    const { entries, scores } = entriesWithScores(lists.vocab);
    const unknownId = unk_id ?? undefined;
    return {
      settings: { kind: "unigram", unknownId, unknownScore: unknownScore(scores), isFloat32: false },
      entries,
      idOf: (entry) => idIn(entries, entry),
      unknownId,
      merges: [],
      scores,
      unreachable: byteIds(entries, byte_fallback),
    };
  },
};

function broken(what: string, got: unknown, wanted?: string): IroriError {
  const next = "fetch the file again from the source of the model";
  return new IroriError("bad-file", { what: `${what} of tokenizer.json`, got: JSON.stringify(got), wanted, next });
}

/** An object from entries to ids. */
function entriesById(vocab: JsonMembers | undefined): Vocabulary {
  if (!vocab?.isObject) throw broken("the vocabulary", vocab && "a list", "an object of ids");
  return entriesOf(vocab, (member) => {
    const [, id] = member as readonly [string, unknown];
    if (typeof id === "number" && Number.isSafeInteger(id) && id >= 0) return member as readonly [string, number];
    throw broken("an entry", member, "a token and its id");
  });
}

/** A list of entries with their scores, in the order of their ids. */
function entriesWithScores(vocab: JsonMembers | undefined) {
  if (vocab === undefined || vocab.isObject) throw broken("the vocabulary", vocab && "an object", "a list with scores");
  const pairs = entriesOf(vocab, (member) => {
    const [entry, score, ...more] = Array.isArray(member) ? (member as unknown[]) : [];
    if (typeof entry === "string" && typeof score === "number" && more.length === 0) return [entry, score] as const;
    throw broken("an entry", member, "a token and its score");
  });
  const scores = Float64Array.from({ length: pairs.length }, (_, i) => pairs.at(i)?.[1] ?? 0);
  const entries = entriesOf(pairs, ([entry], id) => [entry, id] as const);
  return { entries, scores };
}

function mergesOf(merges: JsonMembers | undefined): TokenizerParts["merges"] {
  if (merges === undefined || merges.isObject) throw broken("the merges", merges && "an object", "a list");
  return entriesOf(merges, pairOf);
}

function idIn(entries: Vocabulary, wanted: string): number | undefined {
  for (let i = 0; i < entries.length; i++) {
    const [entry, id] = entries.at(i) as readonly [string, number];
    if (entry === wanted) return id;
  }
  return undefined;
}

/** Entries that stand for bytes where the model falls back to them: no text arrives at them by its letters. */
function byteIds(entries: Vocabulary, byteFallback: boolean): ReadonlySet<number> {
  const ids = new Set<number>();
  for (let i = 0; byteFallback && i < entries.length; i++) {
    const [entry, id] = entries.at(i) as readonly [string, number];
    if (byteOfEntry(entry) !== undefined) ids.add(id);
  }
  return ids;
}

/** As in sentencepiece: ten below the least likely token. */
const unknownScore = (scores: Float64Array): number => scores.reduce((least, score) => Math.min(least, score), 0) - 10;

function needed(entries: Vocabulary, token: string): number {
  const id = idIn(entries, token);
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
function vocabularyOf(entries: Vocabulary, added: readonly AddedToken[]): TokenizerParts["vocabulary"] {
  let largest = added.reduce((most, { id }) => Math.max(most, id), -1);
  for (let i = 0; i < entries.length; i++) largest = Math.max(largest, entries.at(i)?.[1] ?? 0);
  const limit = (entries.length + added.length) * 2 + 1024;
  if (largest >= limit) {
    throw new IroriError("bad-file", {
      what: `tokenizer.json gives an id far beyond its ${entries.length + added.length} tokens`,
      got: largest,
      wanted: `below ${limit}`,
      next: "fetch the file again from the source of the model",
    });
  }
  const placeOf = new Int32Array(largest + 1).fill(-1);
  for (let i = 0; i < entries.length; i++) placeOf[entries.at(i)?.[1] ?? 0] = i;
  const at = (id: number): string | undefined => {
    const place = placeOf[id] ?? -1;
    return place < 0 ? undefined : entries.at(place)?.[0];
  };
  return { length: placeOf.length, at };
}

function pairOf(merge: unknown, rank: number): readonly [string, string] {
  const [left, right, ...more] = typeof merge === "string" ? merge.split(" ") : Array.isArray(merge) ? merge : [];
  if (typeof left === "string" && typeof right === "string" && left && right && more.length === 0) return [left, right];
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
const firstOf = (frame: Frame | undefined): number | undefined => idOfSlot(frame?.single[0]);
const lastOf = (frame: Frame | undefined): number | undefined => idOfSlot(frame?.single.at(-1));
const idOfSlot = (slot: Frame["single"][number] | undefined): number | undefined =>
  slot !== undefined && "ids" in slot ? slot.ids[0] : undefined;

function templateOf(template: z.infer<typeof configShape>["chat_template"]): string | undefined {
  if (template == null || typeof template === "string") return template ?? undefined;
  return template.find(({ name }) => name === "default")?.template;
}
