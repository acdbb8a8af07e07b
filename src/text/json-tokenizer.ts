// Reads a byte-level BPE tokenizer out of Hugging Face's tokenizer.json and tokenizer_config.json.
// Knows those two formats; what it cannot do exactly it refuses by name. Imported only when such a file is read (zod).
import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import { type AddedToken, endIds, type Step, type TokenizerParts } from "./parts.ts";
import { digitRunStep, digitStep, gpt2Step } from "./pre-tokenizer.ts";
import { translateRegex } from "./regular-expression.ts";

const isSet = z.boolean().default(false);
const part = z.looseObject({ type: z.string() });
type Part = z.infer<typeof part>;

const tokenizerShape = z.object({
  added_tokens: z
    .array(
      z.object({
        id: z.int().nonnegative(),
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
  model: z.object({
    type: z.string().default("BPE"),
    vocab: z.unknown(),
    merges: z.unknown(),
    dropout: z.number().nullish(),
    continuing_subword_prefix: z.string().nullish(),
    end_of_word_suffix: z.string().nullish(),
    byte_fallback: isSet,
    ignore_merges: isSet,
  }),
});
type TokenizerJson = z.infer<typeof tokenizerShape>;

const bpeShape = z.object({
  vocab: z.record(z.string(), z.int().nonnegative()),
  merges: z.array(z.union([z.string(), z.tuple([z.string(), z.string()])])),
});

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
  chat_template: z.union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))]).nullish(),
});

export function partsFromJson(json: unknown, tokenizerConfig: unknown = {}): TokenizerParts {
  const file = parse(tokenizerShape, json, "tokenizer.json");
  const config = parse(configShape, tokenizerConfig, "tokenizer_config.json");
  checkModel(file.model);
  const bpe = parse(bpeShape, file.model, "tokenizer.json");
  checkDecoder(file.decoder);
  const added = addedTokens(file);
  const frame = frameOf(file.post_processor);
  const idOf = (text: string | null | undefined): number | undefined =>
    text == null ? undefined : (added.find((token) => token.text === text)?.id ?? bpe.vocab[text]);
  return {
    vocabulary: vocabularyOf(bpe.vocab, added),
    merges: bpe.merges.map(pairOf),
    added,
    settings: {
      bosId: idOf(config.bos_token) ?? idOf(frame.before),
      eosIds: endIds([idOf(config.eos_token)], added),
      unknownId: idOf(config.unk_token),
      padId: idOf(config.pad_token),
      addsBos: config.add_bos_token ?? frame.before !== undefined,
      addsEos: config.add_eos_token ?? frame.after !== undefined,
      normalizer: normalizerOf(file.normalizer),
      steps: stepsOf(file.pre_tokenizer),
      ignoreMerges: file.model.ignore_merges,
      chatTemplate: templateOf(config.chat_template),
    },
  };
}

function parse<T>(shape: z.ZodType<T>, value: unknown, name: string): T {
  const result = shape.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new IroriError("bad-file", {
    what: `${name} is not what its name says`,
    got: `at ${issue?.path.join(".") || "the top"}: ${issue?.message}`,
    next: "fetch the file again from the source of the model",
    cause: result.error,
  });
}

function unsupported(what: string, got: string, wanted?: string): IroriError {
  return new IroriError("unsupported", {
    what: `tokenizer.json has ${what} that Irori does not run`,
    got,
    wanted,
    next: "use a model with a byte-level BPE tokenizer",
  });
}

function checkModel(model: TokenizerJson["model"]): void {
  if (model.type !== "BPE") throw unsupported("a kind of model", `model.type ${JSON.stringify(model.type)}`, '"BPE"');
  if (model.byte_fallback) throw unsupported("an option of BPE", "model.byte_fallback true", "false");
  for (const option of ["dropout", "continuing_subword_prefix", "end_of_word_suffix"] as const) {
    if (model[option])
      throw unsupported("an option of BPE", `model.${option} ${JSON.stringify(model[option])}`, "none");
  }
}

function checkDecoder(decoder: Part | null | undefined): void {
  if (decoder == null || decoder.type === "ByteLevel") return;
  throw unsupported("a decoder", JSON.stringify(decoder.type), '"ByteLevel"');
}

function addedTokens({ added_tokens: tokens }: TokenizerJson): AddedToken[] {
  return tokens.map((token) => ({
    id: token.id,
    text: token.content,
    control: token.special,
    normalized: token.normalized,
    stripLeft: token.lstrip,
    stripRight: token.rstrip,
    singleWord: token.single_word,
  }));
}

