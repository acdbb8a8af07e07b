// What goes between the server and the engine's process: calls by number, and what comes of them. Plain data only.
// It does not know processes.
import { type ErrorCode, type ErrorParts, IroriError, type ProgressEvent } from "../base/mod.ts";
import type { LeaseOptions } from "../engine/mod.ts";
import type { HostEvent } from "./host.ts";
import type { InsideFiles } from "./inside-files.ts";

/** How the engine of a child is opened. */
export interface EngineSetting {
  /** Settings in force, as the settings file has them; the child's own where absent. */
  readonly settings?: unknown;
  /** Answers at once for which Programs are opened. */
  readonly rows: number;
  readonly lease?: Pick<LeaseOptions, "form" | "hasInt8Prompts" | "kvType"> | undefined;
  readonly inside?: InsideFiles | undefined;
}

export const OPERATIONS = [
  "measure",
  "load",
  "unload",
  "encode",
  "embed",
  "inside",
  "hookPoints",
  "captureSizes",
  "stored",
  "pull",
  "remove",
  "memory",
] as const;
export type Operation = (typeof OPERATIONS)[number];

export type ToEngine =
  | {
      readonly type: "call";
      readonly id: number;
      readonly operation: Operation | "generate";
      readonly args: readonly unknown[];
    }
  | { readonly type: "abort" | "pause" | "resume"; readonly id: number };

export type FromEngine =
  | { readonly type: "value"; readonly id: number; readonly value: unknown }
  | { readonly type: "error"; readonly id: number; readonly error: WiredError }
  | { readonly type: "event"; readonly id: number; readonly event: HostEvent }
  | { readonly type: "progress"; readonly id: number; readonly event: ProgressEvent };

export interface WiredError {
  readonly code: ErrorCode | undefined;
  readonly parts: ErrorParts;
}

export function toWire(error: unknown): WiredError {
  if (error instanceof IroriError) {
    const { cause: _, ...parts } = error.parts;
    return { code: error.code, parts };
  }
  return { code: undefined, parts: { what: error instanceof Error ? (error.stack ?? error.message) : String(error) } };
}
export const fromWire = ({ code, parts }: WiredError): Error =>
  code === undefined ? new Error(parts.what) : new IroriError(code, parts);
