// What a caller may say about bringing a model here. It does not know how that is done.

import type { Terms } from "./catalog.ts";
import type { NetworkOptions } from "./network.ts";
import type { WorkOptions } from "./store-place.ts";

export interface PullOptions extends WorkOptions {
  /** The Python whose pip fetches packages; default: python3, then python. */
  readonly python?: string | undefined;
  /** Nothing is fetched: what is not on this disk is an error. */
  readonly isOffline?: boolean | undefined;
  readonly network?: NetworkOptions | undefined;
  /** Folders where Ollama may keep its models, the likeliest first. */
  readonly ollamaModels?: readonly string[] | undefined;
  /** What is taken of a repository that has both and where nothing names one. Default "gguf". */
  readonly prefers?: "gguf" | "safetensors" | undefined;
  /** Asks whether somebody accepts a licence's terms, once on this machine. Default: nobody does. */
  readonly acceptsTerms?: ((terms: Terms, model: string) => boolean | Promise<boolean>) | undefined;
}
