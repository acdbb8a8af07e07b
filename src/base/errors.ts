// Errors: sentences with numbers (what, got, wanted, next step) and a code that programs can branch on.
// They do not know exit codes, HTTP statuses or colours: each face maps the code once.

export type ErrorCode =
  | "bad-input" // the caller asked for something that cannot be asked
  | "bad-file" // a file is truncated, corrupted or not what its name says
  | "not-found" // a model, source or file does not exist
  | "unsupported" // understood, but not something Irori does
  | "no-room" // memory or context would not fit
  | "conflict" // somebody else changed the thing in between
  | "busy" // somebody else holds it, or all of it, and did not let go in time
  | "io" // the disk or the network refused
  | "library" // a native library is missing or answered with an error
  | "cancelled"; // the caller stopped it

export interface ErrorParts {
  /** What happened, naming the thing: "model.gguf: the header is cut". No final full stop. */
  readonly what: string;
  readonly got?: string | number | bigint | undefined;
  readonly wanted?: string | number | bigint | undefined;
  /** What the reader can do now. */
  readonly next?: string | undefined;
  readonly cause?: unknown;
}

/** Every error that Irori throws on purpose. `message` is the whole sentence; the parts are kept as fields. */
export class IroriError extends Error {
  readonly code: ErrorCode;
  readonly parts: ErrorParts;

  constructor(code: ErrorCode, parts: ErrorParts) {
    super(sentence(parts), parts.cause === undefined ? undefined : { cause: parts.cause });
    this.name = `${code
      .split("-")
      .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
      .join("")}Error`;
    this.code = code;
    this.parts = parts;
  }
}

function sentence({ what, got, wanted, next }: ErrorParts): string {
  let text = what;
  if (got !== undefined && wanted !== undefined) text += `: got ${got}, wanted ${wanted}`;
  else if (got !== undefined) text += `: got ${got}`;
  else if (wanted !== undefined) text += `: wanted ${wanted}`;
  return next === undefined ? text : `${text}; ${next}`;
}

/** The reason of a cancelled signal as an IroriError. */
export function cancelled(what: string, signal?: AbortSignal): IroriError {
  return new IroriError("cancelled", { what: `${what} was cancelled`, cause: signal?.reason });
}
