// What a memory does seldom (import, export, migration, experiments), loaded when it is first asked for: readers of foreign
// formats and their schemas take longer to load than a store to open. It does not know how any of it is done.

import type { runEvaluation as runEvaluationNow } from "./eval/evaluations.ts";
import type { importPaths as importPathsNow } from "./import/import.ts";
import type { migrate as migrateNow } from "./legacy/migrate.ts";
import type { exportMemory as exportMemoryNow } from "./transfer/export.ts";
import type { isExport as isExportNow, restoreMemory as restoreMemoryNow } from "./transfer/import.ts";

/** Throws "not-found" for a path that is not there; what cannot be read of a folder is refused by name, the rest is imported. */
export const importPaths: typeof importPathsNow = async (...args) =>
  (await import("./import/import.ts")).importPaths(...args);

/** Takes over the files of InsightSpike in a folder. */
export const migrate: typeof migrateNow = async (...args) => (await import("./legacy/migrate.ts")).migrate(...args);

/** Throws "conflict" where the folder is there and not empty; what was begun is removed when it fails. */
export const exportMemory: typeof exportMemoryNow = async (...args) =>
  (await import("./transfer/export.ts")).exportMemory(...args);

export const isExport: typeof isExportNow = async (...args) => (await import("./transfer/import.ts")).isExport(...args);

/** Throws "bad-file" for a folder that is none, "unsupported" for one of a newer Irori. */
export const restoreMemory: typeof restoreMemoryNow = async (...args) =>
  (await import("./transfer/import.ts")).restoreMemory(...args);

/** Throws "bad-input" for an unknown name. */
export const runEvaluation: typeof runEvaluationNow = async (...args) =>
  (await import("./eval/evaluations.ts")).runEvaluation(...args);
