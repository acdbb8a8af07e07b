// Another embedder for a store: every text is embedded anew beside the vectors in use, which serve until the last is there.
// It goes on where it stopped. It does not know which embedders there are.
import { cancelled, type OnProgress } from "../base/mod.ts";
import type { DataStore } from "./data-store.ts";
import type { Embedder } from "./embedder.ts";

const BATCH = 64;

/** Episodes that were embedded this time. The store must be opened anew, with the new embedder, afterwards. */
export async function reindex(
  store: DataStore,
  embedder: Embedder,
  {
    signal,
    onProgress,
  }: { readonly signal?: AbortSignal | undefined; readonly onProgress?: OnProgress | undefined } = {},
): Promise<number> {
  await store.beginReindex({ id: embedder.id, dims: embedder.dims });
  let done = 0;
  for (;;) {
    if (signal?.aborted) throw cancelled("reindexing", signal);
    const missing = await store.unindexed(BATCH);
    if (missing.length === 0) break;
    const vectors = await embedder.embed(
      missing.map(({ text }) => text),
      { signal },
    );
    await store.putVectors(
      missing.map(({ namespace, id, version }, i) => ({ namespace, id, version, vector: vectors[i] as Float32Array })),
    );
    done += missing.length;
    onProgress?.({ step: "reindex", done, unit: "steps" });
  }
  await store.finishReindex();
  return done;
}
