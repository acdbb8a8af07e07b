// Members that stay where they lie against JSON.parse of the whole.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { JsonMembers } from "./json-members.ts";

const file = (text: string): Buffer => Buffer.from(text);

test("the members of any array and object are those that JSON.parse gives", () => {
  const spaces = fc.constantFrom(undefined, 1, "\t", " \n");
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), spaces, (value, space) => {
      const text = `  ${JSON.stringify(value, null, space)} `;
      const members = JsonMembers.at(file(text), 0);
      assert.ok(members && !members.isObject);
      assert.equal(members.end, text.trimEnd().length === 0 ? 0 : Buffer.byteLength(text.trimEnd()));
      assert.deepEqual(
        Array.from({ length: members.length }, (_, i) => members.at(i)),
        JSON.parse(text),
      );
    }),
  );
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue()), spaces, (value, space) => {
      const text = JSON.stringify(value, null, space);
      const members = JsonMembers.at(file(text), 0);
      assert.ok(members?.isObject);
      assert.deepEqual(
        Array.from({ length: members.length }, (_, i) => members.at(i)),
        Object.entries(JSON.parse(text)),
      );
      for (const [name, own] of Object.entries(value)) {
        const [start, end] = members.find(name) as readonly [number, number];
        assert.deepEqual(JSON.parse(file(text).toString("utf8", start, end)), JSON.parse(JSON.stringify(own)));
      }
    }),
  );
});

test("what is not JSON is a SyntaxError where it is read, and other values have no members", () => {
  for (const text of ["3", '"a"', "null", "", " x"]) assert.equal(JsonMembers.at(file(text), 0), undefined);
  for (const text of ["[1, 2", '["a', "{", '{"a": [1}', '["\\'])
    assert.throws(() => JsonMembers.at(file(text), 0), SyntaxError, text);
  for (const text of ["[1,]", "[,]", "[1 2]", '{"a" 1}', "{1: 2}", '{"a": 1 "b": 2}', '{"a": }', "[{]}]"])
    assert.throws(
      () => {
        const members = JsonMembers.at(file(text), 0);
        for (let i = 0; i < (members?.length ?? 0); i++) members?.at(i);
      },
      SyntaxError,
      text,
    );
});
