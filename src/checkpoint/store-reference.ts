// What the store remembers of a model: one small JSON file a model, parsed at the door.
// It does not know how the bytes came.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { IroriError } from "../base/mod.ts";
import { parseJson } from "./json.ts";
import { diskCall } from "./model-file.ts";
import { printable } from "./quoted.ts";

export interface Reference {
  readonly format: 1;
  readonly name: string;
  readonly source: string;
  readonly bytes: number;
  readonly sha256?: string;
  readonly contentId: string;
  readonly license?: string;
  readonly family?: string;
  readonly description?: string;
  readonly pulledAt: number;
  readonly place:
    | { readonly kind: "blob" }
    | { readonly kind: "in-place"; readonly path: string; readonly stamp: string; readonly checkedAt: number };
}

type Check = (value: unknown) => boolean;
const isText: Check = (value) => typeof value === "string";
const isNumber: Check = (value) => typeof value === "number";
const isDigest: Check = (value) => typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);

/** By hand, not by a schema library: this is read whenever a model opens, and loading one takes longer than all the rest. */
const checks: Readonly<Record<keyof Reference, Check>> = {
  format: (value) => value === 1,
  name: isText,
  source: isText,
  bytes: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  sha256: optional(isDigest),
  contentId: isDigest,
  license: optional(isText),
  family: optional(isText),
  description: optional(isText),
  pulledAt: isNumber,
  place: (value) => {
    const place = (value ?? {}) as Record<string, unknown>;
    if (place.kind === "blob") return true;
    return place.kind === "in-place" && isText(place.path) && isText(place.stamp) && isNumber(place.checkedAt);
  },
};

export function referencePath(home: string, name: string): string {
  return join(home, "models", `${name}.json`);
}

/** The blob's file: named by its content, so equal bytes are kept once. */
export function blobPath(home: string, sha256: string): string {
  return join(home, "blobs", `sha256-${sha256}`);
}

export async function readReference(home: string, name: string): Promise<Reference | undefined> {
  const path = referencePath(home, name);
  let bytes: Uint8Array;
  try {
    bytes = await diskCall(path, () => readFile(path));
  } catch (error) {
    if (error instanceof IroriError && error.code === "not-found") return undefined;
    throw error;
  }
  const { value } = parseJson(path, bytes);
  const fields = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const wrong = Object.entries(checks).find(([field, isRight]) => !isRight(fields[field]))?.[0];
  if (wrong === undefined && fields.name === name) return fields as unknown as Reference;
  throw new IroriError("bad-file", {
    what: `${path}: ${wrong ?? "the name"}`,
    got: wrong === undefined ? "another model's reference" : printable(JSON.stringify(fields[wrong]) ?? "nothing"),
    next: `remove it (irori rm ${name}) and pull the model again`,
  });
}

export async function referenceNames(home: string): Promise<string[]> {
  const folder = join(home, "models");
  const names = await diskCall(folder, () => readdir(folder));
  return names
    .filter((name) => name.endsWith(".json"))
    .map((name) => name.slice(0, -5))
    .sort();
}
