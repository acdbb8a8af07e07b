// Typed reading of a GGUF's `tokenizer.*` keys, with a sentence for each that is missing or odd.
// It does not know what the keys mean.
import { IroriError } from "../base/mod.ts";
import type { Entries } from "./parts.ts";

const prefix = "tokenizer.ggml.";
const isList = (value: unknown): value is Entries<unknown> =>
  typeof value === "object" && value !== null && "length" in value && "at" in value;
const shown = (value: unknown): string => (value === undefined ? "nothing" : `a value of type ${typeof value}`);

export class GgufKeys {
  readonly #metadata: ReadonlyMap<string, unknown>;

  constructor(metadata: ReadonlyMap<string, unknown>) {
    this.#metadata = metadata;
  }

  bad(key: string, got: string, wanted: string): IroriError {
    return new IroriError("bad-file", {
      what: `the GGUF file's ${prefix}${key} cannot be used`,
      got,
      wanted,
      next: "fetch or convert the file again",
    });
  }

  text(key: string, otherwise?: string): string {
    const value = this.#metadata.get(prefix + key) ?? otherwise;
    if (typeof value !== "string") throw this.bad(key, shown(value), "a text");
    return value;
  }

  texts(key: string): Entries<string> {
    const value = this.#metadata.get(prefix + key);
    if (!isList(value)) throw this.bad(key, shown(value), "a list of texts");
    for (let i = 0; i < value.length; i++)
      if (typeof value.at(i) !== "string") throw this.bad(key, `${shown(value.at(i))} at ${i}`, "a list of texts");
    return value as Entries<string>;
  }

  /** One number a token; absent: all ordinary. */
  types(count: number): ArrayLike<number> {
    return this.#numbers("token_type", count, "types") ?? new Int32Array(count).fill(1);
  }

  scores(count: number): ArrayLike<number> {
    const scores = this.#numbers("scores", count, "scores");
    if (scores === undefined) throw this.bad("scores", "nothing", `${count} numbers, one a token`);
    for (let id = 0; id < count; id++)
      if (!Number.isFinite(scores[id])) throw this.bad("scores", `${scores[id]} at ${id}`, "finite numbers");
    return scores;
  }

  #numbers(key: string, count: number, what: string): ArrayLike<number> | undefined {
    const value = this.#metadata.get(prefix + key);
    if (value === undefined) return undefined;
    const length = isList(value) ? value.length : undefined;
    if (length !== count)
      throw this.bad(key, isList(value) ? `${length} ${what}` : shown(value), `${count}, one a token`);
    return value as ArrayLike<number>;
  }

  /** Bytes; absent: none. */
  bytes(key: string): ArrayLike<number> {
    const value = this.#metadata.get(prefix + key);
    if (value === undefined) return [];
    if (Array.isArray(value) || ArrayBuffer.isView(value)) return value as unknown as ArrayLike<number>;
    throw this.bad(key, shown(value), "bytes");
  }

  id(key: string, count: number): number | undefined {
    const value = this.#metadata.get(prefix + key);
    if (value === undefined) return undefined;
    const id = typeof value === "bigint" ? Number(value) : value;
    if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < count) return id;
    // Converters write 2^32 - 1 for "there is none".
    if (id === 0xffffffff) return undefined;
    throw this.bad(key, String(value), `an id below ${count}`);
  }

  flag(key: string): boolean | undefined {
    const value = this.#metadata.get(prefix + key);
    if (value === undefined || typeof value === "boolean") return value;
    throw this.bad(key, shown(value), "true or false");
  }

  template(): string | undefined {
    const value = this.#metadata.get("tokenizer.chat_template");
    return typeof value === "string" ? value : undefined;
  }
}
