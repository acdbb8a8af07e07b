// Settings of a memory and their presets: every name and number that a user may choose, parsed at the door.
// The presets' names and values are InsightSpike's where it has them. It does not know what the settings do.
import { z } from "zod";
import { IroriError } from "../base/mod.ts";

const share = z.number().min(0).max(1);
const count = z.int().positive();

const shape = z.strictObject({
  /** Episodes that a recall gives. */
  recallCount: count.max(1_000),
  /** Episodes that a Writer is shown. */
  evidenceCount: count.max(50),
  /** Episodes whose vectors stay in mind. */
  workingEpisodes: count.max(100_000),
  /** Cosine from which two texts are related; null: as the embedder says. */
  related: share.nullable(),
  /** Whether new texts are judged for what they restructure. */
  insight: z.boolean(),
  /** How often a text that restructures nothing may fire all the same. */
  falseAlarmRate: z.number().positive().max(0.5),
  /** Judgements that are kept: those that fired, or all, for scores of every text. */
  keptJudgements: z.enum(["fired", "all"]),
  /** What embeds and what writes: "hashed", "extractive", or a model's name. */
  embedder: z.string().min(1),
  writer: z.string().min(1),
});

export type MemorySettings = Readonly<z.infer<typeof shape>>;

const standard: MemorySettings = {
  recallCount: 10,
  evidenceCount: 6,
  workingEpisodes: 100,
  related: null,
  insight: true,
  falseAlarmRate: 0.05,
  keptJudgements: "fired",
  embedder: "hashed",
  writer: "extractive",
};

const development = { recallCount: 10, workingEpisodes: 60, evidenceCount: 5, related: 0.3 };
const experiment = { recallCount: 15, workingEpisodes: 100, evidenceCount: 3, related: 0.35, writer: "smollm2-135m" };
const production = { recallCount: 20, workingEpisodes: 200, evidenceCount: 7, related: 0.4, writer: "smollm2-135m" };
const cloud = { recallCount: 8, workingEpisodes: 40, evidenceCount: 3, related: 0.3 };

/** What a preset sets otherwise than the standard. Where the original names a model of others, a local one stands. */
const presets: Readonly<Record<string, Partial<MemorySettings>>> = {
  standard: {},
  development,
  experiment,
  production,
  research: { recallCount: 30, workingEpisodes: 500, evidenceCount: 10, related: 0.25, writer: "smollm2-135m" },
  cloud,
  testing: cloud,
  paper: development,
  production_optimized: production,
  minimal: { ...development, insight: false },
  graph_enhanced: experiment,
  adaptive_learning: experiment,
  /** No model, few texts, and a score of every text (the original says so by thresholds of −999). */
  quick_experiment: { recallCount: 5, workingEpisodes: 60, evidenceCount: 5, keptJudgements: "all" },
};

export const memoryPresets: readonly string[] = Object.keys(presets);

/** A preset's settings with some of them set otherwise. Throws "bad-input" for an unknown name or a value that cannot be. */
export function memorySettings(preset = "standard", changes: Readonly<Record<string, unknown>> = {}): MemorySettings {
  const chosen = Object.hasOwn(presets, preset) ? presets[preset] : undefined;
  if (chosen === undefined)
    throw new IroriError("bad-input", {
      what: "a preset",
      got: JSON.stringify(preset),
      wanted: memoryPresets.join(", "),
    });
  const parsed = shape.safeParse({ ...standard, ...chosen, ...changes });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new IroriError("bad-input", {
    what: `the memory setting ${issue?.path.join(".") || "(all)"}`,
    got: issue?.message,
  });
}
