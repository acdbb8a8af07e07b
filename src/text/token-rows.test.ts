// Rows of token ids for experiments: padding, the token in front, texts of tokens, places of passages.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Tokenizer } from "./mod.ts";
import { ggufMetadata } from "./synthetic.fixture.ts";
import { positionsOf, tokenPair, toStrTokens, toTokens } from "./token-rows.ts";

const tokenizer = Tokenizer.fromGguf(ggufMetadata("gpt-2"));

test("rows are padded to one length at the end that is asked for, and masks say where", () => {
  const texts = ["The capital of France is", "Hi"];
  const [long, short] = texts.map((text) => tokenizer.encode(text)) as [number[], number[]];
  const right = toTokens(tokenizer, texts, { bos: false });
  assert.deepEqual(right.ids[0], long);
  assert.deepEqual(right.ids[1]?.slice(0, short.length), short);
  assert.deepEqual(
    right.attentionMask[1],
    long.map((_, i) => Number(i < short.length)),
  );
  const left = toTokens(tokenizer, texts, { bos: false, padding: "left" });
  assert.deepEqual(left.ids[1]?.slice(long.length - short.length), short);
  assert.deepEqual(
    left.attentionMask[1],
    long.map((_, i) => Number(i >= long.length - short.length)),
  );
  assert.throws(() => toTokens(tokenizer, ["a", ""], { bos: false }), /text 1 of 2 has no tokens/);
});

test("a token in front is put there as asked, and it is said", () => {
  const withBos = Tokenizer.fromGguf(ggufMetadata("gpt-2", { "tokenizer.ggml.bos_token_id": 0 }));
  const plain = toTokens(withBos, ["Hi"], { bos: false });
  const led = toTokens(withBos, ["Hi"], { bos: true });
  assert.deepEqual([plain.hasBos, led.hasBos], [false, true]);
  assert.deepEqual(led.ids[0], [0, ...(plain.ids[0] as number[])]);
});

test("texts of tokens are the text, and the places of a passage are the tokens that it takes part of", () => {
  const text = "The cat and the cat 囲炉裏 sat";
  const ids = tokenizer.encode(text);
  const texts = toStrTokens(tokenizer, ids);
  for (const passage of ["The", " and", "cat and", "炉裏", "sat", text]) {
    const places = positionsOf(tokenizer, ids, passage);
    assert.ok(tokenizer.decode(places.map((place) => ids[place] as number)).includes(passage), passage);
    // no token fewer would do
    const inner = places.slice(1, -1).map((place) => ids[place] as number);
    if (places.length > 1) assert.ok(!tokenizer.decode(inner).includes(passage), passage);
  }
  assert.deepEqual(positionsOf(tokenizer, ids, " cat", 1), positionsOf(tokenizer, ids, " cat", -1));
  assert.notDeepEqual(positionsOf(tokenizer, ids, " cat", 1), positionsOf(tokenizer, ids, " cat"));
  assert.equal(texts.length, ids.length);
  assert.throws(() => positionsOf(tokenizer, ids, "dog"), /"dog" is not in the text: got "The cat/);
});

test("a pair of other lengths is refused with the tokens of both", () => {
  const [a, b] = ["The cat sat", "The cat sat down"];
  assert.equal(tokenPair(tokenizer, a, a, { bos: false }).ids.length, 2);
  assert.throws(
    () => tokenPair(tokenizer, a, b, { bos: false }),
    /not of one length: got \d+ tokens \("The"? ?.*change one/,
  );
});
