// The normalizers and pre-tokenizers of a tokenizer.json as steps. Characters are told apart as by Hugging Face's
// tokenizers (its Rust crates' tables, asked character by character: test/goldens/make/tokenizer-characters.py).
import { z } from "zod";
import { isSet, type Part, parse, readPart, unsupported } from "./json-part.ts";
import { literalPattern, literalReplacement } from "./normalizer.ts";
import type { NormalStep, Step } from "./parts.ts";
import { digitRunStep, digitStep, gpt2Step, splitStep } from "./pre-tokenizer.ts";
import { translateRegex } from "./regular-expression.ts";

const nameIn = (node: Part): string => `the ${node.type} in tokenizer.json`;

const pattern = z.union([z.object({ Regex: z.string() }), z.object({ String: z.string() })]);
const patternOf = (of: z.infer<typeof pattern>): string =>
  "Regex" in of ? translateRegex(of.Regex) : literalPattern(of.String);

const bertShape = z.object({
  clean_text: z.boolean().default(true),
  handle_chinese_chars: z.boolean().default(true),
  strip_accents: z.boolean().nullish(),
  lowercase: z.boolean().default(true),
});
const replaceShape = z.object({ pattern, content: z.string() });
const stripShape = z.object({ strip_left: z.boolean().default(true), strip_right: z.boolean().default(true) });
const prependShape = z.object({ prepend: z.string() });

const removed = (pattern: string): NormalStep => ({ kind: "replace", pattern, to: "" });
const unicode = (form: "NFC" | "NFD" | "NFKC" | "NFKD") => (): NormalStep[] => [{ kind: "unicode", form }];

/** Chinese characters by the blocks that BERT puts spaces around. */
const ideographs =
  "[\\u{4e00}-\\u{9fff}\\u{3400}-\\u{4dbf}\\u{20000}-\\u{2a6df}\\u{2a700}-\\u{2b73f}\\u{2b740}-\\u{2b81f}\\u{2b920}-\\u{2ceaf}\\u{f900}-\\u{faff}\\u{2f800}-\\u{2fa1f}]";

const normalizers: Readonly<Record<string, (node: Part) => NormalStep[]>> = {
  NFC: unicode("NFC"),
  NFD: unicode("NFD"),
  NFKC: unicode("NFKC"),
  NFKD: unicode("NFKD"),
  Lowercase: () => [{ kind: "lowercase" }],
  StripAccents: () => [removed("\\p{M}+")],
  Strip: (node) => {
    const { strip_left: left, strip_right: right } = parse(stripShape, node, nameIn(node));
    return [{ kind: "strip", left, right }];
  },
  Prepend: (node) => [{ kind: "prepend", text: parse(prependShape, node, nameIn(node)).prepend }],
  Replace: (node) => {
    const replace = parse(replaceShape, node, nameIn(node));
    return [{ kind: "replace", pattern: patternOf(replace.pattern), to: literalReplacement(replace.content) }];
  },
  Precompiled: () => [{ kind: "charsmap", by: "grapheme" }],
  BertNormalizer: (node) => {
    const { clean_text, handle_chinese_chars, strip_accents, lowercase } = parse(bertShape, node, nameIn(node));
    return [
      ...(clean_text ? cleaning : []),
      ...(handle_chinese_chars ? [{ kind: "replace", pattern: ideographs, to: " $& " } as const] : []),
      ...((strip_accents ?? lowercase) ? [{ kind: "unicode", form: "NFD" } as const, removed("\\p{Mn}+")] : []),
      ...(lowercase ? [{ kind: "lowercase" } as const] : []),
    ];
  },
};

/** Control characters and what is no character go; every kind of white space becomes a space. */
const cleaning: readonly NormalStep[] = [
  removed("(?![\\t\\n\\r])[\\u{fffd}\\p{Cc}\\p{Cf}\\p{Co}]"),
  { kind: "replace", pattern: "\\p{White_Space}", to: " " },
];

export const normalStep = (node: Part): NormalStep[] => readPart(normalizers, node, "a normalizer");

const splitShape = z.object({
  pattern,
  behavior: z.enum(["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]),
  invert: isSet,
});
type Behavior = z.infer<typeof splitShape>["behavior"];
const behaviors = {
  Isolated: "isolated",
  Removed: "removed",
  MergedWithPrevious: "merged-with-previous",
  MergedWithNext: "merged-with-next",
  Contiguous: "contiguous",
} as const satisfies Record<Behavior, string>;
const byteLevelShape = z.object({ add_prefix_space: z.boolean().default(true), use_regex: z.boolean().default(true) });
const digitsShape = z.object({ individual_digits: isSet });
const punctuationShape = z.object({ behavior: splitShape.shape.behavior.default("Isolated") });
const delimiterShape = z.object({ delimiter: z.string() });
const metaspaceShape = z.object({
  replacement: z.string().default("▁"),
  prepend_scheme: z.enum(["always", "first", "never"]).optional(),
  add_prefix_space: z.boolean().optional(),
  split: z.boolean().default(true),
});

const punctuation = "[!-/:-@\\[-`{-~\\p{P}]";
const spaces = splitStep("\\p{White_Space}", "removed");

const preTokenizers: Readonly<Record<string, (node: Part) => Step[]>> = {
  Split: (node) => {
    const { pattern, behavior, invert } = parse(splitShape, node, nameIn(node));
    return [splitStep(patternOf(pattern), behaviors[behavior], invert)];
  },
  Digits: (node) => [parse(digitsShape, node, nameIn(node)).individual_digits ? digitStep : digitRunStep],
  ByteLevel: (node) => {
    const { add_prefix_space, use_regex } = parse(byteLevelShape, node, nameIn(node));
    const prefix: Step[] = add_prefix_space ? [{ kind: "prepend", text: " ", to: "every" }] : [];
    return [...prefix, ...(use_regex ? [gpt2Step] : [])];
  },
  BertPreTokenizer: () => [spaces, splitStep(punctuation)],
  Whitespace: () => [
    splitStep(
      "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200c\\u200d]+|[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200c\\u200d\\p{White_Space}]+",
      "removed",
      true,
    ),
  ],
  WhitespaceSplit: () => [spaces],
  Punctuation: (node) => [splitStep(punctuation, behaviors[parse(punctuationShape, node, nameIn(node)).behavior])],
  CharDelimiterSplit: (node) => [
    splitStep(literalPattern(parse(delimiterShape, node, nameIn(node)).delimiter), "removed"),
  ],
  Metaspace: (node) => {
    const { replacement, prepend_scheme, add_prefix_space, split } = parse(metaspaceShape, node, nameIn(node));
    const scheme = prepend_scheme ?? (add_prefix_space === false ? "never" : "always");
    return [
      { kind: "replace", from: " ", to: replacement },
      ...(scheme === "never"
        ? []
        : [{ kind: "prepend", text: replacement, to: scheme === "first" ? "first" : "every" } as const]),
      ...(split ? [splitStep(literalPattern(replacement), "merged-with-next")] : []),
    ];
  },
};

export const preTokenizerSteps = (node: Part): Step[] => readPart(preTokenizers, node, "a pre-tokenizer");

/** Whether pieces are written in the byte-level alphabet; ByteLevel has to come last then. */
export function isByteLevel(nodes: readonly Part[]): boolean {
  const at = nodes.findIndex(({ type }) => type === "ByteLevel");
  if (at >= 0 && at !== nodes.length - 1)
    throw unsupported("a pre-tokenizer", JSON.stringify(nodes.map(({ type }) => type)), '"ByteLevel" as its last step');
  return at >= 0;
}
