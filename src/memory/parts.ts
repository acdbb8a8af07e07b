// What the functions of a memory work on, put together once (memory.ts). It does not know what they do with it.
import type { MemorySettings } from "../settings/mod.ts";
import type { DataStore } from "./data-store.ts";
import type { Embedder } from "./embedder.ts";
import type { NewId } from "./ids.ts";
import type { WorkingSet } from "./working-set.ts";
import type { Writer } from "./writer.ts";

export interface Parts {
  readonly store: DataStore;
  readonly namespace: string;
  readonly embedder: Embedder;
  readonly writer: Writer;
  readonly now: () => number;
  readonly newId: NewId;
  readonly working: WorkingSet;
  readonly settings: MemorySettings;
}
