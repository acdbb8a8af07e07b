export type { ContinuationScore } from "./continuations.ts";
export type { Embeddings, EmbedOptions, Ranked, RerankOptions } from "./embed.ts";
export { Engine, type EngineOptions, type LeaseForm, type LeaseOptions } from "./engine.ts";
export { checkForm, type FormCheck } from "./form-check.ts";
export type { Answer, GenerationEvent, StopReason, Timings } from "./generation.ts";
export type { HeldProgram } from "./kept-programs.ts";
export { CHUNK, type KvType } from "./kv-cache.ts";
export { type Beam, type BeamRequest, type GenerateRequest, Lease, type Prompt, type RankedAnswer } from "./lease.ts";
export type { Form, FormReport, Manifest, Pooling, StoredTensor } from "./manifest.ts";
export type { NotFinite } from "./not-finite.ts";
export { megabytes, type Plan, type PlanItem, scratchBytes } from "./plan.ts";
export type { EngineEvent } from "./programs.ts";
export type { Embedded, Embedder, EmbedderCall } from "./providers/embedder.ts";
export type {
  Generated,
  Generator,
  GeneratorCall,
  GeneratorEvent,
  GeneratorRequest,
  TokenChance,
  TokenChoice,
} from "./providers/generator.ts";
export { localEmbedder, localGenerator } from "./providers/local.ts";
export { hashedEmbedder, mockEmbedder, mockGenerator } from "./providers/mock.ts";
export { embedderOf, generatorOf, type ProviderSetting } from "./providers/named.ts";
export type { ServerOptions } from "./providers/server-call.ts";
export { serverEmbedder } from "./providers/server-embedder.ts";
export { serverGenerator } from "./providers/server-generator.ts";
export type { Choice, Constraint, TokenLogprob } from "./sampler.ts";
export { DEFAULT_SAMPLING, GREEDY, type Sampling } from "./sampling.ts";
export type { SavedChat } from "./saved-chat.ts";
export type { Score } from "./score.ts";
export { importModel, type Verified, verifyModel } from "./stored-model.ts";
export { lossChunks, tokenLoss, tokenLossInputs } from "./token-loss.ts";
export type { GradientRequest, LogitWeight, Traced, TraceModel, TraceRequest } from "./trace.ts";
