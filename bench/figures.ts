// What is measured and how it is told: samples of both sides, minimum, median, maximum, the ratio of medians, the bar.
// It does not know how anything is measured.

export interface Figure {
  readonly name: string;
  readonly unit: "tokens/s" | "texts/s" | "ms" | "MB";
  readonly better: "more" | "less";
  /** How many times better Irori's median must be than the peer's. */
  readonly wantedRatio?: number;
  /** What Irori's median must not exceed, in `unit`. */
  readonly limit?: number;
  /** What a reader must know to read it. */
  readonly note?: string;
  readonly samples: Readonly<Record<string, readonly number[]>>;
}

export interface Summary {
  readonly minimum: number;
  readonly median: number;
  readonly maximum: number;
  readonly samples: readonly number[];
}

export type Measured = Omit<Figure, "samples"> & {
  readonly sides: Readonly<Record<string, Summary>>;
  /** How many times better Irori's median is. Absent without a peer. */
  readonly ratio?: number;
  /** The same of the best sample of each side: what a busy machine disturbs least. */
  readonly ratioOfBest?: number;
  /** Absent where no bar is set, or where the peer that it needs was not measured. */
  readonly isReached?: boolean;
};

export const US = "irori";

export function summary(samples: readonly number[]): Summary {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (i: number) => sorted[i] as number;
  const half = (sorted.length - 1) / 2;
  return {
    minimum: at(0),
    median: (at(Math.floor(half)) + at(Math.ceil(half))) / 2,
    maximum: at(sorted.length - 1),
    samples,
  };
}

export function measured({ samples, ...figure }: Figure): Measured {
  const sides = Object.fromEntries(Object.entries(samples).map(([name, all]) => [name, summary(all)]));
  const ours = sides[US] as Summary;
  const theirs = Object.entries(sides).find(([name]) => name !== US)?.[1];
  const best = (side: Summary) => (figure.better === "more" ? side.maximum : side.minimum);
  const times = (mine: number, other: number) => (figure.better === "more" ? mine / other : other / mine);
  const ratio = theirs && times(ours.median, theirs.median);
  const bars: boolean[] = [];
  if (figure.limit !== undefined) bars.push(ours.median <= figure.limit);
  if (figure.wantedRatio !== undefined && ratio !== undefined) bars.push(ratio >= figure.wantedRatio);
  return {
    ...figure,
    sides,
    ...(theirs && ratio !== undefined && { ratio, ratioOfBest: times(best(ours), best(theirs)) }),
    ...(bars.length > 0 && { isReached: bars.every(Boolean) }),
  };
}

const number = (value: number): string => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(1));
const cell = ({ median, minimum, maximum }: Summary): string =>
  minimum === maximum ? number(median) : `${number(median)} (${number(minimum)}–${number(maximum)})`;

const timesText = (ratio: number | undefined): string => (ratio === undefined ? "–" : `${ratio.toFixed(2)} x`);

function barOf(figure: Measured): string {
  const parts: string[] = [];
  if (figure.wantedRatio !== undefined) parts.push(`≥ ${Number(figure.wantedRatio.toPrecision(3))} x`);
  if (figure.limit !== undefined) parts.push(`≤ ${number(figure.limit)} ${figure.unit}`);
  const mark = figure.isReached === undefined ? "" : figure.isReached ? " reached" : " missed";
  return parts.length === 0 ? "–" : `${parts.join(", ")}${mark}`;
}

/** A table in Markdown, readable as it stands: median (minimum–maximum) of each side. */
export function table(figures: readonly Measured[]): string {
  const sides = [...new Set(figures.flatMap((figure) => Object.keys(figure.sides)))];
  const head = ["figure", "unit", ...sides, "ratio", "of best", "bar"];
  const rows = figures.map((figure) => [
    figure.note === undefined ? figure.name : `${figure.name}: ${figure.note}`,
    figure.unit,
    ...sides.map((side) => {
      const one = figure.sides[side];
      return one === undefined ? "–" : cell(one);
    }),
    timesText(figure.ratio),
    timesText(figure.ratioOfBest),
    barOf(figure),
  ]);
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => (row[i] as string).length)));
  const line = (row: readonly string[]) => `| ${row.map((text, i) => text.padEnd(widths[i] as number)).join(" | ")} |`;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}
