// How much a server takes in at most. It does not know who counts.
import type { Limits } from "./answers.ts";

export interface ServerLimits extends Limits {
  readonly bodyBytes: number;
  /** Choices of one request. */
  readonly choices: number;
  readonly embedTexts: number;
  /** Of one request's captures, as float32. */
  readonly captureBytes: number;
  /** Requests in work, of all callers. */
  readonly openRequests: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  ...{ defaultMaxTokens: 1024, maxTokens: 32_768, promptTokens: 1_000_000 },
  ...{ bodyBytes: 16 * 2 ** 20, choices: 16, embedTexts: 2048, openRequests: 1024 },
  captureBytes: 16 * 2 ** 20,
};
