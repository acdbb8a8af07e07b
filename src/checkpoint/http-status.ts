// What an HTTP status means for who wants a file: a sentence with what to do, or how long to wait.
// It does not know which site answers.

import { IroriError } from "../base/mod.ts";
import { errorText, type HttpAnswer, markPassing } from "./http.ts";

/** The error of an answer that is none of the wanted; "passing" where the server itself says so. */
export async function statusError(answer: HttpAnswer, what: string): Promise<IroriError> {
  const { status, url } = answer;
  const said = await errorText(answer);
  const got = `${status}${said === "" ? "" : ` (${said})`} from ${new URL(url).host}`;
  if (status === 401 || status === 403)
    return new IroriError("io", { what, got, next: "it is not for everybody: give a token or accept its terms there" });
  if (status === 404 || status === 410) return new IroriError("not-found", { what, got, next: "check its spelling" });
  const error = new IroriError("io", { what, got, next: "try again later" });
  const isPassing = status === 408 || status === 425 || status === 429 || status >= 500;
  return isPassing ? markPassing(error) : error;
}

/** Milliseconds that the server asks to wait before the next request; undefined where it does not say. */
export function retryAfterMs({ headers }: Pick<HttpAnswer, "headers">, now: number): number | undefined {
  const value = headers["retry-after"];
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
