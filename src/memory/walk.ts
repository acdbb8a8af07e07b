// Nodes around some seeds, one level after another, up to a limit. It does not know where links are kept.

/** Links of one node that are followed where nothing else is said. */
export const MOST_LINKS = 64;

export class Walk<N> {
  /** Links between a node and the nearest seed. */
  readonly hopOf: Map<N, number>;
  readonly #mostNodes: number;
  #level: readonly N[];
  #hop = 0;
  #isWhole: boolean;

  constructor(seeds: readonly N[], mostNodes: number) {
    this.hopOf = new Map(seeds.slice(0, mostNodes).map((seed) => [seed, 0]));
    this.#level = [...this.hopOf.keys()];
    this.#isWhole = seeds.length <= mostNodes;
    this.#mostNodes = mostNodes;
  }

  /** Nodes that were reached last. */
  get level(): readonly N[] {
    return this.#level;
  }
  /** Whether the limit left nothing out. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** Goes on to what is linked to the last level, in the order given. */
  go(linked: Iterable<N>): void {
    this.#hop++;
    const next: N[] = [];
    for (const node of linked) {
      if (this.hopOf.has(node)) continue;
      if (this.hopOf.size >= this.#mostNodes) this.#isWhole = false;
      else {
        this.hopOf.set(node, this.#hop);
        next.push(node);
      }
    }
    this.#level = next;
  }
}
