// The presets have the original's numbers where it has them, and what cannot be set is a sentence.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { memoryPresets, memorySettings } from "./memory.ts";

interface Original {
  readonly memory?: {
    readonly max_retrieved_docs?: number;
    readonly episodic_memory_capacity?: number;
    readonly similarity_threshold?: number;
  };
  readonly llm?: { readonly max_context_docs?: number };
  readonly processing?: { readonly enable_insight_registration?: boolean };
}
const golden: {
  readonly presets: Readonly<Record<string, Original>>;
  readonly config_defaults: Original;
  readonly get_preset_paper: string;
  readonly "seed_quick_experiment_spike_ged_threshold_-999": string;
} = JSON.parse(readFileSync(new URL("../../test/goldens/insight/original.json", import.meta.url), "utf8"));

test("the presets are the original's: how much is retrieved, held in mind, shown, from which likeness, with or without insight", () => {
  const { memory, llm, processing } = golden.config_defaults;
  for (const [name, own] of Object.entries(golden.presets)) {
    const settings = memorySettings(name);
    assert.deepEqual(
      [settings.recallCount, settings.workingEpisodes, settings.related, settings.evidenceCount, settings.insight],
      [
        own.memory?.max_retrieved_docs ?? memory?.max_retrieved_docs,
        own.memory?.episodic_memory_capacity ?? memory?.episodic_memory_capacity,
        own.memory?.similarity_threshold ?? memory?.similarity_threshold,
        own.llm?.max_context_docs ?? llm?.max_context_docs,
        own.processing?.enable_insight_registration ?? processing?.enable_insight_registration,
      ],
      name,
    );
  }
  assert.deepEqual(memorySettings("testing"), memorySettings("cloud"));
});

test("the preset paper can be chosen by its name (originally unknown), and quick_experiment scores every text without a model", () => {
  assert.match(golden.get_preset_paper, /^Unknown preset: paper/);
  assert.ok(memoryPresets.includes("paper"));
  const { keptJudgements, embedder, writer, recallCount } = memorySettings("quick_experiment");
  assert.deepEqual([keptJudgements, embedder, writer, recallCount], ["all", "hashed", "extractive", 5]);
});

test("an unknown preset, an unknown setting and a value out of range are sentences", () => {
  assert.throws(() => memorySettings("nope"), /a preset: got "nope", wanted standard, development/);
  // as in the original, whose own guide tells to set −999
  assert.match(golden["seed_quick_experiment_spike_ged_threshold_-999"], /^rejected/);
  assert.throws(() => memorySettings("standard", { falseAlarmRate: -999 }), /the memory setting falseAlarmRate: got/);
  assert.throws(() => memorySettings("standard", { speed: 1 }), /the memory setting \(all\): got .*speed/);
  assert.equal(memorySettings("paper", { recallCount: 3 }).recallCount, 3);
});
