// Cuts text into the pieces that a model turns into tokens, by the steps of a pre-tokenizer; and the pre-tokenizers that
// GGUF files name (regular expressions as published in each model's tokenizer.json). Does not know tokens.
import { IroriError } from "../base/mod.ts";
import type { SplitBehavior, Step } from "./parts.ts";
import { translateRegex } from "./regular-expression.ts";

/** Pieces of a text; `isStart`: nothing stands before it. */
export type Cut = (text: string, isStart: boolean) => string[];

/** One function that applies all steps. */
export function compileSteps(steps: readonly Step[]): Cut {
  const cuts = steps.map(compileStep);
  return (text, isStart) => {
    let pieces = [text];
    let isFirst = isStart && text !== "";
    for (const cut of cuts) {
      const before = pieces;
      pieces = before.flatMap((piece, i) => cut.apply(piece, isFirst && i === 0));
      isFirst &&= cut.keepsStart(before[0] as string, pieces[0] ?? "");
    }
    return pieces;
  };
}

interface CompiledStep {
  readonly apply: Cut;
  /** Whether the first of the pieces that were made still begins where the piece did. */
  readonly keepsStart: (piece: string, first: string) => boolean;
}

const always = () => true;

function compileStep(step: Step): CompiledStep {
  if (step.kind === "replace") return { apply: (piece) => [piece.replaceAll(step.from, step.to)], keepsStart: always };
  if (step.kind === "prepend") {
    const { text, to } = step;
    const apply: Cut = (piece, isStart) => [
      piece.startsWith(text) || (to === "first" && !isStart) ? piece : text + piece,
    ];
    return { apply, keepsStart: always };
  }
  const regex = new RegExp(step.pattern, "gu");
  const gather = behaviors[step.behavior];
  return {
    apply: (piece) => gather(stretches(piece, regex, step.invert)),
    keepsStart: (piece, first) => first !== "" && piece.startsWith(first),
  };
}

/** A part of a piece that the pattern matches, or that lies between matches. */
interface Stretch {
  readonly text: string;
  readonly isMatch: boolean;
}

function stretches(text: string, regex: RegExp, invert: boolean): Stretch[] {
  const all: Stretch[] = [];
  const add = (from: number, to: number, isMatch: boolean) => {
    if (to > from) all.push({ text: text.slice(from, to), isMatch: isMatch !== invert });
  };
  let end = 0;
  regex.lastIndex = 0;
  for (let found = regex.exec(text); found !== null; found = regex.exec(text)) {
    const length = found[0].length;
    add(end, found.index, false);
    end = found.index + length;
    add(found.index, end, true);
    if (length === 0) regex.lastIndex += (text.codePointAt(end) ?? 0) > 0xffff ? 2 : 1;
  }
  add(end, text.length, false);
  return all;
}

const behaviors: Readonly<Record<SplitBehavior, (all: readonly Stretch[]) => string[]>> = {
  isolated: (all) => all.map(({ text }) => text),
  removed: (all) => all.filter(({ isMatch }) => !isMatch).map(({ text }) => text),
  contiguous: (all) => joined(all, ({ isMatch }, before) => isMatch === before.isMatch),
  "merged-with-previous": (all) => joined(all, ({ isMatch }, before) => isMatch && !before.isMatch),
  "merged-with-next": (all) => joined(all, ({ isMatch }, before) => !isMatch && before.isMatch),
};

/** Stretches put to the one before them where `joins` says so. */
function joined(all: readonly Stretch[], joins: (stretch: Stretch, before: Stretch) => boolean): string[] {
  const pieces: string[] = [];
  for (const [i, stretch] of all.entries()) {
    const before = all[i - 1];
    if (before !== undefined && joins(stretch, before)) pieces[pieces.length - 1] += stretch.text;
    else pieces.push(stretch.text);
  }
  return pieces;
}

export const splitStep = (pattern: string, behavior: SplitBehavior = "isolated", invert = false): Step => {
  return { kind: "split", pattern, behavior, invert };
};
const isolated = (source: string): Step => splitStep(translateRegex(source));

/** Also what tokenizer.json's ByteLevel cuts by when `use_regex` is set. */
export const gpt2Step: Step = isolated(
  String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
);
/** tokenizer.json's Digits: every digit by itself, or runs of digits. */
export const digitStep: Step = splitStep("\\p{N}");
export const digitRunStep: Step = splitStep("\\p{N}", "contiguous");

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
