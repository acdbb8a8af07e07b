// Which of some names a misspelt one may have meant. Knows letters, not what the names are of.

/** The names that differ least from `name`, at most `most`, the nearest first; none where all are far. */
export function nearest(name: string, names: Iterable<string>, most = 3): string[] {
  const limit = Math.max(2, Math.floor(name.length / 2));
  return [...names]
    .map((each) => ({ each, far: distance(name.toLowerCase(), each.toLowerCase()) }))
    .filter(({ far }) => far <= limit)
    .sort((a, b) => a.far - b.far)
    .slice(0, most)
    .map(({ each }) => each);
}

/** Letters to insert, remove or change to get from one to the other (Levenshtein); letters at the end count half. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  const whole = row[b.length] as number;
  const [short, long] = a.length < b.length ? [a, b] : [b, a];
  return long.startsWith(short) ? whole / 2 : whole;
}
