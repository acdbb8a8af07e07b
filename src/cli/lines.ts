// Files of lines, each a text or a JSON value. It does not know what they say.
import { type core, type ZodType, z } from "zod";
import { IroriError, nearest } from "../base/mod.ts";
import { readText } from "./text-file.ts";

export interface Line {
  /** From 1. */
  readonly number: number;
  readonly text: string;
}

/** The lines of a UTF-8 file, - for stdin, without their ends. Throws "not-found", "io" or "bad-file". */
export async function readLines(path: string): Promise<readonly Line[]> {
  const lines = (await readText(path)).split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  return lines.map((text, i) => ({ number: i + 1, text }));
}

/** A line's JSON value of one shape. Throws "bad-input" naming the line and, of a key that is not known, the nearest. */
export function parseLine<T>(path: string, { number, text }: Line, shape: ZodType<T>): T {
  const what = `${path}, line ${number}`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new IroriError("bad-input", { what, got: (cause as Error).message, wanted: "a JSON value", cause });
  }
  const parsed = shape.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new IroriError("bad-input", { what, got: sentenceOf(parsed.error.issues, shape) });
}

function sentenceOf([issue]: readonly core.$ZodIssue[], shape: ZodType): string {
  if (issue?.code !== "unrecognized_keys") return [issue?.path.join("."), issue?.message].filter(Boolean).join(": ");
  const [key = ""] = issue.keys;
  const known = shape instanceof z.ZodObject ? Object.keys(shape.shape) : [];
  const [near] = nearest(key, known);
  return `the key ${JSON.stringify(key)}${near === undefined ? "" : ` (did you mean ${near}?)`}`;
}
