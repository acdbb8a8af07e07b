// A list of texts where it lies in a file's bytes: a vocabulary of hundreds of thousands of entries costs eight bytes an entry.
// It does not know what the texts mean.

/** Texts in UTF-8, decoded each time one is asked for. */
export class TextList implements Iterable<string> {
  readonly #bytes: Buffer;
  readonly #starts: Uint32Array;
  readonly #ends: Uint32Array;

  /** Text i is the bytes [starts[i], ends[i]), known to be valid UTF-8. */
  constructor(bytes: Buffer, starts: Uint32Array, ends: Uint32Array) {
    this.#bytes = bytes;
    this.#starts = starts;
    this.#ends = ends;
  }

  get length(): number {
    return this.#starts.length;
  }

  at(index: number): string | undefined {
    const [start, end] = [this.#starts[index], this.#ends[index]];
    return start === undefined ? undefined : this.#bytes.toString("utf8", start, end);
  }

  *[Symbol.iterator](): Generator<string> {
    for (let i = 0; i < this.length; i++) yield this.at(i) as string;
  }
}
