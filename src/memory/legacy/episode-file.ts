// Episodes in InsightSpike's JSON layouts: an array, { episodes }, { data }; vec, vector or embedding; c or c_value.
// It does not know what becomes of them.
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { IroriError } from "../../base/mod.ts";
import type { Json } from "../episode.ts";

export interface LegacyEpisode {
  readonly text: string;
  readonly confidence: number | undefined;
  readonly vector: Float32Array | undefined;
  readonly at: number | undefined;
  readonly metadata: Readonly<Record<string, Json>>;
  /** Of the file, as it stands there. */
  readonly id: string | undefined;
}

export interface LegacyRows {
  readonly episodes: readonly LegacyEpisode[];
  readonly refused: readonly { readonly where: string; readonly reason: string }[];
}

const numbers = z.array(z.number());
const row = z.looseObject({
  id: z.union([z.string(), z.number()]).nullish(),
  text: z.string().nullish(),
  content: z.string().nullish(),
  c: z.number().nullish(),
  c_value: z.number().nullish(),
  confidence: z.number().nullish(),
  vec: numbers.nullish(),
  vector: numbers.nullish(),
  embedding: numbers.nullish(),
  timestamp: z.union([z.number(), z.string()]).nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
});

/** Throws "bad-file" for what is none of the layouts. */
export async function readEpisodeFile(path: string): Promise<LegacyRows> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw new IroriError("bad-file", { what: `${path} is no JSON`, got: (error as Error).message, cause: error });
  }
  const { episodes, data } = (value ?? {}) as { episodes?: unknown; data?: unknown };
  const rows = [value, episodes, data].find((one) => Array.isArray(one)) as unknown[] | undefined;
  if (rows === undefined)
    throw new IroriError("bad-file", {
      what: `${path} has no episodes`,
      wanted: "an array, or one under episodes or data",
    });
  const found: LegacyEpisode[] = [];
  const refused: { where: string; reason: string }[] = [];
  for (const [i, entry] of rows.entries()) {
    const read = episodeOf(entry);
    if (typeof read === "string") refused.push({ where: `row ${i + 1}`, reason: read });
    else found.push(read);
  }
  return { episodes: found, refused };
}

/** The episode, or why it is none. */
export function episodeOf(entry: unknown): LegacyEpisode | string {
  const parsed = row.safeParse(entry);
  if (!parsed.success)
    return parsed.error.issues.map(({ path, message }) => `${path.join(".") || "it"}: ${message}`).join("; ");
  const { id, text, content, c, c_value, confidence, vec, vector, embedding, timestamp, metadata } = parsed.data;
  const said = text ?? content ?? "";
  if (said.trim() === "") return "no text";
  const sure = c ?? c_value ?? confidence ?? undefined;
  const direction = vec ?? vector ?? embedding ?? undefined;
  const seconds =
    typeof timestamp === "number"
      ? timestamp
      : typeof timestamp === "string"
        ? Date.parse(timestamp) / 1000
        : undefined;
  return {
    text: said,
    confidence: sure,
    vector: direction && Float32Array.from(direction),
    at:
      seconds !== undefined && Number.isFinite(seconds)
        ? Math.round(seconds < 1e11 ? seconds * 1000 : seconds)
        : undefined,
    metadata: JSON.parse(JSON.stringify(metadata ?? {})) as Record<string, Json>,
    id: id === null || id === undefined ? undefined : String(id),
  };
}
