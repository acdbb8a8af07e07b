// What sequences of tokens have in common. It does not know what they are for.

/** How many tokens two texts have in common at their beginning. */
export function common(a: readonly number[], b: readonly number[]): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return i;
  return length;
}
