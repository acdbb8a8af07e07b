// Timers that do not keep a process alive. It does not know what they are for.

/** Longer times would be taken for none. */
const MOST_MS = 2 ** 31 - 1;

/** Calls later, once; gives what ends that. */
export function after(ms: number, then: () => void): () => void {
  const timer = setTimeout(then, Math.min(ms, MOST_MS));
  timer.unref();
  return () => clearTimeout(timer);
}

/** Calls again and again; gives what ends that. */
export function every(ms: number, then: () => void): () => void {
  const timer = setInterval(then, ms);
  timer.unref();
  return () => clearInterval(timer);
}
