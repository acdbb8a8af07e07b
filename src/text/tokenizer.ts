// Text to token ids and back over one prepared blob, whatever it was read from and whichever model it has.
// Does not know models of language, prompts or chats; `encode` never adds a bos by itself (`addsBos` says that one is
// wanted), `encodeFramed` puts around a text what the model was trained with.
import { IroriError } from "../base/mod.ts";
import { AddedTokenFinder, type Segment } from "./added-tokens.ts";
import { compileDecoder, trimStart } from "./decoder.ts";
import { type Framed, framed } from "./frame.ts";
import { partsFromGguf } from "./gguf-tokenizer.ts";
import { compileNormalizer, type Normalize } from "./normalizer.ts";
import type { AddedToken } from "./parts.ts";
import { Pieces } from "./pieces.ts";
import { type Cut, compileSteps } from "./pre-tokenizer.ts";
import { addedTokens, type Prepared, readPrepared, tokenOfBytes } from "./prepared.ts";
import { TokenStream } from "./token-stream.ts";
import { writePrepared } from "./write-prepared.ts";

export interface EncodeOptions {
  /** true: control tokens that are spelled out in the text become control tokens. Default: text stays text. */
  readonly control?: boolean;
  /** true: the text goes on with another one; a space that only the beginning of a text gets is not put in front. */
  readonly continues?: boolean;
}

export interface DecodeOptions {
  /** true: control tokens are shown. Default: they are left out. */
  readonly control?: boolean;
  /** true: the ids go on with a text; the space that the first token brings along is kept. */
  readonly continues?: boolean;
}

export interface FrameOptions extends Pick<EncodeOptions, "control"> {
  /** The second text of a pair (question and passage, premise and conclusion). */
  readonly pair?: string;
  /** Longest input in tokens, special tokens included; longer texts are cut at their ends. Default: the tokenizer's `maxTokens`. */
  readonly maxTokens?: number | undefined;
}

/** What tokenizer.json does not say but files beside it do. */
export interface TokenizerFacts {
  /** Overrides what tokenizer_config.json says. */
  readonly maxTokens?: number | undefined;
}

interface Finders {
  /** Looked for in the text as it is, then in what the normalizer made of the rest. */
  readonly raw: AddedTokenFinder;
  readonly normalized: AddedTokenFinder;
}

export class Tokenizer {
  readonly #prepared: Prepared;
  readonly #pieces: Pieces;
  readonly #spelled = new Map<number, Uint8Array>();
  #added: readonly AddedToken[] | undefined;
  #controlIds: ReadonlySet<number> | undefined;
  #normalize: Normalize | undefined;
  #cut: Cut | undefined;
  #decode: ((entry: string) => Uint8Array) | undefined;
  #withControl: Finders | undefined;
  #withoutControl: Finders | undefined;
  #controlOnly: AddedTokenFinder | undefined;

  private constructor(prepared: Prepared) {
    this.#prepared = prepared;
    this.#pieces = new Pieces(prepared);
  }

  /** From the `tokenizer.*` keys of a GGUF file. Throws "unsupported" or "bad-file". */
  static fromGguf(metadata: ReadonlyMap<string, unknown>): Tokenizer {
    return Tokenizer.open(writePrepared(partsFromGguf(metadata)));
  }

  /** From the bytes of Hugging Face's tokenizer.json and, where there is one, tokenizer_config.json (parsed). Throws "unsupported" or "bad-file". */
  static async fromTokenizerJson(
    json: Uint8Array,
    tokenizerConfig?: unknown,
    facts: TokenizerFacts = {},
  ): Promise<Tokenizer> {
    const { partsFromJson } = await import("./json-tokenizer.ts");
    const { settings, ...parts } = partsFromJson(json, tokenizerConfig);
    const maxTokens = facts.maxTokens ?? settings.maxTokens;
    return Tokenizer.open(writePrepared({ ...parts, settings: { ...settings, maxTokens } }));
  }

  /** From what `prepare` gave; the bytes are viewed, not copied, and must not change. Throws "bad-file". */
  static open(bytes: Uint8Array): Tokenizer {
    return new Tokenizer(readPrepared(bytes));
  }

