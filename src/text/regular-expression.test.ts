// Oniguruma's expressions in JavaScript: same meaning, or refused. (What Hugging Face splits by them: tokenizer.test.ts.)
import assert from "node:assert/strict";
import { test } from "node:test";
import { translateRegex } from "./regular-expression.ts";

const matches = (source: string, text: string): string[] => text.match(new RegExp(translateRegex(source), "gu")) ?? [];

test("white space, digits and words are those of Unicode", () => {
  assert.deepEqual(matches("\\s+", "a\u0085\u3000b\ufeffc"), ["\u0085\u3000"]);
  assert.deepEqual(matches("[^\\s\\d]+", "a1\u0663b \u0085c"), ["a", "b", "c"]);
  assert.deepEqual(matches("\\w+", "naïve_1 日本-x"), ["naïve_1", "日本", "x"]);
});

test("possessive and atomic parts give nothing back", () => {
  assert.deepEqual(matches("a++a|b", "aaab"), ["b"]);
  assert.deepEqual(matches("(?>a|ab)c", "abc ac"), ["ac"]);
  assert.deepEqual(matches("x{2}+", "xxxx"), ["xxxx"]);
});

test("anchors stand at lines, a dot is all but a line feed", () => {
  assert.deepEqual(matches("^.", "a\nb\r\u2028"), ["a", "b"]);
  assert.deepEqual(matches(".$", "xa\nyb"), ["a", "b"]);
  assert.deepEqual(matches("b.c", "b\rc b\nc"), ["b\rc"]);
});

test("punctuation may be escaped or not", () => {
  assert.deepEqual(matches("[\\-\\!\\]a]+|\\'|\\{|}|\\x41|\\u0042", "-!]a'{}AB"), ["-!]a", "'", "{", "}", "A", "B"]);
});

test("what JavaScript cannot say is refused by its name", () => {
  const refused: [string, RegExp][] = [
    ["\\bx", /\\b/],
    ["[a[bc]]", /set inside the set/],
    ["[a-z&&b]", /set inside the set/],
    ["(?x)a", /\(\?x/],
    ["(a", /never closed/],
    ["a)", /without/],
    ["[a", /never closed/],
    ["a\\", /backslash/],
    ["\\p{Klingon}", /Klingon/],
    ["*", /./],
  ];
  for (const [source, message] of refused) {
    assert.throws(() => translateRegex(source), { code: "unsupported", message }, source);
  }
});
