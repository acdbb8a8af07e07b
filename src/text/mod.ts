// Public names of text/: tokenizers, their streams, chat templates.

export { type ChatMessage, type ChatOptions, ChatTemplate, type ChatTokens, encodeChat } from "./chat.ts";
export type { Framed } from "./frame.ts";
export { HASHED_DIMS, HASHED_MODEL, hashedVector } from "./hashed.ts";
export { isFunctionWord, stemmed, TERMS_VERSION, termsOf, wordRunsOf } from "./terms.ts";
export {
  encodeWithBos,
  positionsOf,
  type TokenRows,
  type TokenRowsOptions,
  tokenPair,
  toStrTokens,
  toTokens,
} from "./token-rows.ts";
export type { TokenStream } from "./token-stream.ts";
export {
  type DecodeOptions,
  type EncodeOptions,
  type FrameOptions,
  Tokenizer,
  type TokenizerFacts,
} from "./tokenizer.ts";
