// The package `irori`: its version and what every user of it meets. The areas have their own subpaths.

import { createRequire } from "node:module";

export { type ErrorCode, type ErrorParts, IroriError } from "./base/mod.ts";

/** The version of this package, as its package.json has it. */
export const version: string = createRequire(import.meta.url)("../package.json").version;
