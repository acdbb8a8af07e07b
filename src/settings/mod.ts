// Public names of settings/: typed settings and their presets.

export { type MemorySettings, memoryPresets, memorySettings } from "./memory.ts";
