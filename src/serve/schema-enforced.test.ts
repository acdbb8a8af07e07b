// What a schema forbids, the grammar that is made of it forbids too, or the schema is refused: asked of the compiler itself, a
// character a token.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Lease } from "../engine/mod.ts";
import { Grammars } from "./grammar.ts";
import { checkSchema } from "./schema-check.ts";

const letters = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i));
const EOS = letters.length;
const lease = {
  model: "letters",
  eosIds: [EOS],
  manifest: { config: { vocabSize: EOS + 1 } },
  tokenizer: {
    vocabSize: EOS + 1,
    isControl: (id: number) => id === EOS,
    bytesOf: (id: number) => new TextEncoder().encode(letters[id]),
  },
} as unknown as Lease;

const grammars = await Grammars.open();
async function takes(schema: unknown, text: string): Promise<boolean> {
  using held = await grammars.constraint(lease, { kind: "schema", schema });
  const may = (id: number) => (((held.allowed() as Uint32Array)[id >> 5] as number) >>> (id & 31)) & 1;
  for (const letter of text) {
    const id = letters.indexOf(letter);
    if (!may(id)) return false;
    held.accept(id);
  }
  return may(EOS) === 1;
}

/** A schema, texts that it lets through, and texts that it forbids. */
type Case = readonly [name: string, schema: unknown, good: readonly string[], bad: readonly string[]];

const cases: Case[] = [
  ["type", { type: "integer" }, ["12", "-3"], ["1.5", '"a"']],
  [
    "required",
    { type: "object", properties: { a: { type: "integer" }, b: { type: "integer" } }, required: ["a"] },
    ['{"a": 1}', '{"a": 1, "b": 2}'],
    ['{"b": 2}', "{}"],
  ],
  [
    "additionalProperties schema",
    { type: "object", properties: {}, additionalProperties: { type: "integer" } },
    ['{"x": 1}'],
    ['{"x": "s"}'],
  ],
  [
    "additionalProperties false",
    { type: "object", properties: { a: { type: "integer" } }, required: ["a"], additionalProperties: false },
    ['{"a": 1}'],
    ['{"a": 1, "c": 2}'],
  ],
  ["items", { type: "array", items: { type: "integer" } }, ["[1, 2]", "[]"], ['["a"]']],
  [
    "prefixItems",
    { type: "array", prefixItems: [{ type: "integer" }, { type: "string" }], items: false },
    ['[1, "a"]'],
    ['["a", 1]', '[1, "a", 2]'],
  ],
  [
    "minItems",
    { type: "array", items: { type: "integer" }, minItems: 2, maxItems: 3 },
    ["[1, 2]"],
    ["[1]", "[]", "[1, 2, 3, 4]"],
  ],
  ["enum", { enum: ["a", 1] }, ['"a"', "1"], ['"b"']],
  ["const", { const: "x" }, ['"x"'], ['"y"']],
  ["anyOf", { anyOf: [{ type: "integer" }, { type: "null" }] }, ["1", "null"], ['"a"']],
  ["oneOf disjoint", { oneOf: [{ type: "integer" }, { type: "null" }] }, ["1", "null"], ['"a"']],
  ["oneOf overlapping", { oneOf: [{ type: "integer" }, { type: "number" }] }, ["1.5"], ["1"]],
  ["allOf one", { allOf: [{ type: "integer" }] }, ["1"], ['"a"']],
  [
    "allOf one + siblings",
    {
      type: "object",
      properties: { a: { type: "integer" } },
      required: ["a"],
      allOf: [{ type: "object", properties: { b: { type: "integer" } }, required: ["b"] }],
    },
    [],
    ['{"a": 1}', '{"b": 1}'],
  ],
  [
    "anyOf + siblings",
    {
      type: "object",
      properties: { a: { type: "integer" } },
      required: ["a"],
      anyOf: [{ type: "object", properties: { b: { type: "integer" } }, required: ["b"] }],
    },
    [],
    ['{"b": 1}', '{"a": 1}'],
  ],
  ["$ref", { $ref: "#/$defs/n", $defs: { n: { type: "integer" } } }, ["1"], ['"a"']],
  ["$ref + siblings", { $ref: "#/$defs/n", minimum: 5, $defs: { n: { type: "integer" } } }, ["7"], ["3"]],
  ["pattern", { type: "string", pattern: "^a+b$" }, ['"aab"'], ['"b"', '"aabc"', '"xab"']],
  ["pattern unanchored", { type: "string", pattern: "b" }, ['"b"'], ['"ac"']],
  ["minLength", { type: "string", minLength: 2, maxLength: 3 }, ['"ab"'], ['"a"', '"abcd"']],
  ["pattern+minLength", { type: "string", pattern: "^a*$", minLength: 3 }, ['"aaa"'], ['"a"']],
  ["minimum int", { type: "integer", minimum: 5, maximum: 7 }, ["5", "7"], ["4", "8"]],
  ["exclusive int", { type: "integer", exclusiveMinimum: 5, exclusiveMaximum: 8 }, ["6", "7"], ["5", "8"]],
  ["minimum number", { type: "number", minimum: 1.5, maximum: 2.5 }, ["1.5", "2.25"], ["1.2", "3"]],
  ["minimum no type", { minimum: 5 }, ["7"], ["3"]],
  ["minLength no type", { minLength: 2 }, ['"ab"'], ['"a"']],
  [
    "minProperties",
    { type: "object", additionalProperties: { type: "integer" }, minProperties: 2, maxProperties: 2 },
    ['{"a": 1, "b": 2}'],
    ['{"a": 1}', '{"a": 1, "b": 2, "c": 3}'],
  ],
  [
    "minProperties with properties",
    { type: "object", properties: { a: { type: "integer" }, b: { type: "integer" } }, minProperties: 1 },
    ['{"a": 1}'],
    ["{}"],
  ],
  [
    "patternProperties",
    { type: "object", patternProperties: { "^x": { type: "integer" } }, additionalProperties: false },
    ['{"x": 1}'],
    ['{"x": "s"}', '{"y": 1}'],
  ],
  [
    "patternProperties+properties",
    { type: "object", properties: { a: { type: "integer" } }, patternProperties: { "^x": { type: "integer" } } },
    ['{"a": 1}'],
    ['{"x": "s"}', '{"a": 1, "x": "s"}'],
  ],
  [
    "propertyNames",
    { type: "object", propertyNames: { pattern: "^k" }, additionalProperties: { type: "integer" } },
    ['{"k": 1}'],
    ['{"z": 1}'],
  ],
  ["type list", { type: ["string", "null"] }, ['"a"', "null"], ["1"]],
  ["type list + minLength", { type: ["string", "null"], minLength: 2 }, ['"ab"', "null"], ['"a"']],
  ["enum + type", { type: "string", enum: ["a", 1] }, ['"a"'], ["1"]],
];
const formats: [string, string, string][] = [
  ["email", "a@b.co", "nope"],
  ["date", "2024-01-31", "2024-13-40"],
  ["time", "10:00:00Z", "99:00"],
  ["date-time", "2024-01-31T10:00:00Z", "yesterday"],
  ["duration", "P1D", "1 day"],
  ["ipv4", "1.2.3.4", "999.1.1.1"],
  ["ipv6", "::1", "zz"],
  ["hostname", "a.b", "-bad-"],
  ["uuid", "123e4567-e89b-12d3-a456-426614174000", "nope"],
  ["uri", "http://a.b/c", "no uri"],
  ["uri-reference", "/a/b", "a b"],
  ["uri-template", "/a/{b}", "a {"],
  ["json-pointer", "/a/b", "a/b"],
  ["relative-json-pointer", "0/a", "a"],
];
for (const [f, ok, bad] of formats)
  cases.push([`format ${f}`, { type: "string", format: f }, [JSON.stringify(ok)], [JSON.stringify(bad)]]);
