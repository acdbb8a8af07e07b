// Public names of settings/: typed settings, their presets and where they came from.

export type { CallerSettings } from "./callers.ts";
export { changeSettingsFile, readSettingsFile, type SettingsFile } from "./file.ts";
export {
  type Flag,
  type InForce,
  type SettingInForce,
  type SettingSource,
  type Sources,
  settingOf,
  settingsInForce,
  settingsPath,
} from "./in-force.ts";
export { type MemorySettings, memoryPresets, memorySettings } from "./memory.ts";
export { type NeededModel, type PreparedForm, type Preset, type PresetName, presetNames, presets } from "./presets.ts";
export { type Provider, type ProviderSettings, providerNamed, type ServerSettings } from "./provider.ts";
export type { RemoteSettings } from "./remotes.ts";
export { type Settings, settingKeys, variableOf } from "./settings.ts";
