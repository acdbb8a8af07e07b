// Names that a misspelt one may have meant.
import assert from "node:assert/strict";
import { test } from "node:test";
import { nearest } from "./nearest.ts";

const names = ["llama", "gemma2", "gemma3", "qwen2", "qwen3", "phi3", "gpt2"];

test("the name that differs least comes first, a longer one with the same beginning too", () => {
  assert.equal(nearest("lama", names)[0], "llama");
  assert.equal(nearest("gemma3n", names)[0], "gemma3");
  assert.equal(nearest("qwen3moe", names)[0], "qwen3");
  assert.equal(nearest("Qwen2", names)[0], "qwen2");
  assert.deepEqual(nearest("mamba-long-name", names), []);
  assert.equal(nearest("gemma", names, 2).length, 2);
});
