// Tokenizers against Hugging Face's `tokenizers` (goldens/tokenizer), and what must hold for any text.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { IroriError } from "../base/mod.ts";
import { ggufMetadata, jsonFile, synthetic, syntheticJson, variantJson, variants } from "./synthetic.fixture.ts";
import { Tokenizer } from "./tokenizer.ts";

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc
    .array(fc.constantFrom("<|im_end|>", "<|im_", "end|>", " the", "  ", "\n", "12", "é", "囲", "😀", "'ll"), {
      maxLength: 20,
    })
    .map((parts) => parts.join("")),
);

for (const [name, { cases }] of Object.entries(variants)) {
  test(`${name} from tokenizer.json gives the ids of Hugging Face`, async () => {
    const tokenizer = await Tokenizer.fromTokenizerJson(jsonFile(variantJson(name)));
    for (const { text, ids, controlIds, decoded } of cases) {
      assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
      assert.deepEqual(tokenizer.encode(text, { control: true }), controlIds ?? ids, JSON.stringify(text));
      // There the decoder of Hugging Face takes the letters of an added token for bytes of the alphabet.
      if (name !== "added-rules") assert.equal(tokenizer.decode(ids, { control: true }), decoded ?? text);
    }
  });
}

for (const pre of ["gpt-2", "smollm", "command-r", "llama-bpe", "dbrx", "qwen2", "tekken", "gpt-4o", "deepseek-v3"]) {
  test(`${pre} by its GGUF name gives the ids of Hugging Face`, () => {
    const tokenizer = Tokenizer.fromGguf(ggufMetadata(pre));
    const cases = variants[pre]?.cases ?? [];
    assert.ok(cases.length > 50);
    for (const { text, ids, controlIds } of cases) {
      assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
      assert.deepEqual(tokenizer.encode(text, { control: true }), controlIds ?? ids, JSON.stringify(text));
    }
  });
}

test("decoding what was encoded gives the text", () => {
  const tokenizer = synthetic();
  fc.assert(fc.property(text, (text) => assert.equal(tokenizer.decode(tokenizer.encode(text)), text.toWellFormed())));
  fc.assert(
    fc.property(text, (text) =>
      assert.equal(tokenizer.decode(tokenizer.encode(text, { control: true }), { control: true }), text.toWellFormed()),
    ),
  );
});

test("a lone surrogate is encoded as U+FFFD", () => {
  const tokenizer = synthetic();
  assert.deepEqual(tokenizer.encode("a\ud83d b\udc00"), tokenizer.encode("a\ufffd b\ufffd"));
});

test("text never becomes a control token", () => {
  const tokenizer = synthetic();
  fc.assert(fc.property(text, (text) => assert.ok(tokenizer.encode(text).every((id) => !tokenizer.isControl(id)))));
  assert.deepEqual(tokenizer.encode("<|im_end|>", { control: true }), [2]);
});

test("a merge that would make a control token is left out", () => {
  const types = new Int32Array(640).fill(1);
  const the = syntheticJson.model.vocab.Ġthe as number;
  types[the] = 3;
  const tokenizer = Tokenizer.fromGguf(ggufMetadata("gpt-2", { "tokenizer.ggml.token_type": types }));
  assert.ok(!tokenizer.encode("in the house").includes(the));
  assert.equal(tokenizer.decode(tokenizer.encode("in the house")), "in the house");
});

test("a stream gives what decoding all gives, and never half a character", () => {
  const tokenizer = synthetic();
  const ids = fc.oneof(
    text.map((text) => tokenizer.encode(text)),
    fc.array(fc.nat({ max: tokenizer.vocabSize - 1 }), { maxLength: 40 }),
  );
  fc.assert(
    fc.property(ids, fc.boolean(), (ids, control) => {
      const stream = tokenizer.stream({ control });
      const pieces = [...ids.map((id) => stream.push(id)), stream.end()];
      const whole = tokenizer.decode(ids, { control });
      assert.equal(pieces.join(""), whole);
      assert.ok(pieces.every((piece) => piece.isWellFormed()));
      if (!whole.includes("\ufffd")) assert.ok(pieces.every((piece) => !piece.includes("\ufffd")));
    }),
  );
});

test("a character of four tokens is streamed with its last one", () => {
  const tokenizer = synthetic();
  const ids = tokenizer.encode("\u{1fae8}");
  assert.ok(ids.length > 1);
  const stream = tokenizer.stream();
  assert.deepEqual(
    ids.map((id) => stream.push(id)),
    [...ids.slice(1).map(() => ""), "\u{1fae8}"],
  );
  assert.equal(stream.push(ids[0] as number), "");
  assert.equal(stream.end(), "\ufffd");
  assert.equal(stream.push(syntheticJson.model.vocab.a as number), "a");
});

test("a byte order mark is kept by decoding and streaming", () => {
  const tokenizer = synthetic();
  const ids = tokenizer.encode("\ufeffa\ufeff");
  assert.equal(tokenizer.decode(ids), "\ufeffa\ufeff");
  const stream = tokenizer.stream();
  assert.equal(ids.map((id) => stream.push(id)).join("") + stream.end(), "\ufeffa\ufeff");
});

