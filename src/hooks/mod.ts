// Public names of hooks/: reading and rewriting the inside of a model as graph rewrites.
export type { Numbers } from "../checkpoint/mod.ts";
export { matchHookPoints } from "./capture.ts";
export { type Intervention, type InterventionKind, resumeAt, withInterventions } from "./interventions.ts";
export { type LowRank, type LowRankValues, loraByRow, loraInputs, loraValues, withLora } from "./lora.ts";
export { type Adapter, mergeInto, readAdapter, writeAdapter } from "./peft.ts";
export {
  type Batch,
  type InterventionSpec,
  interventionInputs,
  interventionsOf,
  readInterventionSpecs,
  shapesAt,
  withoutPatterns,
} from "./spec.ts";
