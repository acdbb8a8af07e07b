// The index of an exported model: which files are in it, each by its length and hash, and what the store knows of the model.
// Parsed at the door; it does not know archives.

import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import { parseJson } from "./json.ts";
import { printable } from "./quoted.ts";

export const INDEX = "irori-model.json";
export const mostIndexBytes = 16 << 20;

/** A name that stays in its folder, on every platform. */
const isInside = (name: string): boolean =>
  !/[\p{Cc}\\:]/u.test(name) && name.split("/").every((step) => step !== "" && step !== "." && step !== "..");

const inner = z.string().max(1000).refine(isInside, "a name that leaves its folder");
const text = z.string().max(1 << 20);
const fileShape = {
  bytes: z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
};

const indexShape = z
  .object({
    format: z.literal(1),
    model: z.object({
      name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,100}$/),
      source: text,
      license: text.optional(),
      family: text.optional(),
      description: text.optional(),
      system: text.optional(),
      pulledAt: z.number(),
    }),
    content: z.object({
      layout: z.enum(["file", "folder"]),
      files: z.array(z.object({ name: z.union([inner, z.literal("")]), ...fileShape })).min(1),
    }),
    forms: z.array(
      z.object({
        form: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,60}$/),
        files: z.array(z.object({ name: inner.refine((name) => !name.includes("/")), ...fileShape })),
      }),
    ),
  })
  .refine(({ content: { layout, files } }) => {
    const names = files.map(({ name }) => name);
    if (new Set(names).size !== names.length) return false;
    return layout === "file" ? names.length === 1 && names[0] === "" : !names.includes("");
  }, "files that do not fit their layout");

export type ExportIndex = z.infer<typeof indexShape>;

export const indexBytes = (index: ExportIndex): string => `${JSON.stringify(index, undefined, 2)}\n`;

export async function parseIndex(what: string, bytes: Uint8Array): Promise<ExportIndex> {
  const parsed = indexShape.safeParse(parseJson(what, bytes).value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new IroriError("bad-file", {
    what: `${what}: ${printable((issue?.path ?? []).join("."))}`,
    got: printable(issue?.message ?? "something else"),
    wanted: "an index that `irori export` wrote",
  });
}
