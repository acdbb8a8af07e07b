// The prepared form: equal to what was built, and refused when any of it is damaged.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { jsonFile, synthetic, variantJson, variants } from "./synthetic.fixture.ts";
import { Tokenizer } from "./tokenizer.ts";

test("opened from its prepared bytes a tokenizer is the one that was built", async () => {
  for (const [name, { cases }] of Object.entries(variants)) {
    const built = await Tokenizer.fromTokenizerJson(jsonFile(variantJson(name)));
    const opened = Tokenizer.open(built.prepare().slice());
    for (const { text } of cases) {
      for (const control of [false, true])
        assert.deepEqual(opened.encode(text, { control }), built.encode(text, { control }));
    }
    for (let id = 0; id < built.vocabSize; id++) assert.equal(opened.tokenText(id), built.tokenText(id));
    assert.deepEqual([opened.bosId, opened.eosIds, opened.addsBos], [built.bosId, built.eosIds, built.addsBos]);
    assert.deepEqual(opened.prepare(), built.prepare());
  }
});

test("prepared bytes open at any address", () => {
  const bytes = synthetic().prepare();
  for (const shift of [1, 4, 8]) {
    const shifted = new Uint8Array(bytes.length + 16).subarray(shift, shift + bytes.length);
    shifted.set(bytes);
    assert.deepEqual(Tokenizer.open(shifted).encode("the fox"), synthetic().encode("the fox"));
  }
});

test("any flipped bit, any cut and any byte more is a bad-file sentence", () => {
  const bytes = synthetic().prepare();
  const refused = (damaged: Uint8Array) =>
    assert.throws(() => Tokenizer.open(damaged), { code: "bad-file", message: /prepare the model again/ });
  const flip = (at: number, bit: number) => {
    const damaged = bytes.slice();
    damaged[at] = (damaged[at] as number) ^ (1 << bit);
    refused(damaged);
  };
  for (let at = 0; at < 64; at++) flip(at, at % 8);
  fc.assert(fc.property(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 7 }), flip));
  fc.assert(fc.property(fc.nat({ max: bytes.length - 1 }), (length) => refused(bytes.slice(0, length))));
  refused(new Uint8Array([...bytes, 0]));
  refused(new Uint8Array(0));
});
