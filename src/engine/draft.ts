// A guess at the tokens that come next: those that followed the same few tokens before (prompt look-up, Saxena 2023).
// It does not know the model.

/** Tokens that must agree, the most first. */
const GRAMS = [4, 3, 2] as const;
/** Tokens of a draft at most: a run of so many costs little more than one of one token. */
const MOST = 8;
/** Tokens that are searched, from the end. */
const REACH = 4096;

/** Up to `most` tokens that may follow `ids`; none where nothing like their end came before. */
export function draft(ids: readonly number[], most: number): readonly number[] {
  const wanted = Math.min(most - 1, MOST);
  if (wanted <= 0) return [];
  for (const gram of GRAMS) {
    const from = ids.length - gram;
    for (let at = from - 1; at >= Math.max(0, from - REACH); at--)
      if (agrees(ids, at, from, gram)) return ids.slice(at + gram, Math.min(at + gram + wanted, ids.length));
  }
  return [];
}

function agrees(ids: readonly number[], a: number, b: number, count: number): boolean {
  for (let i = 0; i < count; i++) if (ids[a + i] !== ids[b + i]) return false;
  return true;
}
