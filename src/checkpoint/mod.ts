// Public names of checkpoint/: model files, sources, and the store of prepared models.

export { Archive } from "./archive.ts";
export type { BlockType, ExactForm } from "./block-type.ts";
export type { Terms } from "./catalog.ts";
export { type CatalogEntry, catalog } from "./catalog.ts";
export type { Checkpoint } from "./checkpoint.ts";
export { bytesOf, type Content, type ContentFile } from "./content.ts";
export type { MetadataValue } from "./gguf-metadata.ts";
export type { NetworkOptions } from "./network.ts";
export { openCheckpoint } from "./open.ts";
export type { PullOptions } from "./pull-options.ts";
export { formatSource, parseSource, type Source } from "./source.ts";
export {
  type ImportedModel,
  type Pruned,
  type PruneOptions,
  Store,
  type StoredModel,
  type StoreOptions,
} from "./store.ts";
export type { Alias, ModelDefaults } from "./store-alias.ts";
export { defaultHome } from "./store-home.ts";
export type { TensorInfo } from "./tensor-info.ts";
export { type Numbers, readSafetensors, writeSafetensors } from "./write-safetensors.ts";
