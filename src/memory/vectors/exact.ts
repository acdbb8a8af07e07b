// The exact answer to compare the index with: several queries over all code records, the best of each then compared exactly.
// It does not know lists or transactions.
import { encode, seqOf } from "./codes.ts";
import { openKernel, paddedDims, recordBytes } from "./kernel.ts";

/** Candidates kept of a query: far more than are asked for, so that the codes' rounding loses none. */
const KEPT = 64;
const QUERY = 0;
const SCORES = 16_384;

/** Numbers of the best candidates of each query. */
export function exactCandidates(
  queries: readonly Float32Array[],
  dims: number,
): { take(records: readonly Uint8Array[]): void; best(): number[][] } {
  const kernel = openKernel(dims);
  const size = recordBytes(dims);
  const best = queries.map(() => [] as { seq: number; score: number }[]);
  const codes = queries.map((query) => {
    const record = encode(query, 0);
    return Int16Array.from({ length: paddedDims(dims) }, (_, i) => ((record[i] as number) << 24) >> 24);
  });
  const take = (records: readonly Uint8Array[]) => {
    const from = SCORES + Math.ceil((records.length * 4) / 64) * 64;
    kernel.reserve(from + records.length * size);
    records.forEach((record, i) => {
      kernel.u8.set(record, from + i * size);
    });
    codes.forEach((query, q) => {
      kernel.i16.set(query, QUERY);
      kernel.codeScores(QUERY, from, records.length, SCORES);
      const kept = best[q] as { seq: number; score: number }[];
      for (let i = 0; i < records.length; i++) {
        const score = kernel.f32[SCORES / 4 + i] as number;
        if (kept.length === KEPT && score <= (kept.at(-1)?.score as number)) continue;
        const at = kept.findIndex((other) => other.score < score);
        kept.splice(at < 0 ? kept.length : at, 0, { seq: seqOf(records[i] as Uint8Array), score });
        if (kept.length > KEPT) kept.pop();
      }
    });
  };
  return { take, best: () => best.map((kept) => kept.map(({ seq }) => seq)) };
}
