export { addFamily, decoderNamed, families, familyNamed, familyOf, familyOfGguf } from "./families.ts";
export type {
  Config,
  Decoder,
  Family,
  Gguf,
  GgufSource,
  GgufTensor,
  Head,
  RotaryTables,
  Tokens,
  Weights,
} from "./family.ts";
export { type LlamaConfig, llama } from "./llama.ts";
export { type Parts, type Processing, processed } from "./processing.ts";
export { inverseFrequencies, type Rotary, type RotaryScaling, rotaryTables } from "./rotary-tables.ts";
export { type CachedRows, cachedRows, maskOf, wholeSequence } from "./tokens.ts";
