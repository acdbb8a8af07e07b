// The original's English insight experiment with what it lacked: questions that need no insight, and rules to compare with.
// It does not know the sentences.
import { seededRandom } from "../../base/mod.ts";
import { memorySettings } from "../../settings/mod.ts";
import type { Embedder } from "../embedder.ts";
import { idMaker } from "../ids.ts";
import { openInMemory } from "../in-memory/store.ts";
import { isJudged } from "../insight/trigger.ts";
import { Memory } from "../memory.ts";
import type { InsightQuestion, InsightSet } from "./english-data.ts";
import { type Experiment, table } from "./experiment.ts";
import { auroc, qualityOf } from "./measures.ts";

interface EnglishResult {
  readonly text: string;
  readonly integrates: boolean;
  readonly hasFired: boolean;
  /** −F with the weakest link left out; absent where there was nothing to judge. */
  readonly score: number | null;
  /** Phases among the five most similar statements. */
  readonly phases: number;
  /** Cosine of the most similar. */
  readonly top: number;
}

export function english(options: {
  readonly set: InsightSet;
  readonly embedder: Embedder;
  readonly seed: number;
}): Experiment<InsightQuestion & { id: string }, EnglishResult> {
  const { set, embedder, seed } = options;
  let opened: Promise<Memory> | undefined;
  const open = async (): Promise<Memory> => {
    const random = seededRandom(seed);
    const store = openInMemory({ embedder, newId: idMaker(random) });
    const memory = new Memory({ store, embedder, random, now: () => 1_700_000_000_000, settings: memorySettings() });
    await memory.remember(
      set.statements.map(({ text, phase }) => ({ text, metadata: { phase } })),
      { insight: false },
    );
    await memory.maintain();
    return memory;
  };
  return {
    name: `English insight (${embedder.id})`,
    config: { seed, embedder: embedder.id, statements: set.statements.length, questions: set.questions.length },
    items: () => set.questions.map((question, i) => ({ ...question, id: `question ${i + 1}` })),
    async run({ text, integrates }) {
      opened ??= open();
      const memory = await opened;
      const judgement = await memory.consider(text);
      const { recalled } = await memory.recall(text, { count: 5, by: ["vector"] });
      const isScored = isJudged(judgement);
      return {
        ...{
          text,
          integrates,
          hasFired: isScored && judgement.hasFired,
          score: isScored ? -judgement.weakest.f : null,
        },
        phases: new Set(recalled.map(({ episode }) => episode.metadata.phase)).size,
        top: recalled[0]?.similarity ?? 0,
      };
    },
    report,
  };
}

function report(results: readonly EnglishResult[]): string {
  const row = (name: string, says: (one: EnglishResult) => boolean, score: (one: EnglishResult) => number) => {
    const { precision, recall } = qualityOf(results.map((one) => ({ isPositive: one.integrates, isSaid: says(one) })));
    const of = (kind: boolean) => results.filter(({ integrates }) => integrates === kind).map(score);
    return [name, Number.isNaN(precision) ? "none fired" : precision, recall, auroc(of(true), of(false))];
  };
  const scoreOf = ({ score }: EnglishResult) => score ?? -1;
  return [
    `${results.filter(({ integrates }) => integrates).length} questions that need several phases, ${results.filter(({ integrates }) => !integrates).length} that do not.`,
    table(
      ["rule", "precision", "recall", "AUROC"],
      [
        row("Trigger", ({ hasFired }) => hasFired, scoreOf),
        row("F below 0", (one) => scoreOf(one) > 0, scoreOf),
        row(
          "always true",
          () => true,
          () => 0,
        ),
        row(
          "three phases or more among the five nearest (the original's)",
          ({ phases }) => phases >= 3,
          ({ phases }) => phases,
        ),
        row(
          "like something known (cosine > .5)",
          ({ top }) => top > 0.5,
          ({ top }) => top,
        ),
        row(
          "unlike all that is known (cosine ≤ .5)",
          ({ top }) => top <= 0.5,
          ({ top }) => -top,
        ),
      ],
    ),
    table(
      ["question", "needs several", "fired", "−F", "phases", "top cosine"],
      results.map(({ text, integrates, hasFired, score, phases, top }) => [
        ...[
          text,
          integrates ? "yes" : "no",
          hasFired ? "yes" : "no",
          score === null ? "not judged" : score,
          phases,
          top,
        ],
      ]),
    ),
  ].join("\n\n");
}
