// How well a yes or no, and a score, tell two kinds apart. It does not know what is told apart.

export interface Told {
  /** What it is in truth. */
  readonly isPositive: boolean;
  /** What was said of it. */
  readonly isSaid: boolean;
}

export interface Quality {
  readonly truePositives: number;
  readonly falsePositives: number;
  readonly falseNegatives: number;
  readonly trueNegatives: number;
  /** NaN where nothing was said to be positive. */
  readonly precision: number;
  readonly recall: number;
}

export function qualityOf(all: readonly Told[]): Quality {
  const count = (isPositive: boolean, isSaid: boolean) =>
    all.filter((one) => one.isPositive === isPositive && one.isSaid === isSaid).length;
  const [truePositives, falsePositives, falseNegatives] = [count(true, true), count(false, true), count(true, false)];
  return {
    ...{ truePositives, falsePositives, falseNegatives, trueNegatives: count(false, false) },
    precision: truePositives / (truePositives + falsePositives),
    recall: truePositives / (truePositives + falseNegatives),
  };
}

/** Area under the ROC curve: the chance that a positive scores above a negative, ties by half (Mann and Whitney). */
export function auroc(positives: readonly number[], negatives: readonly number[]): number {
  let above = 0;
  for (const a of positives) for (const b of negatives) above += a > b ? 1 : a === b ? 0.5 : 0;
  return above / (positives.length * negatives.length);
}

/** 95 % interval of a share of so many (Wilson). */
export function interval(share: number, count: number): readonly [low: number, high: number] {
  const z = 1.96;
  const middle = (share + z ** 2 / (2 * count)) / (1 + z ** 2 / count);
  const half = (z / (1 + z ** 2 / count)) * Math.sqrt((share * (1 - share)) / count + z ** 2 / (4 * count ** 2));
  return [middle - half, middle + half];
}

export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[half] as number)
    : ((sorted[half - 1] as number) + (sorted[half] as number)) / 2;
}
