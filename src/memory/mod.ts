// Public names of memory/: stores, what is remembered, what is asked.

export type { MemoryAnswer } from "./ask.ts";
export type {
  Added,
  AddOptions,
  Concept,
  DataStore,
  EmbedderIdentity,
  Found,
  Link,
  Network,
  NodeRef,
  Page,
  StoredRecord,
} from "./data-store.ts";
export { everyEpisode, everyItem } from "./data-store.ts";
export { type Embedder, hashedEmbedder, modelEmbedder } from "./embedder.ts";
export {
  type Episode,
  holdsAt,
  type Json,
  type Moment,
  type NewEpisode,
  type Provenance,
  type Scope,
} from "./episode.ts";
export type { EvaluationSetting } from "./eval/evaluations.ts";
export { EVALUATIONS } from "./eval/names.ts";
export type { Filter } from "./filter.ts";
export { idMaker, type NewId } from "./ids.ts";
export { readDocument } from "./import/document.ts";
export type { ImportedFile } from "./import/import.ts";
export { openInMemory } from "./in-memory/store.ts";
export type { Spike, Why } from "./insight/spike.ts";
export { SLEEP_FADE } from "./maintain.ts";
export { Memory, type MemoryOptions } from "./memory.ts";
export { embedderOfPostgres, openPostgres, type PostgresOptions } from "./postgres/store.ts";
export type { Recall, Recalled, RecallOptions } from "./recall.ts";
export { reindex } from "./reindex.ts";
export type { Remembered, Told } from "./remember.ts";
export { exportMemory, importPaths, isExport, migrate, restoreMemory, runEvaluation } from "./seldom.ts";
export { type Piece, sentencesOf } from "./sentences.ts";
export { embedderOf, openSqlite, type SqliteOptions } from "./sqlite/host.ts";
export type { Exported } from "./transfer/export.ts";
export type { Restored } from "./transfer/import.ts";
export { chatWriter, DATA_ONLY, type Message, quoted, type Task, type Writer } from "./writer.ts";
