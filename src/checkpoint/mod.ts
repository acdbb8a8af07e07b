// Public names of checkpoint/: model files, sources, and the store of prepared models.

export type { BlockType, ExactForm } from "./block-type.ts";
export { blockTypes } from "./block-types.ts";
export { type Checkpoint, openCheckpoint } from "./checkpoint.ts";
export type { MetadataValue } from "./gguf-metadata.ts";
export type { TensorInfo } from "./tensor-info.ts";
