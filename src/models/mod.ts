export { families, familyOf, familyOfGguf } from "./families.ts";
export type { Config, Family, GgufSource, GgufTensor, RotaryTables, Tokens, Weights } from "./family.ts";
export { type LlamaConfig, llama } from "./llama.ts";
export { inverseFrequencies, type RotaryScaling, rotaryTables } from "./rotary-tables.ts";
export { type CachedRows, cachedRows, wholeSequence } from "./tokens.ts";
