// Public names of checkpoint/: model files, sources, and the store of prepared models.

export { Archive } from "./archive.ts";
export type { BlockType, ExactForm } from "./block-type.ts";
export { type CatalogEntry, catalog } from "./catalog.ts";
export type { Checkpoint } from "./checkpoint.ts";
export { bytesOf, type Content, type ContentFile } from "./content.ts";
export type { MetadataValue } from "./gguf-metadata.ts";
export { openCheckpoint } from "./open.ts";
export { formatSource, parseSource, type Source } from "./source.ts";
export { Store, type StoredModel, type StoreOptions } from "./store.ts";
export { defaultHome } from "./store-home.ts";
export type { PullOptions } from "./store-pull.ts";
export type { TensorInfo } from "./tensor-info.ts";
export { type Numbers, readSafetensors, writeSafetensors } from "./write-safetensors.ts";
