// Grammars that hold an answer to JSON while it is made, compiled per vocabulary: the only file that imports xgrammar.
// It does not know requests or streams.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type * as XGrammar from "@mlc-ai/web-xgrammar";
import { IroriError } from "../base/mod.ts";
import type { Constraint, Lease } from "../engine/mod.ts";
import type { Format } from "./host.ts";

type Library = typeof XGrammar;

/** Spaces or line breaks between two signs: where more are free, small models write little else. */
const MOST_SPACE = 1;
/** Grammars that stay compiled. */
const MOST_KEPT = 64;

interface Vocabulary {
  readonly compiler: XGrammar.GrammarCompiler;
  /** A bit for each token that begins with a quote: it ends a string. */
  readonly quotes: Uint32Array;
  readonly compiled: Map<string, Promise<XGrammar.CompiledGrammar>>;
}

/** The package says that it is an ES module and is UMD: it is evaluated as CommonJS. */
function loadLibrary(): Library {
  const require = createRequire(import.meta.url);
  const path = require.resolve("@mlc-ai/web-xgrammar");
  const module = { exports: {} };
  const run = new Function("exports", "module", "require", "__filename", "__dirname", readFileSync(path, "utf8"));
  run(module.exports, module, require, path, path.replace(/[\\/][^\\/]*$/, ""));
  return module.exports as Library;
}

export class Grammars {
  readonly #library: Library;
  readonly #vocabularies = new WeakMap<Lease, Promise<Vocabulary>>();

  private constructor(library: Library) {
    this.#library = library;
  }
  static async open(): Promise<Grammars> {
    return new Grammars(loadLibrary());
  }

  /** What holds one answer to a format. Throws where no grammar can be made of it, or the model's answers never end. */
  async constraint(lease: Lease, format: Format): Promise<Constraint & Disposable> {
    if (lease.eosIds.length === 0)
      throw new IroriError("unsupported", {
        what: `${lease.model} has no token that ends an answer, so none can be held to JSON`,
      });
    const { compiler, compiled, quotes } = await this.#vocabulary(lease);
    const key = format.kind === "json" ? "json" : JSON.stringify(format.schema);
    const known = compiled.get(key) ?? this.#compile(compiler, format);
    compiled.delete(key);
    compiled.set(key, known);
    known.catch(() => compiled.delete(key));
    for (const [oldest, grammar] of compiled)
      if (compiled.size > MOST_KEPT) {
        compiled.delete(oldest);
        grammar.then(
          (each) => each.dispose(),
          () => undefined,
        ); // one that failed holds nothing
      }
    const matcher = await this.#library.GrammarMatcher.createGrammarMatcher(await known, [...lease.eosIds]);
    const most = format.kind === "schema" ? format.longestString : undefined;
    const bytesOf = (id: number): Uint8Array => lease.tokenizer.bytesOf(id);
    const held = new Held(matcher, most === undefined ? undefined : new StringLimit(most, bytesOf, quotes));
    await held.prepare();
    return held;
  }

  async #compile(compiler: XGrammar.GrammarCompiler, format: Format): Promise<XGrammar.CompiledGrammar> {
    try {
      if (format.kind === "json")
        return await compiler.compileJSONSchema('{"type":"object"}', true, undefined, undefined, false, MOST_SPACE);
      return await compiler.compileJSONSchema(
        JSON.stringify(format.schema),
        true,
        undefined,
        undefined,
        true,
        MOST_SPACE,
      );
    } catch (cause) {
      throw new IroriError("bad-input", { what: "no grammar can be made of the schema", got: String(cause), cause });
    }
  }

  #vocabulary(lease: Lease): Promise<Vocabulary> {
    const known = this.#vocabularies.get(lease) ?? this.#open(lease);
    this.#vocabularies.set(lease, known);
    return known;
  }
  async #open(lease: Lease): Promise<Vocabulary> {
    const { tokenizer, manifest, eosIds } = lease;
    const { vocabSize } = manifest.config;
    // bytes as ByteLevel writes them: any token is a text then, also one that is part of a character
    const texts = Array.from({ length: Math.min(vocabSize, tokenizer.vocabSize) }, (_, id) =>
      byteLevel(tokenizer.isControl(id) ? new Uint8Array() : tokenizer.bytesOf(id)),
    );
    const info = await this.#library.TokenizerInfo.createTokenizerInfo(texts, "byte_level", false, vocabSize, [
      ...eosIds,
    ]);
    const compiler = await this.#library.GrammarCompiler.createGrammarCompiler(info);
    const quotes = new Uint32Array(Math.ceil(vocabSize / 32));
    for (const [id, text] of texts.entries())
      if (text.startsWith('"')) quotes[id >> 5] = (quotes[id >> 5] as number) | (1 << (id & 31));
    return { compiler, quotes, compiled: new Map() };
  }
}

