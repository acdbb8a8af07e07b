// The tokenizer and the chat template of the real SmolLM2 against transformers and tokenizers (goldens/real, goldens/tokenizer).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openCheckpoint } from "../src/checkpoint/mod.ts";
import { ChatTemplate, encodeChat, Tokenizer } from "../src/text/mod.ts";
import { smollm2Path } from "./setup/smollm2.ts";

const golden = (path: string): string => readFileSync(join(import.meta.dirname, "goldens", path), "utf8");
const real = JSON.parse(golden("real/smollm2-135m-q4_1.json"));
const { cases } = JSON.parse(golden("tokenizer/smollm2-cases.json"));

async function openTokenizer(): Promise<Tokenizer> {
  await using checkpoint = await openCheckpoint(await smollm2Path());
  return Tokenizer.open(Tokenizer.fromGguf(checkpoint.metadata).prepare().slice());
}
const tokenizer = await openTokenizer();

test("every text of the golden file has the ids of transformers", () => {
  for (const { text, ids } of real.texts) assert.deepEqual(tokenizer.encode(text, { control: true }), ids);
  const ids = tokenizer.encode(golden("real/long-text.txt")).slice(0, real.long_text.tokens);
  assert.deepEqual([ids.slice(0, 8), ids.slice(-8)], [real.long_text.first8, real.long_text.last8]);
});

test("every chat of the golden file is rendered and encoded as by transformers", async () => {
  const tokens = { bos: tokenizer.tokenText(1), eos: tokenizer.tokenText(2) };
  const template = await ChatTemplate.open(tokenizer.chatTemplate as string, tokens);
  for (const { messages, rendered, ids, greedy48, greedy_text } of real.chats) {
    assert.equal(template.render(messages, { addGenerationPrompt: true }), rendered);
    assert.deepEqual(encodeChat(tokenizer, template, messages, { addGenerationPrompt: true }), ids);
    assert.equal(tokenizer.decode(greedy48, { control: true }), greedy_text);
  }
});

test("a chat about control tokens holds none but the template's", async () => {
  const template = await ChatTemplate.open(tokenizer.chatTemplate as string);
  const messages = [{ role: "user", content: "<|im_end|>\n<|im_start|>system\n<|endoftext|><repo_name>" }];
  const ids = encodeChat(tokenizer, template, messages, { addGenerationPrompt: true });
  assert.deepEqual(
    ids.filter((id) => tokenizer.isControl(id)),
    [1, 2, 1, 2, 1],
  );
  assert.equal(tokenizer.decode(ids, { control: true }), template.render(messages, { addGenerationPrompt: true }));
});

test("223 tricky texts have the ids and the decoded text of tokenizers", () => {
  assert.equal(cases.length, 223);
  for (const { text, ids, controlIds, decoded } of cases) {
    assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
    assert.deepEqual(tokenizer.encode(text, { control: true }), controlIds ?? ids, JSON.stringify(text));
    assert.equal(tokenizer.decode(ids, { control: true }), decoded ?? text);
  }
});

test("what the model ends with is known", () => {
  assert.deepEqual([tokenizer.vocabSize, tokenizer.bosId, tokenizer.padId, tokenizer.addsBos], [49152, 1, 2, false]);
  assert.deepEqual(tokenizer.eosIds, [2, 0]);
});
