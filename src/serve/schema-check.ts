// JSON schemas that can be enforced while decoding: the grammar compiler ignores what it does not know in silence, so a schema
// that says more than it does is refused with the keyword's name. It does not know grammars.
import { IroriError } from "../base/mod.ts";

/** Keywords that the compiler enforces. */
const ENFORCED = new Set(
  "type properties required additionalProperties items prefixItems minItems maxItems enum const anyOf oneOf allOf $ref $defs definitions pattern minLength maxLength format minimum maximum exclusiveMinimum exclusiveMaximum minProperties maxProperties patternProperties propertyNames".split(
    " ",
  ),
);
/** Keywords that say nothing of what is valid. */
const NOTES = new Set(
  "$schema $id $comment title description default examples deprecated readOnly writeOnly $anchor strict contentMediaType".split(
    " ",
  ),
);
/** Formats that the compiler has patterns for. */
const FORMATS = new Set(
  "email date time date-time duration ipv4 ipv6 hostname uuid uri uri-reference uri-template json-pointer relative-json-pointer".split(
    " ",
  ),
);
const TYPES = new Set("object array string number integer boolean null".split(" "));
const MOST_DEPTH = 64;

class SchemaError extends IroriError {
  constructor(at: string, got: string, wanted: string) {
    super("bad-input", { what: `${at} cannot be enforced`, got, wanted, next: "leave it out of the schema" });
  }
}

/** Throws SchemaError for a schema of which some part would not be enforced. */
export function checkSchema(schema: unknown, at: string, root: unknown = schema, depth = 0): void {
  if (typeof schema === "boolean") return;
  if (typeof schema !== "object" || schema === null || Array.isArray(schema))
    throw new SchemaError(at, JSON.stringify(schema), "a schema");
  if (depth > MOST_DEPTH) throw new SchemaError(at, `more than ${MOST_DEPTH} levels`, "fewer");
  const check = (inner: unknown, where: string) => checkSchema(inner, `${at}.${where}`, root, depth + 1);
  for (const [key, value] of Object.entries(schema)) {
    if (!ENFORCED.has(key) && !NOTES.has(key)) throw new SchemaError(`${at}.${key}`, key, [...ENFORCED].join(", "));
    checkKeyword(key, value, `${at}.${key}`, root);
    if (["properties", "$defs", "definitions", "patternProperties"].includes(key))
      for (const [name, inner] of Object.entries(value as object)) check(inner, `${key}.${name}`);
    else if (["anyOf", "oneOf", "allOf", "prefixItems"].includes(key))
      (value as unknown[]).forEach((inner, i) => {
        check(inner, `${key}[${i}]`);
      });
    else if (["items", "additionalProperties", "propertyNames"].includes(key)) check(value, key);
  }
}

function checkKeyword(key: string, value: unknown, at: string, root: unknown): void {
  const wrong = (wanted: string) => new SchemaError(at, JSON.stringify(value).slice(0, 80), wanted);
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  if (["properties", "$defs", "definitions", "patternProperties"].includes(key) && !isObject)
    throw wrong("an object of schemas");
  if (["anyOf", "oneOf", "allOf", "prefixItems"].includes(key) && !(Array.isArray(value) && value.length > 0))
    throw wrong("a list of schemas");
  if (key === "allOf" && (value as unknown[]).length !== 1) throw wrong("allOf with one schema");
  if (key === "required" && !(Array.isArray(value) && value.every((name) => typeof name === "string")))
    throw wrong("a list of names");
  if (key === "enum" && !(Array.isArray(value) && value.length > 0)) throw wrong("a list of values");
  if (key === "type")
    for (const type of Array.isArray(value) ? value : [value])
      if (!TYPES.has(type as string)) throw wrong([...TYPES].join(", "));
  if (key === "format" && !FORMATS.has(value as string)) throw wrong([...FORMATS].join(", "));
  if (/^(min|max)(Items|Length|Properties)$/.test(key) && !(Number.isInteger(value) && (value as number) >= 0))
    throw wrong("a whole number, 0 or more");
  if (/^(exclusiveM|m)(inimum|aximum)$/.test(key) && typeof value !== "number") throw wrong("a number");
  if (key === "pattern") checkPattern(value, at);
  if (key === "$ref") checkReference(value, at, root);
}

function checkReference(value: unknown, at: string, root: unknown): void {
  const path = typeof value === "string" && (value === "#" || value.startsWith("#/")) ? value.slice(2) : undefined;
  let found: unknown = path === undefined ? undefined : root;
  for (const name of path ? path.split("/") : [])
    found = (found as Record<string, unknown> | undefined)?.[name.replaceAll("~1", "/").replaceAll("~0", "~")];
  if (found === undefined) throw new SchemaError(at, JSON.stringify(value), "a place in this schema: #/$defs/NAME");
}

/** A pattern of which the compiler takes every part. */
function checkPattern(value: unknown, at: string): void {
  if (typeof value !== "string") throw new SchemaError(at, JSON.stringify(value), "a regular expression");
  try {
    new RegExp(value, "u");
  } catch (error) {
    throw new SchemaError(
      at,
      `${JSON.stringify(value)} (${(error as Error).message})`,
      "a regular expression of ECMAScript, with flag u",
    );
  }
  const unknown = /\(\?(?!:)|\\[bBpPk]|\\[1-9]/.exec(value);
  if (unknown)
    throw new SchemaError(
      at,
      `${JSON.stringify(unknown[0])} in ${JSON.stringify(value)}`,
      "no look-around, word borders, back references or classes of Unicode",
    );
}
