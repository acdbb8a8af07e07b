// What the store remembers of a model: one small JSON file a model, parsed at the door.
// It does not know how the bytes came.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import { parseJson } from "./json.ts";
import { diskCall } from "./model-file.ts";
import { printable } from "./quoted.ts";

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const shape = z.object({
  format: z.literal(1),
  name: z.string(),
  source: z.string(),
  bytes: z.int().nonnegative(),
  sha256: digest.exactOptional(),
  contentId: digest,
  license: z.string().exactOptional(),
  family: z.string().exactOptional(),
  description: z.string().exactOptional(),
  pulledAt: z.number(),
  place: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("blob") }),
    z.object({ kind: z.literal("in-place"), path: z.string(), stamp: z.string(), checkedAt: z.number() }),
  ]),
});

export type Reference = Readonly<z.infer<typeof shape>>;

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
  const result = shape.safeParse(value);
  if (result.success && result.data.name === name) return result.data;
  const issue = result.error?.issues[0];
  throw new IroriError("bad-file", {
    what: `${path}: ${printable(issue?.path.join(".") ?? "") || "the name"}`,
    got: printable(issue?.message ?? "another model's reference"),
    next: `remove it (irori rm ${name}) and pull the model again`,
    cause: result.error,
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
