// The version of this package. It does not know what asks.
import { readFileSync } from "node:fs";

export const versionHere = (): string =>
  JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version;
