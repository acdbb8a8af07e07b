// What an exported memory looks like on disk: a folder with one JSON object a line for Episodes, Concepts, Links and records,
// the vectors as safetensors, and memory.json, which says whose vectors they are. It does not know stores.
import { z } from "zod";
import type { NodeRef } from "../data-store.ts";
import type { Json } from "../episode.ts";

export const FORMAT = "irori-memory";
export const FORMAT_VERSION = 1;
export const FILES = {
  about: "memory.json",
  episodes: "episodes.jsonl",
  concepts: "concepts.jsonl",
  links: "links.jsonl",
  records: "records.jsonl",
} as const;

/** Vectors of one file: those of so many lines of episodes.jsonl, in their order. */
export const VECTORS_PER_FILE = 20_000;
export const vectorsFile = (number: number): string => `vectors-${String(number).padStart(5, "0")}.safetensors`;

const count = z.int().nonnegative();
const moment = z.number();
const json: z.ZodType<Json> = z.json();
const attributes = z.record(z.string(), json);
const ref = z.templateLiteral([z.enum(["episode", "concept"]), ":", z.string().min(1)]) as z.ZodType<NodeRef>;

export const aboutShape = z.looseObject({
  format: z.literal(FORMAT),
  version: z.int(),
  embedder: z.strictObject({ id: z.string().min(1), dims: z.int().positive() }),
  episodes: count,
});

export const episodeShape = z.strictObject({
  id: z.string().min(1),
  key: z.string().optional(),
  text: z.string(),
  kind: z.enum(["experience", "insight", "contradiction"]),
  user: z.string().optional(),
  agent: z.string().optional(),
  thread: z.string().optional(),
  source: z
    .strictObject({
      uri: z.string(),
      title: z.string().optional(),
      speaker: z.string().optional(),
      start: z.number().optional(),
      end: z.number().optional(),
      page: z.number().optional(),
    })
    .optional(),
  metadata: attributes,
  confidence: z.number(),
  recordedAt: moment,
  validFrom: moment.optional(),
  validTo: moment.optional(),
  closedAt: moment.optional(),
  isRetracted: z.boolean(),
  supersededBy: z.string().optional(),
  expiresAt: moment.optional(),
  isPinned: z.boolean(),
  repeats: count,
  seenAt: moment,
  uses: count,
});

export const conceptShape = z.strictObject({
  id: z.string().min(1),
  kind: z.string(),
  name: z.string(),
  attributes,
  isPinned: z.boolean(),
});

export const linkShape = z.strictObject({
  source: ref,
  target: ref,
  kind: z.string(),
  weight: z.number(),
  attributes,
  recordedAt: moment,
});

export const recordShape = z.strictObject({
  kind: z.string().min(1),
  key: z.string().min(1),
  tag: z.string().optional(),
  body: json,
  recordedAt: moment,
});
