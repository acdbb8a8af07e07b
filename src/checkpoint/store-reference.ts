// What the store remembers of a model: one small JSON file a model, parsed at the door.
// It does not know how the bytes came.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { IroriError } from "../base/mod.ts";
import type { ContentFile } from "./content.ts";
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
  /** What the model's maker puts in front of a chat. */
  readonly system?: string;
  readonly pulledAt: number;
  /** Of a folder in the store: what it holds. */
  readonly files?: readonly ContentFile[];
  readonly place:
    | { readonly kind: "blob" }
    | { readonly kind: "folder" }
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

/** A name that stays inside its folder, whoever wrote the reference. */
const isInnerName: Check = (value) =>
  typeof value === "string" && value.split("/").every((part) => part !== "" && part !== "." && part !== "..");
const isSize: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isContentFile: Check = (value) => {
  const file = (value ?? {}) as Record<string, unknown>;
  return isInnerName(file.name) && isSize(file.bytes) && isDigest(file.sha256);
};

/** By hand, not by a schema library: this is read whenever a model opens, and loading one takes longer than all the rest. */
const checks: Readonly<Record<keyof Reference, Check>> = {
  format: (value) => value === 1,
  name: isText,
  source: isText,
  bytes: isSize,
  sha256: optional(isDigest),
  contentId: isDigest,
  license: optional(isText),
  family: optional(isText),
  description: optional(isText),
  system: optional(isText),
  pulledAt: isNumber,
  files: optional((value) => Array.isArray(value) && value.every(isContentFile)),
  place: (value) => {
    const place = (value ?? {}) as Record<string, unknown>;
    if (place.kind === "blob" || place.kind === "folder") return true;
    return place.kind === "in-place" && isText(place.path) && isText(place.stamp) && isNumber(place.checkedAt);
  },
};

export function referencePath(home: string, name: string): string {
  return join(home, "models", `${name}.json`);
}

/** The blob's file: named by its content, so equal bytes are kept once. */
function blobPath(home: string, sha256: string): string {
  return join(home, "blobs", `sha256-${sha256}`);
}

/** The folder of a model of several files, named by the content of all. */
function folderPath(home: string, contentId: string): string {
  return join(home, "blobs", `folder-${contentId}`);
}

/** Where a model's bytes lie. */
export function contentPath(home: string, { contentId, place }: Pick<Reference, "contentId" | "place">): string {
  if (place.kind === "in-place") return place.path;
  return place.kind === "blob" ? blobPath(home, contentId) : folderPath(home, contentId);
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
