// The exit code of every kind of error: the one place that maps them (docs/cli.md lists the same).
// It does not know messages.
import type { ErrorCode } from "../base/mod.ts";

const EXIT_CODES: Readonly<Record<ErrorCode, number>> = {
  "bad-input": 2,
  "bad-file": 3,
  "not-found": 4,
  unsupported: 5,
  "no-room": 6,
  io: 7,
  library: 8,
  conflict: 9,
  busy: 10,
  cancelled: 130, // 128 + SIGINT, as shells have it
};

/** Of an error that Irori did not throw on purpose. */
const EXIT_UNKNOWN = 1;

export const exitCodeOf = (code: ErrorCode | undefined): number =>
  code === undefined ? EXIT_UNKNOWN : EXIT_CODES[code];
