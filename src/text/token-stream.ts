// Decodes ids one by one into whole characters: bytes of an unfinished character wait for the rest.
// Knows bytes; does not know the vocabulary.

export class TokenStream {
  readonly #bytesOf: (id: number) => Uint8Array;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(bytesOf: (id: number) => Uint8Array) {
    this.#bytesOf = bytesOf;
  }

  /** What became readable with this id; "" while a character is unfinished. */
  push(id: number): string {
    return this.#decoder.decode(this.#bytesOf(id), { stream: true });
  }

  /** What is left: "" or, where the last character never got finished, U+FFFD. The stream can be used again. */
  end(): string {
    return this.#decoder.decode();
  }
}
