// The end of an answer that is streamed. It does not know what is asked.
import assert from "node:assert/strict";
import type { Answer, GenerateRequest, GenerationEvent, Lease } from "../../src/engine/mod.ts";

export async function answerTo(
  lease: Lease,
  request: GenerateRequest,
  { signal, onEvent }: { readonly signal?: AbortSignal; readonly onEvent?: (event: GenerationEvent) => void } = {},
): Promise<Answer> {
  for await (const event of lease.generate(request, { signal })) {
    onEvent?.(event);
    if (event.type === "end") return event;
  }
  return assert.fail("an answer without an end");
}
