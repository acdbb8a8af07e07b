// Settings of a memory and their presets: every name and number that a user may choose, parsed at the door.
// The presets' names and values are InsightSpike's where it has them. It does not know what the settings do.
import { IroriError } from "../base/mod.ts";
import { choice, count, flag, orNull, share, text } from "./rules.ts";
import { setting, type ValuesOf } from "./setting.ts";

export const memoryTable = {
  recallCount: setting(count(1, 1_000), "Episodes that a recall gives", 10),
  evidenceCount: setting(count(1, 50), "Episodes that a Writer is shown", 6),
  workingEpisodes: setting(count(1, 100_000), "Episodes whose vectors stay in mind", 100),
  related: setting(orNull(share()), "Cosine from which two texts are related; null: as the embedder says", null),
  insight: setting(flag, "Whether new texts are judged for what they restructure", true),
  falseAlarmRate: setting(
    share(0, 0.5, true),
    "How often a text that restructures nothing may fire all the same",
    0.05,
  ),
  keptJudgements: setting<"fired" | "all">(
    choice(["fired", "all"]),
    "Judgements that are kept: those that fired, or all, for scores of every text",
    "fired",
  ),
  embedder: setting(text, "What embeds: hashed, or a model's name", "hashed"),
  writer: setting(text, "What writes: extractive, or a model's name", "extractive"),
};

export type MemorySettings = ValuesOf<typeof memoryTable>;

const development = { recallCount: 10, workingEpisodes: 60, evidenceCount: 5, related: 0.3 };
const experiment = { recallCount: 15, workingEpisodes: 100, evidenceCount: 3, related: 0.35, writer: "smollm2-135m" };
const production = { recallCount: 20, workingEpisodes: 200, evidenceCount: 7, related: 0.4, writer: "smollm2-135m" };
const cloud = { recallCount: 8, workingEpisodes: 40, evidenceCount: 3, related: 0.3 };

/** What a preset sets otherwise than the standard. Where the original names a model of others, a local one stands. */
export const memoryChanges: Readonly<Record<string, Partial<MemorySettings>>> = {
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

export const memoryPresets: readonly string[] = Object.keys(memoryChanges);

/** A preset's settings with some of them set otherwise. Throws "bad-input" for an unknown name or a value that cannot be. */
export function memorySettings(preset = "standard", changes: Readonly<Record<string, unknown>> = {}): MemorySettings {
  const chosen = Object.hasOwn(memoryChanges, preset) ? memoryChanges[preset] : undefined;
  if (chosen === undefined)
    throw new IroriError("bad-input", {
      what: "a preset",
      got: JSON.stringify(preset),
      wanted: memoryPresets.join(", "),
    });
  const unknown = Object.keys(changes).find((key) => !Object.hasOwn(memoryTable, key));
  if (unknown !== undefined)
    throw new IroriError("bad-input", {
      what: "the memory setting (all)",
      got: `an unknown ${JSON.stringify(unknown)}`,
      wanted: Object.keys(memoryTable).join(", "),
    });
  const given: Readonly<Record<string, unknown>> = { ...chosen, ...changes };
  const values = Object.entries(memoryTable).map(([key, { rule, fallback }]) => {
    const value = given[key] === undefined ? fallback : given[key];
    return [key, rule.parse(value, `the memory setting ${key}`)];
  });
  return Object.fromEntries(values);
}