  /** The form that opens in milliseconds. */
  prepare(): Uint8Array {
    return this.#prepared.bytes;
  }

  get vocabSize(): number {
    return this.#prepared.tokenOffsets.length - 1;
  }
  /** The token in front of a text: a decoder's beginning of text, an encoder's [CLS] or <s>. */
  get bosId(): number | undefined {
    return this.#prepared.settings.bosId;
  }
  /** Every id that ends a text or a turn. */
  get eosIds(): readonly number[] {
    return this.#prepared.settings.eosIds;
  }
  get unknownId(): number | undefined {
    return this.#prepared.settings.unknownId;
  }
  /** What fills shorter rows of a batch; masked, so any id would do where it is undefined. */
  get padId(): number | undefined {
    return this.#prepared.settings.padId;
  }
  /** The model expects `bosId` before a text that is not a chat. */
  get addsBos(): boolean {
    return this.#prepared.settings.addsBos;
  }
  /** The model expects an end after a text (embedding models). */
  get addsEos(): boolean {
    return this.#prepared.settings.addsEos;
  }
  /** Tokens of the longest input, special tokens included, as the files give it (sentence-transformers' max_seq_length first). */
  get maxTokens(): number | undefined {
    return this.#prepared.settings.maxTokens;
  }
  /** Jinja source of the chat template that came with the tokenizer. */
  get chatTemplate(): string | undefined {
    return this.#prepared.settings.chatTemplate;
  }
  /** Texts of the control tokens. */
  get controlTexts(): readonly string[] {
    return this.#addedTokens.filter((token) => token.control).map((token) => token.text);
  }

  /**
   * Ids of a text, without special tokens around it. A lone surrogate counts as U+FFFD; what the vocabulary has no token
   * for becomes its unknown token, or is left out where it has none.
   */
  encode(text: string, { control = false, continues = false }: EncodeOptions = {}): number[] {
    const finders = this.#finders(control);
    const ids: number[] = [];
    let isStart = !continues;
    for (const segment of finders.raw.cut(text.toWellFormed())) {
      if (typeof segment !== "string") ids.push(segment.id);
      else this.#encodeSegments(finders.normalized.cut(this.#normal(segment)), isStart, ids);
      isStart = false;
    }
    return ids;
  }

  /**
   * The whole input of a model that reads texts (an encoder, a reranker): ids with the special tokens that it was trained
   * with, `[CLS] text [SEP]`, `[CLS] text [SEP] pair [SEP]`, `<s> text </s></s> pair </s>` or whatever the files say, cut
   * to `maxTokens`. For batches, fill shorter rows with `padId` and mask them. Throws "bad-input" where not even the special tokens fit.
   */
  encodeFramed(text: string, { pair, maxTokens = this.maxTokens, ...options }: FrameOptions = {}): Framed {
    const first = this.encode(text, options);
    const { frame } = this.#prepared.settings;
    return framed(frame, pair === undefined ? [first] : [first, this.encode(pair, options)], maxTokens);
  }

  /** The same of a text's ids. */
  frame(ids: readonly number[], maxTokens = this.maxTokens): Framed {
    return framed(this.#prepared.settings.frame, [ids], maxTokens);
  }

  #encodeSegments(segments: readonly Segment[], isStart: boolean, ids: number[]): void {
    this.#cut ??= compileSteps(this.#prepared.settings.steps);
    for (const [i, segment] of segments.entries()) {
      if (typeof segment !== "string") ids.push(segment.id);
      else for (const piece of this.#cut(segment, isStart && i === 0)) this.#pieces.append(piece, ids);
    }
  }

  #normal(text: string): string {
    const { settings, charsmap } = this.#prepared;
    this.#normalize ??= compileNormalizer(settings.normalizer, charsmap);
    return this.#normalize(text);
  }

  /** The text cut at its control tokens: their ids, and the stretches between as they are. */
  cutAtControl(text: string): (number | string)[] {
    this.#controlOnly ??= new AddedTokenFinder(this.#addedTokens.filter((token) => token.control));
    return this.#controlOnly.cut(text).map((segment) => (typeof segment === "string" ? segment : segment.id));
  }

