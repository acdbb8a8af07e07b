// Work that tells things by a callback, as a generator. It does not know what is told.
import { NOT_WANTED } from "../base/mod.ts";

/**
 * What `work` tells, one after another; where it fails, its error behind the last. A reader who leaves before the end aborts the
 * signal that the work is given, as the caller's own `signal` does.
 */
export async function* told<T>(
  signal: AbortSignal | undefined,
  work: (tell: (value: T) => void, signal: AbortSignal) => Promise<unknown>,
): AsyncGenerator<T, void> {
  const left = new AbortController();
  const values: T[] = [];
  let wake = Promise.withResolvers<void>();
  let [isDone, failure] = [false, undefined as unknown];
  const tell = (value: T): void => {
    values.push(value);
    wake.resolve();
  };
  work(tell, signal ? AbortSignal.any([signal, left.signal]) : left.signal)
    .catch((error: unknown) => {
      failure = error;
    })
    .finally(() => {
      isDone = true;
      wake.resolve();
    });
  try {
    for (;;) {
      for (let value = values.shift(); value !== undefined; value = values.shift()) yield value;
      if (isDone) break;
      await wake.promise;
      wake = Promise.withResolvers();
    }
    if (failure !== undefined) throw failure;
  } finally {
    left.abort(NOT_WANTED);
  }
}
