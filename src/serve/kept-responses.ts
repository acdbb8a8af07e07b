// Responses that a caller may go on from or ask for again: in memory, the newest, so many bytes at most.
// It does not know what is in them.

/** A conversation up to a response and with it. */
export interface KeptResponse<Item> {
  readonly caller: string;
  readonly response: object;
  /** What was asked, earlier responses' items included. */
  readonly input: readonly Item[];
  readonly output: readonly Item[];
}

export class KeptResponses<Item> {
  readonly #kept = new Map<string, KeptResponse<Item> & { readonly bytes: number }>();
  readonly most: number;
  readonly mostBytes: number;
  #bytes = 0;

  constructor({ most = 1_000, mostBytes = 32 * 2 ** 20 } = {}) {
    this.most = most;
    this.mostBytes = mostBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The oldest go for it. Says false where it alone is more than all may be. */
  keep(id: string, value: KeptResponse<Item>): boolean {
    // in memory a character takes up to two bytes
    const bytes = 2 * JSON.stringify([value.response, value.input]).length;
    if (bytes > this.mostBytes) return false;
    this.#kept.set(id, { ...value, bytes });
    this.#bytes += bytes;
    for (const [oldest] of this.#kept) {
      if (this.#bytes <= this.mostBytes && this.#kept.size <= this.most) break;
      this.#drop(oldest);
    }
    return true;
  }
  /** A caller's own. */
  get(id: string, caller: string): KeptResponse<Item> | undefined {
    const found = this.#kept.get(id);
    return found?.caller === caller ? found : undefined;
  }
  remove(id: string, caller: string): boolean {
    return this.get(id, caller) !== undefined && this.#drop(id);
  }
  #drop(id: string): boolean {
    this.#bytes -= this.#kept.get(id)?.bytes ?? 0;
    return this.#kept.delete(id);
  }
}
