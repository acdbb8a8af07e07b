// Cuts text into the pieces inside which BPE merges, by the steps of a pre-tokenizer; and the named pre-tokenizers of
// GGUF files (regular expressions as published in each model's tokenizer.json). Does not know tokens.
import { IroriError } from "../base/mod.ts";
import type { Step } from "./parts.ts";
import { translateRegex } from "./regular-expression.ts";

export type Cut = (text: string) => string[];

/** One function that applies all steps. */
export function compileSteps(steps: readonly Step[]): Cut {
  const cuts = steps.map(compileStep);
  return (text) => {
    let pieces = [text];
    for (const cut of cuts) pieces = pieces.flatMap(cut);
    return pieces;
  };
}

function compileStep(step: Step): Cut {
  if (step.kind === "leading-space") return (piece) => [piece.startsWith(" ") ? piece : ` ${piece}`];
  const regex = new RegExp(step.pattern, "gu");
  return (piece) => split(piece, regex, step.keep);
}

function split(text: string, regex: RegExp, keep: "all" | "matches" | "gaps"): string[] {
  const pieces: string[] = [];
  let end = 0;
  regex.lastIndex = 0;
  for (let found = regex.exec(text); found !== null; found = regex.exec(text)) {
    const match = found[0];
    if (found.index > end && keep !== "matches") pieces.push(text.slice(end, found.index));
    if (match.length > 0 && keep !== "gaps") pieces.push(match);
    end = found.index + match.length;
    if (match.length === 0) regex.lastIndex += (text.codePointAt(end) ?? 0) > 0xffff ? 2 : 1;
  }
  if (end < text.length && keep !== "matches") pieces.push(text.slice(end));
  return pieces;
}

const isolated = (source: string): Step => ({ kind: "split", pattern: translateRegex(source), keep: "all" });

/** Also what tokenizer.json's ByteLevel cuts by when `use_regex` is set. */
export const gpt2Step: Step = isolated(
  String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
);
/** tokenizer.json's Digits: every digit by itself, or runs of digits. */
export const digitStep: Step = isolated(String.raw`\p{N}`);
export const digitRunStep: Step = isolated(String.raw`\p{N}+`);

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const spaces = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`;
const word = String.raw`[^\r\n\p{L}\p{N}]?\p{L}+`;
const symbols = String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*`;
const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const casedWord = (suffix: string): string =>
  String.raw`[^\r\n\p{L}\p{N}]?${upper}*${lower}+${suffix}|[^\r\n\p{L}\p{N}]?${upper}+${lower}*${suffix}`;
const asciiPunctuation = String.raw`[!-\/:-@\[-\x60{-~]`;
const casedSymbols = String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]*`;

interface NamedPreTokenizer {
  readonly names: readonly string[];
  readonly steps: () => Step[];
  readonly normalizer?: "NFC";
  readonly ignoreMerges?: boolean;
  /** What `add_bos_token` is where the file does not say. */
  readonly addsBos?: boolean;
}

/** By the value of `tokenizer.ggml.pre`. */
const namedPreTokenizers: readonly NamedPreTokenizer[] = [
  { names: ["default", "gpt-2", "gpt2", "mpt", "olmo", "jais", "phi-2", "roberta-bpe"], steps: () => [gpt2Step] },
  {
    names: ["smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b"],
    steps: () => [digitStep, gpt2Step],
  },
  { names: ["command-r"], normalizer: "NFC", steps: () => [digitStep, gpt2Step] },
  {
    names: ["llama-bpe", "llama3", "llama-v3"],
    ignoreMerges: true,
    addsBos: true,
    steps: () => [isolated(String.raw`${contractions}|${word}|\p{N}{1,3}|${symbols}|${spaces}`)],
  },
  {
    names: ["dbrx", "smaug-bpe", "chatglm-bpe", "glm4"],
    steps: () => [isolated(String.raw`${contractions}|${word}|\p{N}{1,3}|${symbols}|${spaces}`)],
  },
  {
    names: ["qwen2", "deepseek-r1-qwen"],
    normalizer: "NFC",
    steps: () => [isolated(String.raw`${contractions}|${word}|\p{N}|${symbols}|${spaces}`)],
  },
  {
    names: ["stablelm2"],
    steps: () => [isolated(String.raw`${contractions}|${word}|\p{N}|${symbols}|${spaces}`)],
  },
  {
    names: ["tekken"],
    ignoreMerges: true,
    addsBos: true,
    steps: () => [isolated(String.raw`${casedWord("")}|\p{N}|${casedSymbols}|${spaces}`)],
  },
  {
    names: ["gpt-4o"],
    steps: () => [isolated(String.raw`${casedWord(`${contractions}?`)}|\p{N}{1,3}|${casedSymbols}|${spaces}`)],
  },
  {
    names: ["deepseek-v3"],
    steps: () => [
      isolated(String.raw`\p{N}{1,3}`),
      isolated("[一-龥぀-ゟ゠-ヿ]+"),
      isolated(
        String.raw`${asciiPunctuation}[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|${spaces}`,
      ),
    ],
  },
];

/** The pre-tokenizer that GGUF files call `name`, or an "unsupported" sentence with the names that are known. */
export function preTokenizerNamed(name: string): NamedPreTokenizer {
  const found = namedPreTokenizers.find((entry) => entry.names.includes(name));
  if (found !== undefined) return found;
  throw new IroriError("unsupported", {
    what: "the GGUF file names a pre-tokenizer that Irori does not know",
    got: JSON.stringify(name),
    wanted: `one of ${namedPreTokenizers.flatMap((entry) => entry.names).join(", ")}`,
    next: "use the model's Hugging Face folder instead, whose tokenizer.json spells its pre-tokenizer out",
  });
}