/** Ids have holes at most where a few added tokens follow: an id far beyond the count is a broken file. */
function vocabularyOf(vocab: Readonly<Record<string, number>>, added: readonly AddedToken[]): (string | undefined)[] {
  const entries = Object.entries(vocab);
  const largest = [...entries.map(([, id]) => id), ...added.map(({ id }) => id)].reduce((a, b) => Math.max(a, b), -1);
  const limit = (entries.length + added.length) * 2 + 1024;
  if (largest >= limit) {
    throw new IroriError("bad-file", {
      what: `tokenizer.json gives an id far beyond its ${entries.length + added.length} tokens`,
      got: largest,
      wanted: `below ${limit}`,
      next: "fetch the file again from the source of the model",
    });
  }
  const vocabulary = new Array<string | undefined>(largest + 1).fill(undefined);
  for (const [entry, id] of entries) vocabulary[id] = entry;
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

function normalizerOf(node: Part | null | undefined): "NFC" | undefined {
  if (node == null) return undefined;
  if (node.type === "NFC") return "NFC";
  if (node.type === "Sequence") {
    const kinds = childrenOf(node, "normalizers").map(normalizerOf);
    return kinds.find((kind) => kind !== undefined);
  }
  throw unsupported("a normalizer", JSON.stringify(node.type), '"NFC" or none');
}

function childrenOf(node: Part, key: string): Part[] {
  return parse(z.array(part), node[key], `the ${node.type}'s ${key} in tokenizer.json`);
}

/** The steps of the pre-tokenizer; ByteLevel has to be the last one. */
function stepsOf(node: Part | null | undefined): Step[] {
  const nodes = node == null ? [] : flatten(node);
  const byteLevel = nodes.findIndex(({ type }) => type === "ByteLevel");
  const last = nodes.at(-1);
  if (byteLevel < 0 || byteLevel !== nodes.length - 1) {
    const got = last === undefined ? "none" : JSON.stringify(nodes.map(({ type }) => type));
    throw unsupported("a pre-tokenizer", got, '"ByteLevel" as its last step');
  }
  return nodes.flatMap((step) => {
    const read = stepReaders[step.type];
    if (read === undefined) {
      throw unsupported("a pre-tokenizer", JSON.stringify(step.type), Object.keys(stepReaders).join(", "));
    }
    return read(step);
  });
}

const flatten = (node: Part): Part[] =>
  node.type === "Sequence" ? childrenOf(node, "pretokenizers").flatMap(flatten) : [node];

const splitShape = z.object({
  pattern: z.union([z.object({ Regex: z.string() }), z.object({ String: z.string() })]),
  behavior: z.string(),
  invert: isSet,
});
const byteLevelShape = z.object({ add_prefix_space: z.boolean().default(true), use_regex: z.boolean().default(true) });
const digitsShape = z.object({ individual_digits: isSet });

const stepReaders: Readonly<Record<string, (node: Part) => Step[]>> = {
  Split: (node) => {
    const { pattern, behavior, invert } = parse(splitShape, node, "the Split in tokenizer.json");
    if (behavior !== "Isolated" && behavior !== "Removed") {
      throw unsupported("a Split", `behavior ${JSON.stringify(behavior)}`, '"Isolated" or "Removed"');
    }
    const source =
      "Regex" in pattern ? translateRegex(pattern.Regex) : pattern.String.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
    const removed = invert ? "matches" : "gaps";
    return [{ kind: "split", pattern: source, keep: behavior === "Isolated" ? "all" : removed }];
  },
  Digits: (node) => [
    parse(digitsShape, node, "the Digits in tokenizer.json").individual_digits ? digitStep : digitRunStep,
  ],
  ByteLevel: (node) => {
    const { add_prefix_space, use_regex } = parse(byteLevelShape, node, "the ByteLevel in tokenizer.json");
    return [...(add_prefix_space ? [{ kind: "leading-space" } as const] : []), ...(use_regex ? [gpt2Step] : [])];
  },
};

interface Frame {
  readonly before: string | undefined;
  readonly after: string | undefined;
}

const templateShape = z.object({
  single: z.array(
    z.union([z.object({ SpecialToken: z.object({ id: z.string() }) }), z.object({ Sequence: z.unknown() })]),
  ),
});
const robertaShape = z.object({ cls: z.tuple([z.string(), z.int()]), sep: z.tuple([z.string(), z.int()]) });

/** The control tokens that a single text is put between. */
function frameOf(node: Part | null | undefined): Frame {
  if (node == null || node.type === "ByteLevel") return { before: undefined, after: undefined };
  if (node.type === "Sequence") {
    const frames = childrenOf(node, "processors").map(frameOf);
    const one = (side: keyof Frame): string | undefined => frames.find((frame) => frame[side] !== undefined)?.[side];
    return { before: one("before"), after: one("after") };
  }
  if (node.type === "RobertaProcessing") {
    const { cls, sep } = parse(robertaShape, node, "the RobertaProcessing in tokenizer.json");
    return { before: cls[0], after: sep[0] };
  }
  if (node.type !== "TemplateProcessing") throw unsupported("a post-processor", JSON.stringify(node.type));
  const { single } = parse(templateShape, node, "the TemplateProcessing in tokenizer.json");
  const names = single.map((item) => ("SpecialToken" in item ? item.SpecialToken.id : undefined));
  const sequence = names.indexOf(undefined);
  if (sequence < 0 || sequence > 1 || names.length - sequence > 2 || names.indexOf(undefined, sequence + 1) >= 0) {
    throw unsupported(
      "a TemplateProcessing",
      JSON.stringify(single),
      "at most one token before and one after the text",
    );
  }
  return { before: names[sequence - 1], after: names[sequence + 1] };
}

function templateOf(template: z.infer<typeof configShape>["chat_template"]): string | undefined {
  if (template == null || typeof template === "string") return template ?? undefined;
  return template.find(({ name }) => name === "default")?.template;
}
