// A prompt read whole into a cache of one's own, but for what others have read of it. It does not know what it is read for.

import type { KvMemory } from "./kv-memory.ts";
import type { Candidates } from "./logits.ts";
import type { Row } from "./row.ts";

/** Feeds what the row's cache, taken for these ids, lacks of them; what follows the last, valid until the next step. */
export async function readPrompt(row: Row, memory: KvMemory, ids: readonly number[]): Promise<Candidates> {
  const { cache } = row;
  const skip = cache.length === 0 ? { skip: () => memory.share(cache) } : {};
  // a cache never comes with the last of the tokens that it was taken for, so something is fed
  return (await row.feed(ids.slice(cache.length), { isPrompt: true, ...skip })) as Candidates;
}
