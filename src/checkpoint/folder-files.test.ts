// Which files of a repository make a model's folder.
import assert from "node:assert/strict";
import { test } from "node:test";
import { folderFiles } from "./folder-files.ts";

test("the weights come first, what is beside them follows, the rest stays", () => {
  const names = [
    ".gitattributes",
    "README.md",
    "config.json",
    "model.safetensors",
    "onnx/model.onnx",
    "pytorch_model.bin",
    "tf_model.h5",
  ];
  const texts = [
    "tokenizer.json",
    "vocab.txt",
    "chat_template.jinja",
    "tokenizer.model",
    "1_Pooling/config.json",
    "2_Dense/model.safetensors",
  ];
  assert.deepEqual(folderFiles([...names, ...texts, "other/1_Pooling/config.json"], "x"), [
    "model.safetensors",
    "config.json",
    ...texts,
  ]);
});

test("shards are taken with their index, one file of any name alone", () => {
  const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  const index = "model.safetensors.index.json";
  assert.deepEqual(folderFiles([...shards, index], "x"), [...shards, index]);
  assert.deepEqual(folderFiles(["weights.safetensors", "config.json"], "x"), ["weights.safetensors", "config.json"]);
});

test("several weights, only pickles and none are sentences with a way out", () => {
  const refused: [string[], string, RegExp][] = [
    [["a.safetensors", "b.safetensors"], "bad-input", /x: several.*a\.safetensors, b\.safetensors/],
    [["pytorch_model.bin", "config.json"], "unsupported", /pytorch_model\.bin.*save_pretrained/],
    [["config.json"], "not-found", /no weights: got config\.json/],
    [[], "not-found", /no files/],
  ];
  for (const [names, code, message] of refused) assert.throws(() => folderFiles(names, "x"), { code, message });
});
