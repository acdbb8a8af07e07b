// Okapi BM25 with the constants and the least inverse document frequency of SQLite's FTS5, for the stores that reckon it
// themselves. It does not know indexes.

const K1 = 1.2;
const B = 0.75;

/** One text that holds some of the question's terms. */
export interface Document {
  /** How often each of the question's terms stands in it. */
  readonly counts: readonly number[];
  /** All its terms. */
  readonly length: number;
}

export interface Corpus {
  readonly documents: number;
  /** Terms of a text in the mean. */
  readonly meanLength: number;
  /** In how many texts each of the question's terms stands. */
  readonly holding: readonly number[];
}

export function bm25({ counts, length }: Document, { documents, meanLength, holding }: Corpus): number {
  return counts.reduce((sum, count, i) => {
    const n = holding[i] as number;
    const rarity = Math.max(1e-6, Math.log((documents - n + 0.5) / (n + 0.5)));
    return sum + (rarity * count * (K1 + 1)) / (count + K1 * (1 - B + (B * length) / meanLength));
  }, 0);
}
