// Waiting that an AbortSignal ends. It does not know what is waited for.
import { cancelled } from "./errors.ts";

/** Why work is stopped whose end nobody waits for: one for all, since an error of its own for each would cost more than to stop it. */
export const NOT_WANTED: Error = cancelled("what nobody waits for any more");

/** What is awaited, or "cancelled" as soon as the signal aborts: the work itself goes on for others. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined, what: string): Promise<T> {
  if (signal === undefined) return work;
  if (signal.aborted) throw cancelled(what, signal);
  const left = Promise.withResolvers<never>();
  const leave = () => left.reject(cancelled(what, signal));
  signal.addEventListener("abort", leave, { once: true });
  try {
    return await Promise.race([work, left.promise]);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}
