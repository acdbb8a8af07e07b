// Several streams as one, whatever comes first. It does not know what they carry.
import { NOT_WANTED } from "../base/mod.ts";

/** Values with the index of their stream; ends when all have. When one fails, or the reader leaves, `leaving` ends the others. */
export async function* merged<T>(
  streams: readonly AsyncGenerator<T, void>[],
  leaving: AbortController,
): AsyncGenerator<readonly [T, number], void> {
  const next = (i: number) => (streams[i] as AsyncGenerator<T, void>).next().then((result) => ({ i, result }));
  const waiting = new Map(streams.map((_, i) => [i, next(i)]));
  try {
    while (waiting.size > 0) {
      const { i, result } = await Promise.race(waiting.values());
      if (result.done) waiting.delete(i);
      else {
        waiting.set(i, next(i));
        yield [result.value, i];
      }
    }
  } finally {
    leaving.abort(NOT_WANTED);
    for (const each of waiting.values()) each.catch(() => undefined); // the first failure was told already
    await Promise.allSettled(streams.map((stream) => stream.return()));
  }
}
