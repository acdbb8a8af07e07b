export type { Binding } from "./binding.ts";
export { addToBlockSums, type BlockTables } from "./block-sums.ts";
export { findLibrary } from "./library.ts";
export { type ExternalEntry, type PageEntries, PagesWriter, readPrepackedEntries, type SavedWeights } from "./pages.ts";
export type { PortInfo, Tensors } from "./ports.ts";
export type { CompileOptions, Program, RunOptions } from "./program.ts";
export { type LogLevel, Runtime, type RuntimeOptions } from "./runtime.ts";
export { byteLengthOf, type DType, Tensor, type TensorData } from "./tensor.ts";
