// A summary of a text of any length: split, read part by part, reduced until it fits, with an account of every byte. Never truncates: what
// does not fit is reduced again, what cannot be is an error. It does not know HTTP, files or who writes.

import { createHash } from "node:crypto";
import { z } from "zod";
import { IroriError, type OnProgress } from "../../base/mod.ts";
import type { ChatMessage } from "../../text/mod.ts";
import { type Answered, Asking, type AskingOptions, type Kept, NoAnswerError, type SummaryWriter } from "./asking.ts";
import { hasWords, languageOf } from "./gates.ts";
import { inOrder } from "./in-order.ts";
import { type Asked, messagesFor, numberedPassages, numberedPoints, type Point, pointCharacters } from "./prompts.ts";
import {
  type Bullet,
  type ChunkReport,
  type ChunkStatus,
  mergedRanges,
  type StageReport,
  type Summary,
} from "./report.ts";
import { type Chunk, chunksOf, type Passage, passagesOf } from "./split.ts";

export interface SummarizeOptions {
  readonly writer: SummaryWriter;
  /** "en", "ja" or another language's code. Default: the text's own, of English and Japanese. */
  readonly language?: string | undefined;
  /** Bullets at most. Default 8. */
  readonly bullets?: number | undefined;
  /** Tokens of a part at most. Default 2,400, or what the context has room for. */
  readonly chunkTokens?: number | undefined;
  /** Parts read at once. Default 4. */
  readonly atOnce?: number | undefined;
  /** Where finished answers stay, so that a run that was stopped goes on. */
  readonly kept?: Kept | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
  readonly wait: AskingOptions["wait"];
}

const DEFAULT_CHUNK = 2_400;
const LEAST_CHUNK = 64;
const OVERLAP = 0.1;
/** Points of a part, and of a group that is reduced. */
const MOST_POINTS = 6;
const MOST_LEVELS = 12;
/** Tokens for what a repeated request says of the answer before. */
const SLACK = 96;
/** JSON around a point: quotes, names, references. */
const POINT_TOKENS = 32;

const mapAnswer = z.object({ points: z.array(z.object({ text: z.string(), passage: z.number().int() })) });
const from = z.array(z.number().int());
const reduceAnswer = z.object({ points: z.array(z.object({ text: z.string(), from })).min(1) });
const finalAnswer = z.object({ title: z.string(), bullets: z.array(z.object({ text: z.string(), from })).min(1) });

/** Throws "bad-input" for a text without text, "no-room" for a context that is too short, "io" where no part gave an answer. */
export function summarize(text: string, options: SummarizeOptions): Promise<Summary> {
  return new Run(text, options).summary();
}

/** Tokens between two words on how far it is. */
const TOLD_TOKENS = 16;

class Run {
  readonly #text: string;
  readonly #options: SummarizeOptions;
  readonly #asking: Asking;
  readonly #language: string;
  readonly #mostBullets: number;
  readonly #stages: { -readonly [K in keyof StageReport]: StageReport[K] }[] = [];
  readonly #degraded: string[] = [];
  readonly #total = { promptTokens: 0, generatedTokens: 0, keptAnswers: 0, repaired: 0 };
  #passages: readonly Passage[] = [];
  /** Tokens of all answers, those that were refused too. */
  #written = 0;
  #told: () => void = () => undefined;
  /** Tokens that a point may take in an answer. */
  #pointTokens = 0;

