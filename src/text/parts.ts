// What a tokenizer is made of, as plain data: the readers of GGUF and tokenizer.json write it, the writer of the prepared
// form reads it. Knows neither of the two formats.

/** One step of a normalizer: what becomes of the text before it is cut into pieces. */
export type NormalStep =
  | { readonly kind: "unicode"; readonly form: "NFC" | "NFD" | "NFKC" | "NFKD" }
  /** Character by character: a sigma at a word's end is one like any other. */
  | { readonly kind: "lowercase" }
  /** White space at the ends goes. */
  | { readonly kind: "strip"; readonly left: boolean; readonly right: boolean }
  /** A regular expression and, in JavaScript's writing, what stands in its place. */
  | { readonly kind: "replace"; readonly pattern: string; readonly to: string }
  /** In front of every text that is not empty. */
  | { readonly kind: "prepend"; readonly text: string }
  /** sentencepiece's table (`TokenizerParts.charsmap`), applied to graphemes as in tokenizers or from place to place as in sentencepiece. */
  | { readonly kind: "charsmap"; readonly by: "grapheme" | "longest" };

/** What becomes of the matches of a split: pieces of their own, nothing, or parts of their neighbours. */
export type SplitBehavior = "isolated" | "removed" | "merged-with-previous" | "merged-with-next" | "contiguous";

/** One step of a pre-tokenizer, in order; every step works on the pieces of the step before. */
export type Step =
  /** `invert`: what lies between the matches is taken for the matches. */
  | { readonly kind: "split"; readonly pattern: string; readonly behavior: SplitBehavior; readonly invert: boolean }
  | { readonly kind: "replace"; readonly from: string; readonly to: string }
  /** A piece that does not begin with `text` gets it: every piece, or the one that begins the whole text. */
  | { readonly kind: "prepend"; readonly text: string; readonly to: "every" | "first" };

/** How pieces become ids. */
export type ModelSettings =
  /** Pairs merged by rank. Units are bytes in the byte-level alphabet, or characters (and bytes where a character is no token). */
  | {
      readonly kind: "bpe";
      readonly units: "bytes" | "characters";
      /** A piece that is a token as a whole is that token, whatever the merges would make of it. */
      readonly ignoreMerges: boolean;
      /** What stands for a unit without a token; absent: nothing. */
      readonly unknownId?: number | undefined;
      readonly fusesUnknown: boolean;
    }
  /** sentencepiece's BPE: neighbours whose text is a token, best score first. */
  | { readonly kind: "scored-bpe"; readonly unknownId: number | undefined }
  /** The longest token first; tokens inside a word begin with `prefix`. */
  | {
      readonly kind: "word-piece";
      readonly prefix: string;
      readonly unknownId: number;
      /** Longer words, in characters, are unknown. */
      readonly longestWord: number;
    }
  /** The likeliest sequence by the tokens' scores. */
  | {
      readonly kind: "unigram";
      readonly unknownId: number | undefined;
      readonly unknownScore: number;
      /** sentencepiece adds scores up in float32: of two ways that are equally likely another one may win. */
      readonly isFloat32: boolean;
    };

/** What a token's entry in the vocabulary becomes in a text, in this order; none: its bytes as they are. */
export type DecodeStep =
  | { readonly kind: "replace"; readonly from: string; readonly to: string }
  /** `<0x0A>` is that byte. */
  | { readonly kind: "bytes" }
  /** A space goes in front, but where the entry begins with `unless`, which then goes. */
  | { readonly kind: "space-before"; readonly unless: string | undefined }
  /** English as it is written: no space before a full stop, before `n't` … */
  | { readonly kind: "tidy" };

/** Spaces that are taken off the beginning of a whole text: at most `most`, of all of it or of its first token. */
export interface DecodeStart {
  readonly most: number;
  readonly of: "text" | "token";
}

/** What stands around one text or a pair: ids, or the place of the first or the second text; with its token type. */
export type FrameSlot =
  | { readonly ids: readonly number[]; readonly type: number }
  | { readonly text: 0 | 1; readonly type: number };

export interface Frame {
  readonly single: readonly FrameSlot[];
  readonly pair: readonly FrameSlot[];
}

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
  readonly normalizer: readonly NormalStep[];
  readonly steps: readonly Step[];
  readonly model: ModelSettings;
  readonly decoder: readonly DecodeStep[];
  readonly decodeStart: DecodeStart | undefined;
  readonly frame: Frame;
  /** Tokens that the model takes at most, those of the frame included, where the files say so. */
  readonly maxTokens: number | undefined;
  /** Jinja source of the chat template that came with the tokenizer. */
  readonly chatTemplate: string | undefined;
}

/** What an array is too, and a list whose entries are made when they are asked for. */
export interface Entries<T> {
  readonly length: number;
  /** undefined past the end. */
  at(index: number): T | undefined;
}

/** Entries that are made of others, each time one is asked for. */
export function entriesOf<T, U>(list: Entries<T>, make: (entry: T, index: number) => U): Entries<U> {
  const at = (index: number): U | undefined => {
    const entry = list.at(index);
    return entry === undefined ? undefined : make(entry, index);
  };
  return { length: list.length, at };
}

export interface TokenizerParts {
  readonly settings: TokenizerSettings;
  /** The model's vocabulary by id, in the byte-level alphabet where units are bytes; undefined where an id has no entry. */
  readonly vocabulary: Entries<string | undefined>;
  /** Pairs of vocabulary entries, best first ("bpe"). */
  readonly merges: Entries<readonly [string, string]>;
  /** By id ("scored-bpe", "unigram"). */
  readonly scores?: ArrayLike<number> | undefined;
  /** Ids that no text arrives at by its letters, beside control tokens: bytes, unused ones. */
  readonly unreachable?: ReadonlySet<number> | undefined;
  readonly charsmap?: Uint8Array | undefined;
  readonly added: readonly AddedToken[];
}

/** Texts that end a document or a turn in the published models; each counts only where it is a control token. */
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

/** Marks of a chat's turns, by which a text could speak for somebody else. */
const turnTexts = new Set([
  "<|im_start|>",
  "<start_of_turn>",
  "<|start_header_id|>",
  "<|end_header_id|>",
  "<|eot_id|>",
]);

/** Whether a token of this text is a control token, whatever its file says. (`</s>` is also HTML, and a token as such.) */
export const isControlText = (text: string): boolean => turnTexts.has(text) || (endTexts.has(text) && text !== "</s>");

/** The ids named as ends by the file, then the control tokens that are known to end a turn. */
export function endIds(named: readonly (number | undefined)[], added: readonly AddedToken[]): number[] {
  const ids = new Set(named.filter((id) => id !== undefined));
  for (const token of added) if (token.control && endTexts.has(token.text)) ids.add(token.id);
  return [...ids];
}

/** The frame of a model that wants a bos or an eos, or neither, around each text. */
export function plainFrame(bosId: number | undefined, eosId: number | undefined): Frame {
  const ids = (id: number | undefined, type: number): FrameSlot[] => (id === undefined ? [] : [{ ids: [id], type }]);
  const around = (text: 0 | 1): FrameSlot[] => [...ids(bosId, text), { text, type: text }, ...ids(eosId, text)];
  return { single: around(0), pair: [...around(0), ...around(1)] };
}