test("control tokens are decoded only when asked", () => {
  const tokenizer = synthetic();
  const ids = [1, ...tokenizer.encode("hi"), 2];
  assert.equal(tokenizer.decode(ids), "hi");
  assert.equal(tokenizer.decode(Int32Array.from(ids), { control: true }), "<|im_start|>hi<|im_end|>");
  assert.equal(tokenizer.tokenText(2), "<|im_end|>");
});

test("an id outside the vocabulary is refused with the range", () => {
  const tokenizer = synthetic();
  for (const id of [-1, 640, 1.5, Number.NaN]) {
    assert.throws(() => tokenizer.decode([id]), { code: "bad-input", message: /whole number from 0 to 639/ });
  }
});

test("the ids of the file's roles are known", async () => {
  const gguf = Tokenizer.fromGguf(
    ggufMetadata("llama-bpe", { "tokenizer.ggml.padding_token_id": 4294967295, "tokenizer.ggml.eot_token_id": 5 }),
  );
  assert.deepEqual([gguf.vocabSize, gguf.bosId, gguf.eosIds, gguf.padId], [640, 1, [2, 5, 0], undefined]);
  assert.equal(gguf.addsBos, true);
  assert.equal(synthetic().addsBos, false);
  const bos = { id: "<|im_start|>", ids: [1], tokens: ["<|im_start|>"] };
  const json = {
    ...(variantJson("gpt-2") as object),
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: bos.id, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      special_tokens: { [bos.id]: bos },
    },
  };
  const config = { eos_token: { content: "<|im_end|>" }, chat_template: "x" };
  const fromJson = await Tokenizer.fromTokenizerJson(jsonFile(json), config);
  assert.deepEqual([fromJson.bosId, fromJson.eosIds, fromJson.addsBos, fromJson.addsEos], [1, [2, 0], true, false]);
  assert.equal(fromJson.chatTemplate, "x");
});

test("the id of a text that is one token is found, of others not", () => {
  const tokenizer = synthetic();
  assert.equal(tokenizer.idOf(" the"), syntheticJson.model.vocab.Ġthe);
  assert.equal(tokenizer.idOf("no such token"), undefined);
  assert.equal(tokenizer.idOf("<|im_end|>"), undefined);
});

test("what cannot be run is refused by its name", async () => {
  assert.throws(() => Tokenizer.fromGguf(ggufMetadata("klingon")), {
    code: "unsupported",
    message: /"klingon".*smollm/,
  });
  const rwkv = ggufMetadata("gpt-2", { "tokenizer.ggml.model": "rwkv" });
  assert.throws(() => Tokenizer.fromGguf(rwkv), { code: "unsupported", message: /"rwkv".*gpt2, llama, t5/ });
  const base = variantJson("gpt-2") as { model: object; pre_tokenizer: object };
  const refused: [object, RegExp][] = [
    [{ pre_tokenizer: { type: "UnicodeScripts" } }, /UnicodeScripts.*Metaspace/],
    [
      { pre_tokenizer: { type: "Sequence", pretokenizers: [base.pre_tokenizer, { type: "Digits" }] } },
      /ByteLevel.*last/,
    ],
    [{ normalizer: { type: "Nmt" } }, /Nmt.*NFC/],
    [{ decoder: { type: "WordPiece" } }, /WordPiece/],
    [{ pre_tokenizer: null, decoder: { type: "CTC" } }, /CTC.*Metaspace/],
    [{ model: { ...base.model, type: "WordLevel" } }, /WordLevel.*Unigram/],
    [{ model: { ...base.model, end_of_word_suffix: "</w>" } }, /end_of_word_suffix/],
    [{ post_processor: { type: "Unheard" } }, /Unheard.*TemplateProcessing/],
  ];
  for (const [change, message] of refused) {
    await assert.rejects(Tokenizer.fromTokenizerJson(jsonFile({ ...base, ...change })), {
      code: "unsupported",
      message,
    });
  }
});

test("a broken file is a bad-file sentence that names the place", async () => {
  const broken: [object, RegExp][] = [
    [{ "tokenizer.ggml.tokens": undefined }, /tokenizer\.ggml\.tokens.*nothing/],
    [{ "tokenizer.ggml.tokens": ["a", 7] }, /number at 1/],
    [{ "tokenizer.ggml.token_type": new Int32Array(3) }, /3 types.*640/],
    [{ "tokenizer.ggml.merges": ["ab"] }, /"ab" at 0/],
    [{ "tokenizer.ggml.merges": ["a nonsense"] }, /"nonsense"/],
    [{ "tokenizer.ggml.bos_token_id": 640 }, /bos_token_id.*640/],
  ];
  for (const [change, message] of broken) {
    assert.throws(() => Tokenizer.fromGguf(ggufMetadata("gpt-2", { ...change })), { code: "bad-file", message });
  }
  for (const json of [
    null,
    [],
    {},
    { model: { vocab: { a: 1e9 }, merges: [] } },
    { model: { vocab: [], merges: 3 } },
  ]) {
    await assert.rejects(Tokenizer.fromTokenizerJson(jsonFile(json)), (error) => error instanceof IroriError);
  }
});
