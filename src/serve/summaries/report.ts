// What a summary says of itself: its text with references, and an account of every byte of what was read. Plain data.

/** Bytes of the text in UTF-8, `end` not included. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

export interface Bullet {
  readonly text: string;
  /** Where it is from, as the model says; merged, in order. */
  readonly sources: readonly Range[];
}

/** used: its points went on. retried: they did after an answer was refused. empty: the model found nothing. failed: it is missing. */
export type ChunkStatus = "used" | "retried" | "empty" | "failed";

export interface ChunkReport extends Range {
  /** From 1. */
  readonly chunk: number;
  readonly status: ChunkStatus;
  readonly tokens: number;
  /** Where the text before it that was told again begins; `start` where none was. */
  readonly overlapFrom: number;
  readonly points: number;
  readonly attempts: number;
  /** Its answer was there from before. */
  readonly wasKept: boolean;
  /** Its answer was cut at its limit of tokens. */
  readonly isCut: boolean;
  /** A bullet refers to it. */
  readonly isCited: boolean;
  /** Why answers were refused, or it failed. */
  readonly reasons: readonly string[];
}

/** Calls of one stage; of every one prompt and answer were counted before it was asked. */
export interface StageReport {
  readonly stage: "map" | "reduce" | "final" | "direct";
  readonly level: number;
  readonly calls: number;
  readonly largestPromptTokens: number;
  readonly maxTokens: number;
  readonly pointsIn: number;
  readonly pointsOut: number;
}

export interface SummaryReport {
  readonly path: "direct" | "map-reduce";
  readonly model: string;
  readonly language: string;
  readonly context: number;
  readonly source: { readonly bytes: number; readonly tokens: number; readonly sha256: string };
  /** Bytes by what became of their chunk; together they are the source's. */
  readonly coverage: Readonly<Record<ChunkStatus, number>>;
  readonly chunks: readonly ChunkReport[];
  readonly stages: readonly StageReport[];
  readonly isDegraded: boolean;
  /** What is missing, or not as it should be, in sentences. */
  readonly degraded: readonly string[];
  readonly promptTokens: number;
  readonly generatedTokens: number;
  /** Answers that were there from before. */
  readonly keptAnswers: number;
  readonly repaired: number;
  readonly ms: number;
}

export interface Summary {
  readonly title: string;
  readonly bullets: readonly Bullet[];
  readonly report: SummaryReport;
}

/** Ranges in order, those that touch as one. */
export function mergedRanges(ranges: readonly Range[]): Range[] {
  const merged: { start: number; end: number }[] = [];
  for (const { start, end } of [...ranges].sort((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end);
    else merged.push({ start, end });
  }
  return merged;
}

const STATUS_WORDS: Readonly<Record<ChunkStatus, string>> = {
  used: "used",
  retried: "used after an answer was refused",
  empty: "found empty",
  failed: "missing",
};
const bytes = (count: number): string => `${count.toLocaleString("en")} bytes`;

/** A summary as text: title, bullets with the bytes they are from, and the account of what was read. */
export function summaryText({ title, bullets, report }: Summary, format: "text" | "markdown" = "text"): string {
  const isMarkdown = format === "markdown";
  const from = (sources: readonly Range[]) => sources.map(({ start, end }) => `${start}–${end}`).join(", ");
  const { coverage, source, chunks, path, keptAnswers } = report;
  const parts = (["used", "retried", "empty", "failed"] as const)
    .filter((status) => coverage[status] > 0)
    .map((status) => `${bytes(coverage[status])} ${STATUS_WORDS[status]}`);
  const cited = mergedRanges(bullets.flatMap(({ sources }) => sources));
  const behind = cited.reduce((sum, { start, end }) => sum + end - start, 0);
  const kept =
    keptAnswers > 0 ? ` ${keptAnswers} answer${keptAnswers === 1 ? " was" : "s were"} there from before.` : "";
  const read = `Read ${bytes(source.bytes)} (${source.tokens.toLocaleString("en")} tokens) in ${chunks.length} part${chunks.length === 1 ? "" : "s"}, ${path}: ${parts.join(", ")}; the bullets refer to ${bytes(behind)}.${kept}`;
  const missing = report.degraded.map((sentence) => `Degraded: ${sentence}.`);
  return [
    `${isMarkdown ? "# " : ""}${title}\n`,
    ...bullets.map(({ text, sources }) => `- ${text} [${from(sources)}]`),
    "",
    [read, ...missing].map((line) => (isMarkdown ? `*${line}*` : line)).join("\n"),
    "",
  ].join("\n");
}
