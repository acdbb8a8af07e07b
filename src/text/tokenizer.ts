// Text to token ids and back, byte-level BPE, over one prepared blob whatever it was read from.
// Does not know models, prompts or chats; never adds a bos by itself (`addsBos` says that the model wants one).
import { IroriError } from "../base/mod.ts";
import { AddedTokenFinder, type Segment } from "./added-tokens.ts";
import { partsFromGguf } from "./gguf-tokenizer.ts";
import { Merger } from "./merge.ts";
import type { AddedToken } from "./parts.ts";
import { type Cut, compileSteps } from "./pre-tokenizer.ts";
import { addedTokens, type Prepared, readPrepared, tokenOfBytes, writePrepared } from "./prepared.ts";
import { TokenStream } from "./token-stream.ts";

export interface EncodeOptions {
  /** true: control tokens that are spelled out in the text become control tokens. Default: text stays text. */
  readonly control?: boolean;
}

export interface DecodeOptions {
  /** true: control tokens are shown. Default: they are left out. */
  readonly control?: boolean;
}

interface Finders {
  /** Looked for in the text as it is, then in what the normalizer made of the rest. */
  readonly raw: AddedTokenFinder;
  readonly normalized: AddedTokenFinder;
}

export class Tokenizer {
  readonly #prepared: Prepared;
  readonly #merger: Merger;
  #added: readonly AddedToken[] | undefined;
  #controlIds: ReadonlySet<number> | undefined;
  #cut: Cut | undefined;
  #withControl: Finders | undefined;
  #withoutControl: Finders | undefined;
  #controlOnly: AddedTokenFinder | undefined;

  private constructor(prepared: Prepared) {
    this.#prepared = prepared;
    this.#merger = new Merger(prepared);
  }

  /** From the `tokenizer.*` keys of a GGUF file. Throws "unsupported" or "bad-file". */
  static fromGguf(metadata: ReadonlyMap<string, unknown>): Tokenizer {
    return Tokenizer.open(writePrepared(partsFromGguf(metadata)));
  }

  /** From Hugging Face's tokenizer.json and, where there is one, tokenizer_config.json (both parsed). */
  static async fromTokenizerJson(json: unknown, tokenizerConfig?: unknown): Promise<Tokenizer> {
    const { partsFromJson } = await import("./json-tokenizer.ts");
    return Tokenizer.open(writePrepared(partsFromJson(json, tokenizerConfig)));
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
  /** Jinja source of the chat template that came with the tokenizer. */
  get chatTemplate(): string | undefined {
    return this.#prepared.settings.chatTemplate;
  }
  /** Texts of the control tokens. */
  get controlTexts(): readonly string[] {
    return this.#addedTokens.filter((token) => token.control).map((token) => token.text);
  }

  /** Ids of a text. A lone surrogate counts as U+FFFD; a byte that the vocabulary has no token for is left out. */
  encode(text: string, { control = false }: EncodeOptions = {}): number[] {
    const finders = this.#finders(control);
    const { normalizer } = this.#prepared.settings;
    const ids: number[] = [];
    for (const segment of finders.raw.cut(text.toWellFormed())) {
      if (typeof segment !== "string") ids.push(segment.id);
      else this.#encodeSegments(finders.normalized.cut(normalizer ? segment.normalize(normalizer) : segment), ids);
    }
    return ids;
  }

  #encodeSegments(segments: readonly Segment[], ids: number[]): void {
    this.#cut ??= compileSteps(this.#prepared.settings.steps);
    for (const segment of segments) {
      if (typeof segment !== "string") ids.push(segment.id);
      else for (const piece of this.#cut(segment)) this.#merger.append(piece, ids);
    }
  }

  /** The text cut at its control tokens: their ids, and the stretches between as they are. */
  cutAtControl(text: string): (number | string)[] {
    this.#controlOnly ??= new AddedTokenFinder(this.#addedTokens.filter((token) => token.control));
    return this.#controlOnly.cut(text).map((segment) => (typeof segment === "string" ? segment : segment.id));
  }

  /** Text of ids; bytes that are not UTF-8 become U+FFFD. Throws "bad-input" for an id outside the vocabulary. */
  decode(ids: readonly number[] | Int32Array, { control = false }: DecodeOptions = {}): string {
    const pieces: Uint8Array[] = [];
    let length = 0;
    for (const id of ids) {
      const piece = this.bytesOf(id, { control });
      pieces.push(piece);
      length += piece.length;
    }
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  }

  /** The bytes that an id adds to a text (a view; do not write). Throws "bad-input" for an id outside the vocabulary. */
  bytesOf(id: number, { control = false }: DecodeOptions = {}): Uint8Array {
    if (!Number.isInteger(id) || id < 0 || id >= this.vocabSize) {
      throw new IroriError("bad-input", {
        what: "a token id is outside the vocabulary",
        got: id,
        wanted: `a whole number from 0 to ${this.vocabSize - 1}`,
        next: "decode ids with the tokenizer of the model that made them",
      });
    }
    const { tokenBytes, tokenOffsets } = this.#prepared;
    if (!control && this.isControl(id)) return tokenBytes.subarray(0, 0);
    return tokenBytes.subarray(tokenOffsets[id], tokenOffsets[id + 1]);
  }

  isControl(id: number): boolean {
    this.#controlIds ??= new Set(this.#addedTokens.filter((token) => token.control).map((token) => token.id));
    return this.#controlIds.has(id);
  }

  /** One token by itself, control tokens too; a part of a character shows as U+FFFD. */
  tokenText(id: number): string {
    return this.decode([id], { control: true });
  }

  /** The id of the ordinary token that is exactly this text, undefined where it takes several. */
  idOf(text: string): number | undefined {
    const bytes = new TextEncoder().encode(text);
    const id = tokenOfBytes(this.#prepared, bytes, bytes.length);
    return id < 0 ? undefined : id;
  }

  /** Decodes ids as they come, whole characters only. */
  stream(options: DecodeOptions = {}): TokenStream {
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
    const { normalizer } = this.#prepared.settings;
    const normalize = (text: string): string => (normalizer ? text.normalize(normalizer) : text);
    return {
      raw: new AddedTokenFinder(tokens.filter((token) => !token.normalized)),
      normalized: new AddedTokenFinder(
        tokens.filter((token) => token.normalized).map((token) => ({ ...token, text: normalize(token.text) })),
      ),
    };
  }
}
