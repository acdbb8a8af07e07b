export { Engine, type EngineOptions, type GenerateRequest, Lease, type LeaseOptions, type Prompt } from "./engine.ts";
export type { Answer, GenerationEvent, StopReason, Timings } from "./generation.ts";
export type { HeldProgram } from "./kept-programs.ts";
export type { Form, FormReport, Manifest, StoredTensor } from "./manifest.ts";
export { megabytes, type Plan, type PlanItem } from "./plan.ts";
export type { EngineEvent } from "./programs.ts";
export { DEFAULT_SAMPLING, GREEDY, type Sampling } from "./sampling.ts";
export type { Score } from "./score.ts";
export type { GradientRequest, LogitWeight, Traced, TraceModel, TraceRequest } from "./trace.ts";
