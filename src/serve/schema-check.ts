// JSON schemas that can be enforced while decoding: the grammar compiler ignores what it does not know in silence, so a schema
// that says more than it does is refused with the keyword's name. It does not know grammars.
import { IroriError } from "../base/mod.ts";

/** Keywords that the compiler enforces, as far as they stand together (schema-enforced.test.ts asks it). */
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
  checkTogether(schema as Readonly<Record<string, unknown>>, at);
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

/** Keywords that stand for the whole schema: what stands beside them is passed over. */
const ALONE = ["$ref", "anyOf", "oneOf", "allOf", "enum", "const"] as const;
/** What may stand beside anything: it says nothing of the value. */
const BESIDE = new Set([...NOTES, "$defs", "definitions"]);
/** Keywords that are passed over where the type is not said. */
const OF_TYPE: Readonly<Record<string, readonly string[]>> = {
  ...{ minimum: ["number", "integer"], maximum: ["number", "integer"] },
  ...{ exclusiveMinimum: ["number", "integer"], exclusiveMaximum: ["number", "integer"] },
  ...{ minLength: ["string"], maxLength: ["string"], pattern: ["string"], format: ["string"] },
  ...{ minItems: ["array"], maxItems: ["array"], minProperties: ["object"], maxProperties: ["object"] },
};

/** Throws where keywords are enforced by themselves, but not together. */
function checkTogether(schema: Readonly<Record<string, unknown>>, at: string): void {
  const keys = Object.keys(schema).filter((key) => !BESIDE.has(key));
  const alone = ALONE.find((key) => key in schema);
  const others = keys.filter((key) => key !== alone);
  const values = schema.enum ?? ("const" in schema ? [schema.const] : []);
  const isTyped = others.length === 1 && others[0] === "type" && (alone === "enum" || alone === "const");
  if (alone !== undefined && others.length > 0 && !(isTyped && Array.isArray(values) && values.every(hasType)))
    throw new SchemaError(at, `${alone} beside ${others.join(", ")}`, `${alone} alone`);
  const types = typesOf(schema);
  for (const key of keys) {
    const wanted = OF_TYPE[key];
    if (wanted !== undefined && !wanted.some((type) => types.includes(type)))
      throw new SchemaError(`${at}.${key}`, `${key} without its type`, `"type": "${wanted[0]}" beside it`);
  }
  if ("properties" in schema && "patternProperties" in schema)
    throw new SchemaError(at, "patternProperties beside properties", "one of them");
  const texts = [["pattern"], ["format"], ["minLength", "maxLength"]].filter((some) =>
    some.some((key) => key in schema),
  );
  if (texts.length > 1)
    throw new SchemaError(
      at,
      `${texts
        .flat()
        .filter((key) => key in schema)
        .join(" and ")} together`,
      "one of them",
    );
  if (Array.isArray(schema.oneOf) && !areDisjoint(schema.oneOf))
    throw new SchemaError(
      `${at}.oneOf`,
      "schemas that a value may fit more than one of",
      "anyOf, or other types, or a member that tells them apart (const)",
    );

  function hasType(value: unknown): boolean {
    return typesOf(schema).some((type) => isOfType(value, type));
  }
}

const typesOf = ({ type }: Readonly<Record<string, unknown>>): readonly string[] =>
  Array.isArray(type) ? type : typeof type === "string" ? [type] : [];

function isOfType(value: unknown, type: string): boolean {
  if (type === "integer") return Number.isInteger(value);
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  return typeof value === type;
}

/** Whether it can be seen that no value fits two of the schemas: by their types, by given values, or by a member's. */
function areDisjoint(schemas: readonly unknown[]): boolean {
  const pairs = schemas.flatMap((a, i) => schemas.slice(i + 1).map((b) => [a, b] as const));
  return pairs.every(([a, b]) => isRecord(a) && isRecord(b) && arePairDisjoint(a, b));
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const valuesOf = (schema: Readonly<Record<string, unknown>>): readonly unknown[] | undefined =>
  "const" in schema ? [schema.const] : Array.isArray(schema.enum) ? schema.enum : undefined;

function arePairDisjoint(a: Readonly<Record<string, unknown>>, b: Readonly<Record<string, unknown>>): boolean {
  const [given, other] = [valuesOf(a), valuesOf(b)];
  if (given && other) {
    const texts = new Set(other.map((value) => JSON.stringify(value)));
    return given.every((value) => !texts.has(JSON.stringify(value)));
  }
  const [types, others] = [typesOf(a), typesOf(b)];
  const wide = (type: string): string => (type === "integer" ? "number" : type);
  if (types.length > 0 && others.length > 0 && !types.some((type) => others.map(wide).includes(wide(type))))
    return true;
  const [members, theirs] = [a.properties, b.properties];
  if (!isRecord(members) || !isRecord(theirs)) return false;
  const required = (schema: typeof a, name: string) => Array.isArray(schema.required) && schema.required.includes(name);
  return Object.entries(members).some(([name, member]) => {
    const its = theirs[name];
    if (!required(a, name) || !required(b, name) || !isRecord(member) || !isRecord(its)) return false;
    return valuesOf(member) !== undefined && valuesOf(its) !== undefined && arePairDisjoint(member, its);
  });
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