cases.push(
  ["format no type", { format: "date" }, ['"2024-01-31"'], ['"x"']],
  ["format+minLength", { type: "string", format: "email", minLength: 30 }, [], ['"a@b.co"']],
);

let enforced = 0;
for (const [name, schema, good, bad] of cases)
  test(name, async () => {
    try {
      checkSchema(schema, "schema");
    } catch (error) {
      assert.match((error as Error).message, /cannot be enforced/);
      return;
    }
    for (const text of bad) assert.equal(await takes(schema, text), false, `it takes ${text}`);
    for (const text of good) assert.equal(await takes(schema, text), true, `it refuses ${text}`);
    enforced++;
  });

test("most of them are enforced, not refused", () => assert.ok(enforced >= 35, `${enforced} of ${cases.length}`));

test("strings of a length that no grammar counts end there, wherever they stand, escapes and names of members too", async () => {
  const schema = { type: "object", properties: { a: { type: "string" } }, required: ["a"] };
  using held = await grammars.constraint(lease, { kind: "schema", schema, longestString: 5 });
  const allowed = () =>
    letters.filter((_, id) => (((held.allowed() as Uint32Array)[id >> 5] as number) >>> (id & 31)) & 1).join("");
  const write = (text: string) => {
    for (const letter of text) held.accept(letters.indexOf(letter));
  };
  write('{"a": "abc');
  assert.ok(allowed().includes("d") && allowed().includes('"'));
  write("d\\n"); // an escape is one character
  assert.equal(allowed(), '"');
  write('"');
  assert.ok(allowed().includes("}"));
});
