// What leaves the process: texts and JSON on stdout, sentences on stderr. A reader of stdout who went away (EPIPE) stops
// the work and is no error. It does not know what is printed.
import { IroriError } from "../base/mod.ts";
import { exitCodeOf } from "./exit-codes.ts";

const closed = new AbortController();

/** Nobody reads stdout any more. */
export const isOutputClosed = (): boolean => closed.signal.aborted;

export function watchOutput(): void {
  const unlessGone = (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE" && error.code !== "EOF") throw error;
  };
  process.stdout.on("error", (error) => {
    unlessGone(error);
    closed.abort(error);
  });
  process.stderr.on("error", unlessGone); // nobody reads the sentences: the work is for stdout
}

export interface Stop extends Disposable {
  readonly signal: AbortSignal;
}

/** Aborts at the first Ctrl-C or when nobody reads; a second Ctrl-C ends the process at once. Until disposed. */
export function listenForStop(): Stop {
  const interrupted = new AbortController();
  const onInterrupt = () => {
    if (interrupted.signal.aborted) process.exit(exitCodeOf("cancelled"));
    interrupted.abort();
  };
  process.on("SIGINT", onInterrupt);
  const signal = AbortSignal.any([interrupted.signal, closed.signal]);
  return { signal, [Symbol.dispose]: () => void process.off("SIGINT", onInterrupt) };
}

export function print(text: string): void {
  if (!closed.signal.aborted) process.stdout.write(text);
}
export const printJson = (value: unknown): void => print(`${JSON.stringify(value)}\n`);
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Tells of an error; the exit code. */
export function tell(error: unknown, isJson: boolean): number {
  const code = error instanceof IroriError ? error.code : undefined;
  if (isOutputClosed() && code === "cancelled") return 0;
  const message = error instanceof Error ? error.message : String(error);
  if (isJson) printJson({ error: { code: code ?? "unknown", message } });
  else say(`irori: ${message}`);
  if (process.env.IRORI_DEBUG === "1" && error instanceof Error) say(debugText(error));
  return exitCodeOf(code);
}

function debugText(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${debugText(error.cause)}` : "";
  return `${error.stack ?? error.message}${cause}`;
}

/** Rows as columns, two spaces between; columns named in `right` are aligned to the right. */
export function columns(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  const pad = (cell: string, i: number) =>
    right.includes(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0);
  return rows.map((row) => `${row.map(pad).join("  ").trimEnd()}\n`).join("");
}
