// What a byte-level BPE tokenizer is made of, as plain data: the readers of GGUF and tokenizer.json write it, the
// writer of the prepared form reads it. Knows neither of the two formats.

/** One step of a pre-tokenizer, in order; every step works on the pieces of the step before. */
export type Step =
  /** Matches and what lies between them become pieces of their own; `matches` keeps the matches only. */
  | { readonly kind: "split"; readonly pattern: string; readonly keep: "all" | "matches" | "gaps" }
  /** A piece that does not begin with a space gets one. */
  | { readonly kind: "leading-space" };

/** A token that is recognised in text as a whole, before pre-tokenizing. */
export interface AddedToken {
  readonly id: number;
  readonly text: string;
  /** A control token: text becomes one only where the caller says so, and decoding shows it only when asked. */
  readonly control: boolean;
  /** Looked for after the normalizer has run, in what the other added tokens left. */
  readonly normalized: boolean;
  /** Swallows white space before (left) and after (right). */
  readonly stripLeft: boolean;
  readonly stripRight: boolean;
  /** Recognised only where no word character touches it. */
  readonly singleWord: boolean;
}

export interface TokenizerSettings {
  readonly bosId: number | undefined;
  readonly eosIds: readonly number[];
  readonly unknownId: number | undefined;
  readonly padId: number | undefined;
  readonly addsBos: boolean;
  readonly addsEos: boolean;
  readonly normalizer: "NFC" | undefined;
  readonly steps: readonly Step[];
  /** A piece that is a token as a whole is that token, whatever the merges would make of it. */
  readonly ignoreMerges: boolean;
  /** Jinja source of the chat template that came with the tokenizer. */
  readonly chatTemplate: string | undefined;
}

export interface TokenizerParts {
  readonly settings: TokenizerSettings;
  /** The model's vocabulary by id, in the byte-level alphabet; undefined where an id has no entry. */
  readonly vocabulary: readonly (string | undefined)[];
  /** Pairs of vocabulary entries, best first. */
  readonly merges: readonly (readonly [string, string])[];
  readonly added: readonly AddedToken[];
}

/** Texts that end a document or a turn in the published models; each counts only where it is an added token. */
const endTexts = new Set([
  "<|im_end|>",
  "<|eot_id|>",
  "<|eom_id|>",
  "<|end|>",
  "<|endoftext|>",
  "<|end_of_text|>",
  "<|end_of_turn|>",
  "<end_of_turn>",
  "<|eot|>",
  "<EOT>",
  "<|EOT|>",
  "<|return|>",
  "</s>",
]);

/** The ids named as ends by the file, then the added tokens that are known to end a turn. */
export function endIds(named: readonly (number | undefined)[], added: readonly AddedToken[]): number[] {
  const ids = new Set(named.filter((id) => id !== undefined));
  for (const token of added) if (endTexts.has(token.text)) ids.add(token.id);
  return [...ids];
}