  constructor(text: string, options: SummarizeOptions) {
    this.#text = text;
    this.#options = options;
    this.#asking = new Asking({
      writer: options.writer,
      kept: options.kept,
      signal: options.signal,
      wait: options.wait,
      onToken: () => {
        if (++this.#written % TOLD_TOKENS === 0) this.#told();
      },
    });
    this.#language = options.language ?? languageOf(text);
    this.#mostBullets = options.bullets ?? 8;
  }

  async summary(): Promise<Summary> {
    const { writer, now } = this.#options;
    const start = now();
    if (this.#text.trim() === "") throw new IroriError("bad-input", { what: "there is no text to summarise" });
    this.#passages = await passagesOf(this.#text, (some) => this.#count(some));
    const tokens = this.#passages.reduce((sum, passage) => sum + passage.tokens, 0);
    // what the text's own characters cost says what an answer's do, as it is in the same script, or in a cheaper one
    const perCharacter = Math.max(0.3, tokens / this.#text.length);
    this.#pointTokens = Math.ceil(pointCharacters(this.#language) * perCharacter) + POINT_TOKENS;
    const chunkTokens = await this.#chunkTokens();
    const isDirect =
      tokens <= chunkTokens && (await this.#fits("direct", this.#mostBullets, numberedPassages(this.#passages)));
    const { title, bullets, chunks } = isDirect ? await this.#direct() : await this.#mapReduce(chunkTokens);
    const coverage: Record<ChunkStatus, number> = { used: 0, retried: 0, empty: 0, failed: 0 };
    for (const { status, start: from, end } of chunks) coverage[status] += end - from;
    const bytes = Buffer.byteLength(this.#text);
    this.#tellMissing(chunks);
    return {
      ...{ title, bullets },
      report: {
        ...{
          path: isDirect ? "direct" : "map-reduce",
          model: writer.model,
          language: this.#language,
          context: writer.context,
        },
        source: { bytes, tokens, sha256: createHash("sha256").update(this.#text).digest("hex") },
        ...{ coverage, chunks, stages: this.#stages, isDegraded: this.#degraded.length > 0, degraded: this.#degraded },
        ...{ ...this.#total, ms: now() - start },
      },
    };
  }

  /** Tokens of a part: as asked for, or what leaves room for the task and the answer. */
  async #chunkTokens(): Promise<number> {
    const { writer, chunkTokens = DEFAULT_CHUNK } = this.#options;
    const empty = {
      stage: "map",
      language: this.#language,
      most: MOST_POINTS,
      numbered: [{ number: 1, text: "" }],
    } as const;
    const task = await this.#countPrompt(messagesFor(empty));
    const room = Math.floor((writer.context - task - this.#answerTokens(MOST_POINTS) - SLACK) * 0.9);
    if (room < LEAST_CHUNK)
      throw new IroriError("no-room", {
        what: `the context of ${writer.model} is too short to summarise with`,
        got: `${writer.context} tokens`,
        wanted: `${task + this.#answerTokens(MOST_POINTS) + SLACK + LEAST_CHUNK} at least`,
      });
    return Math.min(Math.max(LEAST_CHUNK, chunkTokens), room);
  }
  #count(text: string): Promise<number> {
    return this.#asking.patiently(() => this.#options.writer.count(text));
  }
  #countPrompt(messages: readonly ChatMessage[]): Promise<number> {
    return this.#asking.patiently(() => this.#options.writer.countPrompt(messages));
  }
  #answerTokens(points: number): number {
    return 48 + points * this.#pointTokens;
  }

  /** Whether task, text and the longest answer fit the context, by the model's own tokenizer. */
  async #fits(stage: Asked["stage"], most: number, numbered: Asked["numbered"]): Promise<boolean> {
    const { writer } = this.#options;
    const prompt = await this.#countPrompt(messagesFor({ stage, language: this.#language, most, numbered }));
    return prompt + SLACK + this.#answerTokens(most) <= writer.context;
  }

  async #ask<T>(
    asked: Pick<Asked, "stage" | "most" | "numbered">,
    level: number,
    read: (json: unknown, isLast: boolean) => T | string,
  ): Promise<Answered<T>> {
    const full = { ...asked, language: this.#language };
    const maxTokens = this.#answerTokens(asked.most);
    const counted = await this.#countPrompt(messagesFor(full));
    if (counted + SLACK + maxTokens > this.#options.writer.context)
      throw new Error(`a prompt of ${counted} tokens was let through`); // whoever made it has counted it
    const stage = this.#stage(asked.stage, level, maxTokens);
    stage.calls++;
    stage.largestPromptTokens = Math.max(stage.largestPromptTokens, counted);
    stage.pointsIn += asked.numbered.length;
    const answered = await this.#asking.ask(full, maxTokens, read);
    this.#total.promptTokens += answered.promptTokens;
    this.#total.generatedTokens += answered.tokens;
    if (answered.wasKept) this.#total.keptAnswers++;
    if (answered.wasRepaired) this.#total.repaired++;
    return answered;
  }
  #stage(stage: StageReport["stage"], level: number, maxTokens: number) {
    const known = this.#stages.find((each) => each.stage === stage && each.level === level);
    const made = known ?? { stage, level, calls: 0, largestPromptTokens: 0, maxTokens, pointsIn: 0, pointsOut: 0 };
    if (known === undefined) this.#stages.push(made);
    made.maxTokens = Math.max(made.maxTokens, maxTokens);
    return made;
  }

  /** Tells how far some prompts are, now, when tokens come and when what it gives is called: another is done. */
  #progress(item: string, total: number): () => void {
    const { onProgress } = this.#options;
    let done = 0;
    this.#told = () => {
      const written = this.#written > 0 ? `, ${this.#written.toLocaleString("en")} tokens written` : "";
      onProgress?.({ step: "summarize", item: `${item}${written}`, done, total, unit: "prompts" });
    };
    this.#told();
    return () => {
      done++;
      this.#told();
    };
  }

  async #direct() {
    this.#progress("the whole", 1);
    const numbered = numberedPassages(this.#passages);
    const made = await this.#ask({ stage: "direct", most: this.#mostBullets, numbered }, 0, (json) => readFinal(json));
    const { title, bullets } = made.value;
    const told = bullets.map(({ text, from }) => ({
      text,
      passages: from.filter((n) => this.#passages[n - 1] !== undefined),
    }));
    const whole: Chunk = { passages: this.#passages, overlap: [] };
    const once = distinct(told);
    this.#stage("direct", 0, 0).pointsOut += once.length;
    return {
      title,
      bullets: this.#bullets(once),
      chunks: [this.#chunkReport(whole, 1, made, once.length, new Set([1]))],
    };
  }

  async #mapReduce(tokens: number) {
    const { atOnce = 4 } = this.#options;
    const budget = { tokens, overlap: Math.floor(tokens * OVERLAP) };
    const chunks = await chunksOf(this.#passages, budget, (all) =>
      this.#fits("map", MOST_POINTS, numberedPassages(all)),
    );
    const told = this.#progress("parts", chunks.length);
    const mapped = await inOrder(chunks, atOnce, async (chunk) => {
      const found = await this.#map(chunk);
      told();
      return found;
    });
    const points = mapped.flatMap(({ points: found }) => found);
    const reasons = mapped.flatMap(({ failed }) => failed ?? []);
    if (points.length === 0)
      throw reasons.length > 0
        ? new NoAnswerError(reasons.slice(0, 3))
        : new NoAnswerError(["every part was found empty"]);
    const lost = new Map<number, string>();
    const { title, bullets } = await this.#reduce(points, lost);
    const cited = new Set(bullets.flatMap(({ passages }) => passages));
    const reports = mapped.map(({ made, points: found, failed }, i) => {
      const chunk = chunks[i] as Chunk;
      const isCited = chunk.passages.some(({ number }) => cited.has(number));
      const missing = failed ?? chunk.passages.flatMap(({ number }) => lost.get(number) ?? []).slice(0, 1);
      return this.#chunkReport(chunk, i + 1, made, found.length, new Set(isCited ? [i + 1] : []), missing);
    });
    return { title, bullets: this.#bullets(bullets), chunks: reports };
  }

  async #map(chunk: Chunk): Promise<{ points: Point[]; made?: Answered<Point[]>; failed?: readonly string[] }> {
    const passages = [...chunk.overlap, ...chunk.passages];
    const numbers = new Set(passages.map(({ number }) => number));
    const [first] = chunk.passages as [Passage];
    const hasText = /\p{L}{3}/u.test(chunk.passages.map(({ text }) => text).join(" "));
    const asked = { stage: "map", most: MOST_POINTS, numbered: numberedPassages(passages) } as const;
    try {
      const made = await this.#ask(asked, 0, (json, isLast) => {
        const { success, data } = mapAnswer.safeParse(json);
        if (!success) return "it does not have the shape that was asked for";
        const points = data.points.filter(({ text }) => hasWords(text));
        // a part with words in it is asked once more before it counts as empty
        if (points.length === 0 && hasText && !isLast) return "it gives no point";
        return points.map(({ text, passage }) => ({
          text: text.trim(),
          passages: [numbers.has(passage) ? passage : first.number],
        }));
      });
      this.#stage("map", 0, 0).pointsOut += made.value.length;
      return { points: distinct(made.value), made };
    } catch (error) {
      if (this.#options.signal?.aborted || !isOfOne(error)) throw error;
      return { points: [], failed: error instanceof NoAnswerError ? error.refused : [(error as Error).message] };
    }
  }

  /** Points in fewer until title and bullets can be made of them in one answer; each level is shorter, or it is an error. */
  async #reduce(
    all: readonly Point[],
    lost: Map<number, string>,
  ): Promise<{ title: string; bullets: readonly Point[] }> {
    let points = distinct(all);
    for (let level = 1; ; level++) {
      if (await this.#isFinal(points)) return this.#final(points, level);
      if (level > MOST_LEVELS) throw tooLong(points.length, level);
      const groups = await this.#groups(points);
      const { atOnce = 4 } = this.#options;
      const told = this.#progress(`points, level ${level}`, groups.length);
      const reduced = await inOrder(groups, atOnce, async (group) => {
        const found = group.length < 2 ? group : await this.#reduceGroup(group, level, lost);
        told();
        return found;
      });
      const next = distinct(reduced.flat());
      const [before, after] = [lengthOf(points), lengthOf(next)];
      if (next.length === 0) throw new NoAnswerError([`nothing was left at level ${level}`]);
      if (next.length >= points.length || after >= before) throw tooLong(points.length, level);
      points = next;
    }
  }

  /** Few enough for one answer: by the context, and by the size of a part, beyond which small models lose what they read. */
  async #isFinal(points: readonly Point[]): Promise<boolean> {
    if (!(await this.#fits("final", this.#mostBullets, numberedPoints(points)))) return false;
    const { chunkTokens = DEFAULT_CHUNK } = this.#options;
    const tokens = await this.#count(points.map(({ text }) => text).join("\n"));
    return points.length < 3 || tokens <= chunkTokens;
  }

  async #groups(points: readonly Point[]): Promise<Point[][]> {
    const { chunkTokens = DEFAULT_CHUNK } = this.#options;
    const tokens = await Promise.all(points.map(({ text }) => this.#count(text)));
    const groups: Point[][] = [];
    for (let first = 0; first < points.length; ) {
      let next = first;
      for (
        let room = chunkTokens;
        next < points.length && (next === first || room >= (tokens[next] as number) + 8);
        next++
      )
        room -= (tokens[next] as number) + 8;
      // half as many come out of it
      while (
        next > first + 1 &&
        !(await this.#fits("reduce", half(next - first), numberedPoints(points.slice(first, next))))
      )
        next--;
      groups.push(points.slice(first, next));
      first = next;
    }
    return groups;
  }

  async #reduceGroup(group: readonly Point[], level: number, lost: Map<number, string>): Promise<readonly Point[]> {
    const most = half(group.length);
    try {
      const made = await this.#ask({ stage: "reduce", most, numbered: numberedPoints(group) }, level, (json) => {
        const { success, data } = reduceAnswer.safeParse(json);
        if (!success) return "it does not have the shape that was asked for";
        return traced(data.points, group).slice(0, most);
      });
      this.#stage("reduce", level, 0).pointsOut += made.value.length;
      if (made.isCut) this.#degraded.push(`an answer of reduce level ${level} was cut at its limit`);
      return distinct(made.value);
    } catch (error) {
      if (this.#options.signal?.aborted || !isOfOne(error)) throw error;
      for (const number of group.flatMap(({ passages }) => passages))
        lost.set(number, `its points were lost at reduce level ${level}: ${(error as Error).message}`);
      return [];
    }
  }

  async #final(points: readonly Point[], level: number): Promise<{ title: string; bullets: readonly Point[] }> {
    this.#progress("the whole", 1);
    try {
      const asked = { stage: "final", most: this.#mostBullets, numbered: numberedPoints(points) } as const;
      const { value, isCut } = await this.#ask(asked, level, (json) => readFinal(json));
      this.#stage("final", level, 0).pointsOut += value.bullets.length;
      if (isCut) this.#degraded.push("the last answer was cut at its limit");
      return { title: value.title, bullets: distinct(traced(value.bullets, points)) };
    } catch (error) {
      if (this.#options.signal?.aborted || !(error instanceof NoAnswerError)) throw error;
      this.#degraded.push(
        `no last answer could be used (${error.refused.at(-1)}): title and bullets are points of the parts`,
      );
      const step = Math.max(1, points.length / this.#mostBullets);
      const some = Array.from(
        { length: Math.min(points.length, this.#mostBullets) },
        (_, i) => points[Math.floor(i * step)] as Point,
      );
      return { title: (points[0] as Point).text.slice(0, 120), bullets: some };
    }
  }

  #bullets(points: readonly Point[]): Bullet[] {
    return points.map(({ text, passages }) => ({
      text,
      sources: mergedRanges(
        passages.map((number) => this.#passages[number - 1] as Passage).map(({ start, end }) => ({ start, end })),
      ),
    }));
  }

  #chunkReport(
    { passages, overlap }: Chunk,
    chunk: number,
    made: Answered<unknown> | undefined,
    points: number,
    cited: ReadonlySet<number>,
    missing: readonly string[] = [],
  ): ChunkReport {
    const [first, last] = [passages[0] as Passage, passages.at(-1) as Passage];
    const status =
      missing.length > 0 ? "failed" : points === 0 ? "empty" : (made?.attempts ?? 1) > 1 ? "retried" : "used";
    return {
      ...{
        chunk,
        start: first.start,
        end: last.end,
        status,
        tokens: passages.reduce((sum, { tokens }) => sum + tokens, 0),
      },
      ...{ overlapFrom: overlap[0]?.start ?? first.start, points, attempts: made?.attempts ?? missing.length },
      ...{ wasKept: made?.wasKept ?? false, isCut: made?.isCut ?? false, isCited: cited.has(chunk) },
      reasons: [...(made?.refused ?? []), ...missing],
    };
  }

  #tellMissing(chunks: readonly ChunkReport[]): void {
    for (const { chunk, start, end, status, isCut, reasons } of chunks) {
      if (status === "failed")
        this.#degraded.push(`part ${chunk} (bytes ${start}–${end}) is missing: ${reasons.at(-1)}`);
      else if (isCut) this.#degraded.push(`the answer for part ${chunk} (bytes ${start}–${end}) was cut at its limit`);
    }
  }
}

function readFinal(json: unknown): z.infer<typeof finalAnswer> | string {
  const { success, data } = finalAnswer.safeParse(json);
  if (!success) return "it does not have the shape that was asked for";
  const bullets = data.bullets.filter(({ text }) => hasWords(text));
  if (bullets.length === 0 || !hasWords(data.title)) return "its title or its bullets are empty";
  return { title: data.title.trim(), bullets };
}

const half = (count: number): number => Math.max(1, Math.floor(count / 2));
const lengthOf = (points: readonly Point[]): number => points.reduce((sum, { text }) => sum + text.length, 0);

/** Points by the numbers that an answer refers to; one that refers to nothing that there is refers to all. */
const traced = (
  said: readonly { readonly text: string; readonly from: readonly number[] }[],
  group: readonly Point[],
): Point[] =>
  said
    .filter(({ text }) => hasWords(text))
    .map(({ text, from }) => {
      const known = from.flatMap((n) => group[n - 1] ?? []);
      const passages = new Set((known.length > 0 ? known : group).flatMap((point) => point.passages));
      return { text: text.trim(), passages: [...passages].sort((a, b) => a - b) };
    });

/** Each text once, with the passages of all that say it. */
function distinct(points: readonly Point[]): Point[] {
  const known = new Map<string, { text: string; passages: number[] }>();
  for (const { text, passages } of points) {
    const key = text.toLowerCase().replace(/[\s\p{P}]+/gu, "");
    const same = known.get(key);
    if (same === undefined) known.set(key, { text, passages: [...passages] });
    else same.passages = [...new Set([...same.passages, ...passages])].sort((a, b) => a - b);
  }
  return [...known.values()];
}

/** Errors of one answer; others are of all. */
const isOfOne = (error: unknown): boolean =>
  error instanceof NoAnswerError || (error instanceof IroriError && error.code === "io");

const tooLong = (points: number, level: number): IroriError =>
  new IroriError("no-room", {
    what: `${points} points do not get shorter at reduce level ${level}`,
    next: "take a model with a longer context, or one that summarises better",
  });
