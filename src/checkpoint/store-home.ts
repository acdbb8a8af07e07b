// Which folder holds the store when nobody names one: the platform's cache folder.
// It reads no environment and creates nothing: both are the caller's.

import { posix, win32 } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

export function defaultHome(platform: NodeJS.Platform, env: Environment, homedir: string): string {
  if (env.IRORI_HOME) return env.IRORI_HOME;
  if (platform === "win32") return win32.join(env.LOCALAPPDATA || win32.join(homedir, "AppData", "Local"), "irori");
  if (platform === "darwin") return posix.join(homedir, "Library", "Caches", "irori");
  const cache = env.XDG_CACHE_HOME;
  return posix.join(cache && posix.isAbsolute(cache) ? cache : posix.join(homedir, ".cache"), "irori");
}
