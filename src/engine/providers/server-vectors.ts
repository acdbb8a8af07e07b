// Vectors in OpenAI's shape as plain data. It does not know where they come from.
import { z } from "zod";
import { IroriError } from "../../base/mod.ts";

const shape = z.object({ data: z.array(z.object({ index: z.int().nonnegative(), embedding: z.array(z.number()) })) });

/** One for each text, in their order. Throws "library" where there are others, or numbers that are none. */
export function vectorsIn(id: string, text: string, count: number): Float32Array[] {
  const bad = (got: string, wanted?: string) =>
    new IroriError("library", { what: `${id}: what it sends are no vectors of the texts`, got, wanted });
  const parsed = shape.safeParse(jsonOf(text, bad));
  if (!parsed.success) throw bad(`${parsed.error.issues[0]?.path.join(".")}: ${parsed.error.issues[0]?.message}`);
  const { data } = parsed.data;
  const byIndex = new Map(data.map(({ index, embedding }) => [index, Float32Array.from(embedding)]));
  return Array.from({ length: count }, (_, i) => {
    const vector = byIndex.get(i);
    if (vector === undefined || data.length !== count)
      throw bad(`${data.length} vectors`, `one for each of ${count} texts`);
    if (!vector.every(Number.isFinite)) throw bad("a vector that is not finite");
    return vector;
  });
}

function jsonOf(text: string, bad: (got: string) => IroriError): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw bad(JSON.stringify(text.slice(0, 80)));
  }
}
