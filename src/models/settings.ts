// Reading config.json: a schema's complaint as a sentence, and sizes that must fit each other.
// It does not know families.
import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import type { Config } from "./family.ts";

export const size = z.number().int().positive();

/** A family's config.json by its schema; throws "unsupported" naming the first setting that does not fit. */
export function readSettings<S extends z.ZodType>(schema: S, json: unknown, family: string): z.infer<S> {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const got = issue?.path.reduce((at: unknown, key) => (at as Record<PropertyKey, unknown>)?.[key], json);
  throw new IroriError("unsupported", {
    what: `config.json of a ${family}: ${issue?.path.join(".") || "the whole"} is not supported`,
    got: JSON.stringify(got),
    wanted: issue?.message,
  });
}

/** Sizes that must divide each other do. */
export function checked<C extends Config>(c: C, family: string): C {
  const rules: readonly [boolean, string, string][] = [
    [Number.isInteger(c.headSize) && c.headSize % 2 === 0, `head size ${c.headSize}`, "an even whole number"],
    [c.heads % c.kvHeads === 0, `${c.heads} query heads for ${c.kvHeads} key-value heads`, "a multiple of them"],
    [c.vocabSize > 0, `a vocabulary of ${c.vocabSize}`, "one token or more"],
  ];
  for (const [holds, got, wanted] of rules)
    if (!holds)
      throw new IroriError("bad-file", { what: `the configuration of this ${family} cannot be`, got, wanted });
  return c;
}

/** Which layers attend through a window: as `layer_types` says, else as the family's older checkpoints meant. */
export function windowsOf(
  layerTypes: readonly string[] | null | undefined,
  layers: number,
  window: number | null | undefined,
  isSliding: (layer: number) => boolean,
): readonly (number | null)[] {
  if (layerTypes && layerTypes.length !== layers)
    throw new IroriError("bad-file", { what: "config.json: layer_types", got: layerTypes.length, wanted: layers });
  return Array.from({ length: layers }, (_, l) =>
    (layerTypes ? layerTypes[l] === "sliding_attention" : isSliding(l)) ? (window ?? null) : null,
  );
}

/** Kinds of layers that are supported, as transformers 5 writes them for each layer. */
export const layerTypes = z.array(z.enum(["full_attention", "sliding_attention"])).nullish();
