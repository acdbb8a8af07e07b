// The package `irori`: its version and what every user of it meets. The areas have their own subpaths.

import { createRequire } from "node:module";

export { type ErrorCode, type ErrorParts, IroriError } from "./base/mod.ts";
export { defaultHome, type Numbers, readSafetensors, writeSafetensors } from "./checkpoint/mod.ts";
export {
  type Answer,
  type Beam,
  type BeamRequest,
  type ContinuationScore,
  DEFAULT_SAMPLING,
  type Embeddings,
  type EmbedOptions,
  Engine,
  type EngineEvent,
  type EngineOptions,
  type Form,
  type GenerateRequest,
  type GenerationEvent,
  GREEDY,
  type Lease,
  type LeaseOptions,
  type Plan,
  type Prompt,
  type RankedAnswer,
  type Sampling,
  type SavedChat,
  type Score,
} from "./engine/mod.ts";
export { type OpenMemoryOptions, openEngine, openMemory, type ReadSettingsOptions, readSettings } from "./machine.ts";
export type { InForce, SettingInForce, SettingSource, Settings } from "./settings/mod.ts";

/** The version of this package, as its package.json has it. */
export const version: string = createRequire(import.meta.url)("../package.json").version;
