// What becomes of an error over HTTP: the one map from codes to statuses, and the shapes of the APIs.
// It does not know routes.
import { z } from "zod";
import { type ErrorCode, IroriError } from "../../base/mod.ts";
import { ContextError } from "../answers.ts";
import { EngineLostError } from "../engine-lost.ts";
import { RefusedError } from "../lanes.ts";
import { NoAnswerError } from "../summaries/asking.ts";

const STATUS: Readonly<Record<ErrorCode, number>> = {
  "bad-input": 400,
  "bad-file": 500,
  "not-found": 404,
  unsupported: 400,
  "no-room": 503,
  io: 502,
  library: 500,
  busy: 503,
  conflict: 409,
  cancelled: 499,
};

/** An error with a status of its own: refused at the door. */
export class HttpError extends IroriError {
  readonly status: number;
  readonly param: string | undefined;
  /** Whole seconds until trying again makes sense. */
  readonly retryAfterS: number | undefined = undefined;
  constructor(status: number, code: ErrorCode, parts: ConstructorParameters<typeof IroriError>[1], param?: string) {
    super(code, parts);
    this.status = status;
    this.param = param;
  }
}

export interface ErrorFacts {
  readonly status: number;
  readonly message: string;
  /** OpenAI's code, or ours. */
  readonly code: string;
  readonly param: string | undefined;
  /** Whole seconds. */
  readonly retryAfter: number | undefined;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

export function factsOfError(error: unknown): ErrorFacts {
  const plain = { param: undefined, retryAfter: undefined };
  if (error instanceof z.ZodError) return ofZod(error);
  if (error instanceof RefusedError) {
    const { reason, lane, depth } = error.refusal;
    return {
      ...plain,
      status: 429,
      message: error.message,
      code: `lane_${reason}`,
      retryAfter: error.retryAfterS,
      details: { lane, depth },
    };
  }
  if (error instanceof EngineLostError)
    return { ...plain, status: 503, message: error.message, code: "engine_lost", retryAfter: 1 };
  // the model's fault, and again the next time: nothing that a job should try on
  if (error instanceof NoAnswerError)
    return { ...plain, status: 422, message: error.message, code: "no_usable_answer" };
  if (error instanceof ContextError)
    return { ...plain, status: 400, message: error.message, code: "context_length_exceeded" };
  if (error instanceof HttpError)
    return {
      ...plain,
      status: error.status,
      message: error.message,
      code: codeOf(error),
      param: error.param,
      retryAfter: error.retryAfterS,
    };
  if (error instanceof IroriError)
    return {
      ...plain,
      ...{ status: STATUS[error.code], message: error.message, code: codeOf(error) },
      ...(error.code === "busy" && { retryAfter: 1 }),
    };
  // what nobody foresaw is logged whole and told as little as possible
  return { ...plain, status: 500, message: "the server failed; its log says why", code: "internal" };
}

const codeOf = ({ code }: IroriError): string => code.replaceAll("-", "_");

function ofZod(error: z.ZodError): ErrorFacts {
  const [issue] = error.issues;
  const param = issue?.path.join(".") || undefined;
  const what = error.issues.slice(0, 3).map(({ path, message }) => `${path.join(".") || "the body"}: ${message}`);
  return { status: 400, message: what.join("; "), code: "invalid_request", param, retryAfter: undefined };
}

/** OpenAI's shape. */
export function openAiError({ status, message, code, param, details }: ErrorFacts) {
  const type =
    status === 429
      ? "rate_limit_error"
      : status === 401
        ? "authentication_error"
        : status >= 500
          ? "server_error"
          : "invalid_request_error";
  return { error: { message, type, param: param ?? null, code, ...details } };
}

/** Ollama's shape. */
export const ollamaError = ({ message }: ErrorFacts) => ({ error: message });