/** Ends JSON strings that have so many characters, wherever they stand: a grammar that counts them takes seconds to compile. */
class StringLimit {
  readonly #most: number;
  readonly #bytesOf: (id: number) => Uint8Array;
  readonly #quotes: Uint32Array;
  /** Characters of the string that is open; undefined outside of strings. */
  #length: number | undefined;
  #isEscaped = false;

  constructor(most: number, bytesOf: (id: number) => Uint8Array, quotes: Uint32Array) {
    this.#most = most;
    this.#bytesOf = bytesOf;
    this.#quotes = quotes;
  }

  accept(id: number): void {
    for (const byte of this.#bytesOf(id)) {
      if (this.#length === undefined) {
        if (byte === QUOTE) this.#length = 0;
      } else if (byte === BACKSLASH && !this.#isEscaped) this.#isEscaped = true;
      else if (byte === QUOTE && !this.#isEscaped) this.#length = undefined;
      else {
        this.#isEscaped = false;
        if ((byte & 0xc0) !== 0x80) this.#length++; // of a character in UTF-8 the first byte counts
      }
    }
  }

  /** Where a string is long enough, what ends it, as far as the grammar allows that: not within a character or an escape. */
  narrowed(mask: Uint32Array): Uint32Array {
    if (this.#length === undefined || this.#length < this.#most) return mask;
    const ending = mask.map((word, i) => word & (this.#quotes[i] ?? 0));
    return ending.some((word) => word !== 0) ? ending : mask;
  }
}
const [QUOTE, BACKSLASH] = [0x22, 0x5c];

/** One answer's place in its grammar. Masks are made while the model computes the next token, not before or after. */
class Held implements Constraint, Disposable {
  readonly #matcher: XGrammar.GrammarMatcher;
  readonly #limit: StringLimit | undefined;
  #mask: Uint32Array | undefined;
  #tokens = 0;
  #isOver = false;

  constructor(matcher: XGrammar.GrammarMatcher, limit: StringLimit | undefined) {
    this.#matcher = matcher;
    this.#limit = limit;
  }

  allowed(): Uint32Array {
    this.#mask ??= maskOf(this.#matcher);
    return this.#limit?.narrowed(this.#mask) ?? this.#mask;
  }
  accept(id: number): void {
    if (!this.#matcher.acceptToken(id))
      throw new IroriError("library", { what: "the grammar does not take a token that it had allowed", got: id });
    this.#limit?.accept(id);
    this.#tokens++;
    this.#mask = undefined;
    this.#isOver ||= this.#matcher.isTerminated();
    // two turns of the loop: by then the step that makes the next token has been sent off
    setImmediate(() => setImmediate(() => this.prepare()));
  }

  /** Makes the next mask ahead; one that fails is made, and fails, when it is asked for. */
  async prepare(): Promise<void> {
    if (this.#isOver || this.#mask !== undefined) return;
    const tokens = this.#tokens;
    const mask = await this.#matcher.getNextTokenBitmask();
    if (tokens === this.#tokens) this.#mask = new Uint32Array(mask.buffer, mask.byteOffset, mask.length);
  }
  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#matcher.dispose();
  }
}

/** A vector of the library's own memory. */
interface NativeVector {
  size(): number;
  get(index: number): number;
  delete(): void;
}

/** The library gives masks as promises; what is below them answers at once. */
function maskOf(matcher: XGrammar.GrammarMatcher): Uint32Array {
  const { handle, vocab_size } = matcher as unknown as {
    readonly handle: { GetNextTokenBitmask(size: number): NativeVector };
    readonly vocab_size: number;
  };
  const vector = handle.GetNextTokenBitmask(vocab_size);
  const mask = Uint32Array.from({ length: vector.size() }, (_, i) => vector.get(i));
  vector.delete();
  return mask;
}

/** GPT-2's letters for bytes: those that print stand for themselves, the others follow from U+0100 on. */
const LETTERS: readonly string[] = (() => {
  const isPrinted = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(isPrinted(byte) ? byte : next++));
})();
const byteLevel = (bytes: Uint8Array): string => Array.from(bytes, (byte) => LETTERS[byte] as string).join("");
