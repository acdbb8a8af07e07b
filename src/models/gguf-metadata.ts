// Typed reading of a GGUF's architecture keys ("llama.block_count" …) with sentences for what is missing or odd.
import { IroriError } from "../base/mod.ts";

export function readMetadata(metadata: ReadonlyMap<string, unknown>) {
  const architecture = metadata.get("general.architecture");
  if (typeof architecture !== "string")
    throw new IroriError("bad-file", {
      what: "the GGUF does not name its architecture",
      wanted: "general.architecture",
    });
  const optional = <T>(key: string, is: (value: unknown) => value is T, wanted: string): T | undefined => {
    const value = metadata.get(`${architecture}.${key}`);
    if (value === undefined) return undefined;
    const plain = typeof value === "bigint" ? Number(value) : value;
    if (is(plain)) return plain;
    throw new IroriError("bad-file", { what: `GGUF key ${architecture}.${key}`, got: String(value), wanted });
  };
  const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0;
  const isFloat = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
  const isText = (value: unknown): value is string => typeof value === "string";
  const required = <T>(value: T | undefined, key: string): T => {
    if (value === undefined)
      throw new IroriError("bad-file", {
        what: `the GGUF lacks ${architecture}.${key}`,
        next: "the file is not a whole model",
      });
    return value;
  };
  const optionalInteger = (key: string) => optional(key, isSize, "a positive integer");
  const optionalFloat = (key: string) => optional(key, isFloat, "a finite number");
  return {
    architecture,
    optionalInteger,
    optionalFloat,
    optionalText: (key: string) => optional(key, isText, "a text"),
    integer: (key: string) => required(optionalInteger(key), key),
    float: (key: string) => required(optionalFloat(key), key),
  };
}
