// Presets: many settings by one name, and the models that they want to have at hand. Data only.
import type { Provider, ProviderSettings } from "./provider.ts";
import { providerNamed } from "./provider.ts";

/** How weights lie prepared on disk; "served": as the model's checkpoint decides ("int8" is made of that when it opens). */
export type PreparedForm = "served" | "blocks" | "q8" | "q4" | "f32";

export interface Preset {
  readonly about: string;
  /** By key, those of sections too ("memory.preset"). */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Forms in which the models of this preset are wanted. */
  readonly forms: readonly PreparedForm[];
}

export const presets = {
  quick_experiment: {
    about: "No model at all: given answers, hashed vectors, small retrieval; starts at once",
    settings: { generator: "mock", embedder: "hashed", "memory.preset": "quick_experiment" },
    forms: [],
  },
  local: {
    about: "One person's machine: the smallest models that answer and embed",
    settings: { generator: "smollm2-135m", embedder: "all-minilm-l6-v2" },
    forms: ["served"],
  },
  serving: {
    about: "Many callers: as local, with more of what ended answers have read kept for prompts that begin alike",
    settings: {
      generator: "smollm2-135m",
      embedder: "all-minilm-l6-v2",
      keptBytes: 2 ** 30,
      "memory.preset": "production",
    },
    forms: ["served"],
  },
  lab: {
    about: "Experiments on the inside: weights in float32",
    settings: {
      generator: "smollm2-135m",
      embedder: "all-minilm-l6-v2",
      form: "f32",
      "memory.preset": "research",
    },
    forms: ["f32", "served"],
  },
} as const satisfies Readonly<Record<string, Preset>>;

export type PresetName = keyof typeof presets;
export const presetNames = Object.keys(presets) as readonly PresetName[];

export interface NeededModel {
  /** A name of the catalog or a source. */
  readonly model: string;
  readonly use: "generator" | "embedder";
  readonly forms: readonly PreparedForm[];
}

/** The models of this machine that settings want to have at hand; none for mocks, servers and hashed vectors. */
export function neededModels(settings: {
  readonly preset: PresetName;
  readonly generator: string;
  readonly embedder: string;
  readonly form: PreparedForm | "int8";
  readonly providers: Readonly<Record<string, ProviderSettings>>;
}): NeededModel[] {
  const { preset, providers } = settings;
  const own: PreparedForm = settings.form === "int8" ? "served" : settings.form;
  const forms = [...new Set([own, ...presets[preset].forms])];
  return (["generator", "embedder"] as const).flatMap((use) => {
    const provider: Provider = providerNamed(settings[use], providers);
    return provider.kind === "local" ? [{ model: provider.model, use, forms }] : [];
  });
}
