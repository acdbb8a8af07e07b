// What was used last, as much as fits into so many bytes. It does not know what it keeps.

export class Lru<V> {
  readonly #entries = new Map<string, { readonly value: V; readonly bytes: number }>();
  readonly #mostBytes: number;
  readonly #mostEntries: number;
  #bytes = 0;

  constructor(mostBytes: number, mostEntries = Infinity) {
    this.#mostBytes = mostBytes;
    this.#mostEntries = mostEntries;
  }

  get bytes(): number {
    return this.#bytes;
  }
  get size(): number {
    return this.#entries.size;
  }
  /** Least recently used first. */
  keys(): string[] {
    return [...this.#entries.keys()];
  }

  /** A use: the entry is then the last to go. */
  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** What is larger than all there is room for is not kept. */
  set(key: string, value: V, bytes: number): void {
    this.delete(key);
    if (bytes > this.#mostBytes) return;
    this.#entries.set(key, { value, bytes });
    this.#bytes += bytes;
    for (const [oldest] of this.#entries) {
      if (this.#bytes <= this.#mostBytes && this.#entries.size <= this.#mostEntries) break;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    this.#bytes -= this.#entries.get(key)?.bytes ?? 0;
    this.#entries.delete(key);
  }
}
