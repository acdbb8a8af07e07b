// Where the best so many of many numbers begin. It does not know what they are.

/** The k-th largest of the first `count` numbers; −∞ where there are fewer. Quickselect on a copy. */
export function kthLargest(numbers: Float32Array | Float64Array, count: number, k: number): number {
  if (k > count) return -Infinity;
  const all = numbers.slice(0, count);
  let [low, high] = [0, count - 1];
  while (low < high) {
    const pivot = all[(low + high) >> 1] as number;
    let [i, j] = [low, high];
    while (i <= j) {
      while ((all[i] as number) > pivot) i++;
      while ((all[j] as number) < pivot) j--;
      if (i > j) break;
      [all[i], all[j]] = [all[j] as number, all[i] as number];
      i++;
      j--;
    }
    if (k - 1 <= j) high = j;
    else if (k - 1 >= i) low = i;
    else break;
  }
  return all[k - 1] as number;
}
