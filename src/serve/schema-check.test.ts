// Schemas of which some part would not be enforced are refused with its name; the others pass.
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkSchema } from "./schema-check.ts";

const of = (properties: object) => ({ type: "object", properties });

test("what the compiler would ignore in silence is named", () => {
  for (const [schema, named] of [
    [of({ a: { type: "array", uniqueItems: true } }), /a\.uniqueItems/],
    [of({ a: { type: "number", multipleOf: 2 } }), /multipleOf/],
    [of({ a: { not: { type: "string" } } }), /a\.not/],
    [{ type: "object", if: {} }, /x\.if/],
    [of({ a: { type: "text" } }), /object, array, string/],
    [of({ a: { $ref: "#/$defs/b" } }), /#\/\$defs\/NAME/],
    [of({ a: { allOf: [{}, {}] } }), /one schema/],
  ] as const)
    assert.throws(() => checkSchema(schema, "x"), named);
});

test("check 30: patterns with escapes that grammars break on are refused before one is made", () => {
  for (const pattern of ["a\\-b", "(?=a)b", "\\bword", "(a)\\1", "["])
    assert.throws(
      () => checkSchema(of({ a: { type: "string", pattern } }), "x"),
      /pattern cannot be enforced/,
      pattern,
    );
  checkSchema(of({ a: { type: "string", pattern: "^[a-z]+\\d{2}$" } }), "x");
});

test("what is enforced passes, references and notes too", () => {
  checkSchema(
    {
      $defs: { b: { enum: ["x"] } },
      ...of({
        a: { $ref: "#/$defs/b", description: "d" },
        c: { anyOf: [{ type: "null" }, { type: "integer", minimum: 1 }] },
      }),
      required: ["a"],
    },
    "x",
  );
});
