// What a running server's errors are to whoever asked it. It does not know what was asked.
import { type ErrorCode, IroriError } from "../../base/mod.ts";

const OPEN_HERE = "ask again, or open the model here with --no-server";

/** An error as the server writes it. */
export interface Refusal {
  readonly message: string;
  readonly code?: string | undefined;
}

/** The server's codes (`http/errors.ts`), as kinds of ours. */
const KINDS: Readonly<Record<string, ErrorCode>> = {
  ...{ bad_input: "bad-input", invalid_request: "bad-input", context_length_exceeded: "no-room" },
  ...{ not_found: "not-found", unsupported: "unsupported", conflict: "conflict", cancelled: "cancelled" },
  ...{ no_room: "no-room", busy: "busy", engine_lost: "busy", lane_full: "busy", lane_late: "busy" },
  ...{ bad_file: "bad-file", library: "library", io: "io", no_usable_answer: "io", internal: "io" },
};

export class ServerError extends IroriError {
  /** It is not there, or lets nobody in: no request has a fault. */
  readonly isGone: boolean;
  /** Why it may be asked again: the engine died under the request, the lane is full, memory is taken. */
  readonly passing: "lost" | "busy" | "full" | undefined;

  private constructor(
    code: ErrorCode,
    what: string,
    more: { isGone: boolean; passing?: ServerError["passing"]; cause?: unknown },
  ) {
    const { isGone, passing, cause } = more;
    super(code, { what, next: isGone || passing ? OPEN_HERE : undefined, cause });
    this.isGone = isGone;
    this.passing = passing;
  }

  /** @param status where the whole response is the error */
  static refused(url: string, { message, code = "" }: Refusal, status?: number): ServerError {
    const kind = KINDS[code] ?? "io";
    const passing =
      code === "engine_lost" ? "lost" : code === "no_room" ? "full" : kind === "busy" ? "busy" : undefined;
    const isGone = status === 401 || status === 403;
    return new ServerError(kind, `the server at ${url} refuses: ${message}`, { isGone, passing });
  }

  static gone(url: string, fault: string, cause?: unknown): ServerError {
    return new ServerError("io", `the server at ${url}: ${fault}`, { isGone: true, cause });
  }
}

/** What a body says that is an error. */
export function refusalIn(body: string): Refusal {
  const plain = { message: body.slice(0, 200) };
  try {
    const { error } = JSON.parse(body) as { readonly error?: Refusal };
    return { ...plain, ...error };
  } catch {
    return plain;
  }
}
