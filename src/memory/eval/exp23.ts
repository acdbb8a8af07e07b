// Experiment 23 of the original (reference §3.2), honestly: every gate answers by the same rule from what was retrieved, with
// no sentence known beforehand. What a gate decides is whether to look again with what was found. It does not know the data.
import { seededRandom } from "../../base/mod.ts";
import { wordRunsOf } from "../../text/mod.ts";
import type { Embedder } from "../embedder.ts";
import { idMaker } from "../ids.ts";
import { openInMemory } from "../in-memory/store.ts";
import { isJudged } from "../insight/trigger.ts";
import { Memory } from "../memory.ts";
import type { Recalled } from "../recall.ts";
import type { Exp23Row } from "./exp23-data.ts";
import { type Experiment, table } from "./experiment.ts";
import { median } from "./measures.ts";

const GATES = ["static", "gauge", "random", "always"] as const;
type Gate = (typeof GATES)[number];

interface Answered {
  /** Words in common of all words of answer and truth. The original calls it PER. */
  readonly overlap: number;
  /** Share of the supporting episodes among what was retrieved. */
  readonly support: number;
  readonly hasLookedAgain: boolean;
  readonly ms: number;
}
type Exp23Result = Readonly<Record<Gate, Answered>>;

interface Opened {
  readonly memory: Memory;
  /** Questions that the gauge looks at again, and as many that chance does. */
  readonly gauge: ReadonlySet<string>;
  readonly random: ReadonlySet<string>;
}

export interface Exp23Options {
  readonly rows: readonly Exp23Row[];
  readonly embedder: Embedder;
  readonly seed: number;
  readonly now: () => number;
}

/** As in the original: documents retrieved, those an answer is made of, and the overlap from which it is accepted. */
const RETRIEVED = 4;
const ANSWERED = 2;
const ACCEPTED = 0.35;

export function exp23({ rows, embedder, seed, now }: Exp23Options): Experiment<Exp23Row & { id: string }, Exp23Result> {
  let opened: Promise<Opened> | undefined;
  const items = rows.map((row, i) => ({ ...row, id: `${i}` }));
  const open = async (): Promise<Opened> => {
    const random = seededRandom(seed);
    const store = openInMemory({ embedder, newId: idMaker(random) });
    const memory = new Memory({ store, embedder, random, now: () => 1_700_000_000_000 });
    const texts = new Map(rows.flatMap(({ episodes }) => episodes.map(({ id, text }) => [text, id] as const)));
    await memory.remember(
      [...texts].map(([text, id]) => ({ text, metadata: { id } })),
      { insight: false },
    );
    await memory.maintain();
    const gauge = new Set<string>();
    for (const { id, query } of items) {
      const judgement = await memory.consider(query);
      // nothing is restructured by the question: what it asks for is not together yet
      if (!isJudged(judgement) || judgement.weakest.f > 0) gauge.add(id);
    }
    const drawn = items.map(({ id }) => ({ id, at: random.next() })).sort((a, b) => a.at - b.at);
    return { memory, gauge, random: new Set(drawn.slice(0, gauge.size).map(({ id }) => id)) };
  };
  return {
    name: `Experiment 23: does a gate help retrieval? (${embedder.id})`,
    config: {
      seed,
      embedder: embedder.id,
      rows: rows.length,
      retrieved: RETRIEVED,
      answered: ANSWERED,
      accepted: ACCEPTED,
    },
    items: () => items,
    async run(row) {
      opened ??= open();
      const { memory, gauge, random } = await opened;
      const opens: Readonly<Record<Gate, boolean>> = {
        ...{ static: false, always: true },
        ...{ gauge: gauge.has(row.id), random: random.has(row.id) },
      };
      const answers: Partial<Record<Gate, Answered>> = {};
      for (const gate of GATES) answers[gate] = await answer(memory, row, opens[gate], now);
      return answers as Exp23Result;
    },
    report,
  };
}

async function answer(memory: Memory, row: Exp23Row, looksAgain: boolean, now: () => number): Promise<Answered> {
  const start = now();
  let { recalled } = await memory.recall(row.query, { count: RETRIEVED });
  if (looksAgain) {
    const found = recalled.slice(0, ANSWERED).map(({ episode }) => episode.text);
    const again = await memory.recall(`${row.query} ${found.join(" ")}`, { count: RETRIEVED });
    recalled = byScore([...recalled, ...again.recalled]);
  }
  const ms = now() - start;
  const wanted = row.episodes.filter(({ role }) => role === "support").map(({ text }) => text);
  const got = new Set(recalled.slice(0, RETRIEVED).map(({ episode }) => episode.text));
  const text = recalled
    .slice(0, ANSWERED)
    .map(({ episode }) => episode.text)
    .join(" ");
  const support = wanted.filter((one) => got.has(one)).length / wanted.length;
  return { overlap: overlap(text, row.ground_truth), support, hasLookedAgain: looksAgain, ms };
}

/** Each episode once, with the better of its scores. */
function byScore(all: readonly Recalled[]): Recalled[] {
  const best = new Map<string, Recalled>();
  for (const one of all) if ((best.get(one.episode.id)?.score ?? -1) < one.score) best.set(one.episode.id, one);
  return [...best.values()].sort((a, b) => b.score - a.score);
}

function overlap(a: string, b: string): number {
  const [x, y] = [new Set(wordRunsOf(a)), new Set(wordRunsOf(b))];
  const shared = [...x].filter((word) => y.has(word)).length;
  return shared / (x.size + y.size - shared);
}

function report(results: readonly Exp23Result[]): string {
  const mean = (list: readonly number[]) => list.reduce((sum, x) => sum + x, 0) / list.length;
  const rows = GATES.map((gate) => {
    const own = results.map((one) => one[gate]);
    return [
      gate,
      mean(own.map((one) => one.overlap)),
      mean(own.map((one) => (one.overlap >= ACCEPTED ? 1 : 0))),
      mean(own.map((one) => one.support)),
      mean(own.map((one) => (one.hasLookedAgain ? 1 : 0))),
      median(own.map((one) => one.ms)).toFixed(1),
    ];
  });
  const differences = (["static", "random", "always"] as const).map((other) => {
    const [low, high] = bootstrap(results.map((one) => one.gauge.overlap - one[other].overlap));
    const says = low > 0 ? "better" : high < 0 ? "worse" : "no difference";
    return [
      `gauge − ${other}`,
      mean(results.map((one) => one.gauge.overlap - one[other].overlap)),
      `${low.toFixed(3)} to ${high.toFixed(3)}`,
      says,
    ];
  });
  return [
    `${results.length} questions over one memory. Every gate answers with the first ${ANSWERED} of what it retrieved.`,
    table(["gate", "overlap (PER)", `accepted (≥ ${ACCEPTED})`, "support found", "looked again", "p50 ms"], rows),
    table(["difference of overlaps, paired", "mean", "95 % interval", ""], differences),
  ].join("\n\n");
}

/** 95 % interval of the mean by 2,000 resamples. */
function bootstrap(values: readonly number[]): readonly [number, number] {
  const random = seededRandom(1);
  const means = Array.from({ length: 2_000 }, () => {
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += values[Math.floor(random.next() * values.length)] as number;
    return sum / values.length;
  }).sort((a, b) => a - b);
  return [means[50] as number, means[1_949] as number];
}
