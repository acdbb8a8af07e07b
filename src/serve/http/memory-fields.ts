// What callers say of a memory, in bodies and headers, and how episodes are told. It does not know routes.
import { z } from "zod";
import type { Memory, Recalled } from "../../memory/mod.ts";
import { HttpError } from "./errors.ts";
import type { Ctx, Serving } from "./serving.ts";

const name = z.string().min(1).max(200);
const namespace = name.optional();
/** Whose: others' texts are not mixed in. */
const scopeFields = { user: name.optional(), agent: name.optional(), thread: name.optional() };
export const placeFields = { namespace, ...scopeFields };

/** A chat that has a memory. */
export const chatMemorySchema = z.strictObject({
  ...placeFields,
  /** Episodes that are recalled at most. */
  count: z.number().int().min(1).max(50).optional(),
  /** Whether what is relevant is recalled into the prompt. Default true. */
  recall: z.boolean().optional(),
  /** Whether the turn is remembered. Default true. */
  remember: z.boolean().optional(),
  /** Whether what is new is judged for what it restructures. Default false: it takes some 40 ms of the server. */
  insight: z.boolean().optional(),
});
export type ChatMemory = z.infer<typeof chatMemorySchema>;

/** The memory's field of bodies of chats. */
export const memoryField = { memory: chatMemorySchema.nullish() };

/** A caller's memory. Throws 403 where the caller's key does not have the namespace. */
export async function memoryOf(serving: Serving, c: Ctx, named = "default", writer?: Parameters<typeof open>[2]) {
  const { name: caller } = c.get("caller");
  const allowed = serving.namespacesOf(caller);
  if (allowed !== undefined && !allowed.includes(named))
    throw new HttpError(
      403,
      "bad-input",
      { what: `the memory of ${caller}`, got: JSON.stringify(named), wanted: allowed.join(" or ") || "none" },
      "namespace",
    );
  return open(serving, named, writer);
}
const open = (
  { memories }: Serving,
  named: string,
  writer?: Parameters<Serving["memories"]["of"]>[1],
): Promise<Memory> => memories.of(named, writer);

export const iso = (at: number): string => new Date(at).toISOString();

export function episodeOf(episode: Recalled["episode"]) {
  const { id, text, kind, source, metadata, confidence, recordedAt, isPinned, repeats, user, agent, thread } = episode;
  return {
    ...{ id, text, kind, metadata, confidence, recorded_at: iso(recordedAt), pinned: isPinned, repeats },
    ...{ ...(source && { source }), ...(user && { user }), ...(agent && { agent }), ...(thread && { thread }) },
  };
}