  /** Text of ids; bytes that are not UTF-8 become U+FFFD. Throws "bad-input" for an id outside the vocabulary. */
  decode(ids: readonly number[] | Int32Array, { control = false, continues = false }: DecodeOptions = {}): string {
    const shown = control ? [...ids] : [...ids].filter((id) => !this.isControl(id));
    const all = shown.map((id) => this.bytesOf(id, { control: true }));
    const pieces = continues ? all : trimStart(all, this.#prepared.settings.decodeStart);
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Buffer.concat(pieces));
  }

  /**
   * The bytes that an id adds to a text that has begun (a view; do not write); nothing for control tokens, unless asked.
   * Throws "bad-input" for an id outside the vocabulary.
   */
  bytesOf(id: number, { control = false }: Pick<DecodeOptions, "control"> = {}): Uint8Array {
    if (!Number.isInteger(id) || id < 0 || id >= this.vocabSize) {
      throw new IroriError("bad-input", {
        what: "a token id is outside the vocabulary",
        got: id,
        wanted: `a whole number from 0 to ${this.vocabSize - 1}`,
        next: "decode ids with the tokenizer of the model that made them",
      });
    }
    const { tokenBytes, tokenOffsets, settings } = this.#prepared;
    if (!control && this.isControl(id)) return tokenBytes.subarray(0, 0);
    const entry = tokenBytes.subarray(tokenOffsets[id], tokenOffsets[id + 1]);
    if (settings.decoder.length === 0) return entry;
    const known = this.#spelled.get(id);
    if (known !== undefined) return known;
    this.#decode ??= compileDecoder(settings.decoder);
    const spelled = this.#decode(new TextDecoder("utf-8", { ignoreBOM: true }).decode(entry));
    this.#spelled.set(id, spelled);
    return spelled;
  }

  isControl(id: number): boolean {
    this.#controlIds ??= new Set(this.#addedTokens.filter((token) => token.control).map((token) => token.id));
    return this.#controlIds.has(id);
  }

  /** One token by itself, control tokens too; a part of a character shows as U+FFFD. */
  tokenText(id: number): string {
    return this.decode([id], { control: true, continues: true });
  }

  /** The id of the ordinary token that adds exactly this text, undefined where it takes several. */
  idOf(text: string): number | undefined {
    const bytes = new TextEncoder().encode(text);
    for (const entry of this.#entriesOf(text)) {
      const id = tokenOfBytes(this.#prepared, entry, 0, entry.length);
      if (id >= 0 && Buffer.from(this.bytesOf(id)).equals(bytes)) return id;
    }
    return undefined;
  }

  /** How a text may be written in the vocabulary: as it is, or as some step of the decoder would have it. */
  #entriesOf(text: string): Uint8Array[] {
    const { decoder } = this.#prepared.settings;
    const written = decoder.flatMap((step) => {
      if (step.kind === "replace") return [text.replaceAll(step.to, step.from)];
      if (step.kind === "space-before") return [text.slice(1), (step.unless ?? "") + text];
      return [];
    });
    return [text, ...written].map((entry) => new TextEncoder().encode(entry));
  }

  /** Decodes ids as they come, whole characters only; they go on with a text. */
  stream(options: Pick<DecodeOptions, "control"> = {}): TokenStream {
    return new TokenStream((id) => this.bytesOf(id, options));
  }

  get #addedTokens(): readonly AddedToken[] {
    this.#added ??= addedTokens(this.#prepared);
    return this.#added;
  }

  #finders(control: boolean): Finders {
    if (control) {
      this.#withControl ??= this.#makeFinders(this.#addedTokens);
      return this.#withControl;
    }
    this.#withoutControl ??= this.#makeFinders(this.#addedTokens.filter((token) => !token.control));
    return this.#withoutControl;
  }

  #makeFinders(tokens: readonly AddedToken[]): Finders {
    return {
      raw: new AddedTokenFinder(tokens.filter((token) => !token.normalized)),
      normalized: new AddedTokenFinder(
        tokens.filter((token) => token.normalized).map((token) => ({ ...token, text: this.#normal(token.text) })),
      ),
    };
  }
}
