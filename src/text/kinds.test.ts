// Tokenizers of every kind against Hugging Face's `tokenizers` and against `sentencepiece` (goldens/tokenizer/kinds.json,
// pieces.json). IRORI_TOKENIZER_CASES names a folder with more cases of the same script.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { jsonFile } from "./synthetic.fixture.ts";
import { Tokenizer } from "./tokenizer.ts";

interface Case {
  readonly text: string;
  readonly ids: readonly number[];
  readonly controlIds?: readonly number[];
  readonly decoded?: string;
}
interface FramedCase {
  readonly text: string;
  readonly pair?: string;
  readonly maxTokens?: number;
  readonly ids: readonly number[];
  readonly types: readonly number[];
}
interface Kind {
  readonly json?: Record<string, unknown>;
  readonly like?: string;
  readonly cases: readonly Case[];
  readonly framed: readonly FramedCase[];
  readonly [part: string]: unknown;
}
interface Pieces {
  readonly metadata: Record<string, unknown>;
  readonly cases: readonly Case[];
}

const goldens = join(import.meta.dirname, "../../test/goldens/tokenizer");
const folders = [goldens, process.env.IRORI_TOKENIZER_CASES ?? ""].filter((path) =>
  existsSync(join(path, "kinds.json")),
);
const read = (folder: string, name: string) => JSON.parse(readFileSync(join(folder, name), "utf8"));

/** Where Hugging Face's decoder does otherwise: it shows a token that continues no word with its mark. */
const startsInside = (tokenizer: Tokenizer, [first]: readonly number[]): boolean =>
  first !== undefined && tokenizer.decode([first]).startsWith("##");

function check(tokenizer: Tokenizer, { text, ids, controlIds, decoded }: Case): void {
  assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
  if (controlIds !== undefined)
    assert.deepEqual(tokenizer.encode(text, { control: true }), controlIds, JSON.stringify(text));
  const whole = decoded ?? text;
  // One U+FFFD stands for a whole broken character here, for each of its bytes there.
  const plain = (shown: string) => shown.replace(/\ufffd+/g, "\ufffd");
  // sentencepiece shows an unknown token as ⁇ with spaces around.
  if (!startsInside(tokenizer, ids) && !whole.includes("⁇"))
    assert.equal(plain(tokenizer.decode(ids, { control: true })), plain(whole));
}

for (const folder of folders) {
  const { kinds } = read(folder, "kinds.json") as { kinds: Record<string, Kind> };
  for (const [name, kind] of Object.entries(kinds)) {
    test(`${name} from tokenizer.json gives the ids and the texts of tokenizers (${kind.cases.length})`, async () => {
      const { like, json, cases, framed, ...parts } = kind;
      const file = like === undefined ? json : { ...kinds[like]?.json, ...parts };
      const built = await Tokenizer.fromTokenizerJson(jsonFile(file));
      const tokenizer = Tokenizer.open(built.prepare().slice());
      assert.ok(cases.length > 20);
      for (const each of cases) check(tokenizer, each);
      for (const { text, pair, maxTokens, ids, types } of framed) {
        const made = tokenizer.encodeFramed(text, { maxTokens, ...(pair !== undefined && { pair }) });
        assert.deepEqual([made.ids, made.types], [ids, types], `${name} ${text} ${pair} ${maxTokens}`);
      }
    });
  }
  const { pieces } = read(folder, "pieces.json") as { pieces: Record<string, Pieces> };
  for (const [name, { metadata, cases }] of Object.entries(pieces)) {
    test(`${name} from GGUF keys gives the ids and the texts of sentencepiece (${cases.length})`, () => {
      const { charsmap_base64: map, ...keys } = metadata;
      const charsmap = typeof map === "string" && { "tokenizer.ggml.precompiled_charsmap": Buffer.from(map, "base64") };
      const tokenizer = Tokenizer.fromGguf(new Map<string, unknown>(Object.entries({ ...keys, ...charsmap })));
      assert.ok(cases.length > 20);
      for (const each of cases) check(tokenizer, each);
    });
  }
}

const goldenKinds = (read(goldens, "kinds.json") as { kinds: Record<string, Kind> }).kinds;
const kindNamed = (name: string): Promise<Tokenizer> => Tokenizer.fromTokenizerJson(jsonFile(goldenKinds[name]?.json));
const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc
    .array(
      fc.constantFrom(
        "<s>",
        "</s>",
        "[CLS]",
        "[SEP]",
        "<",
        "s>",
        "<0x0A>",
        " the",
        "  ",
        "\n",
        "▁",
        "é",
        "囲",
        "😀",
        "house",
      ),
      {
        maxLength: 20,
      },
    )
    .map((parts) => parts.join("")),
);

for (const name of ["word-piece", "unigram", "unigram-bytes", "llama", "gemma", "roberta"]) {
  test(`${name}: text never becomes a control token, a stream goes on as decoding does`, async () => {
    const tokenizer = await kindNamed(name);
    fc.assert(
      fc.property(anyText, (text) => {
        const ids = tokenizer.encode(text);
        assert.ok(ids.every((id) => !tokenizer.isControl(id) || id === tokenizer.unknownId));
        const stream = tokenizer.stream();
        const streamed = ids.map((id) => stream.push(id)).join("") + stream.end();
        assert.equal(streamed, tokenizer.decode(ids, { continues: true }));
      }),
    );
  });
}

test("with bytes to fall back to, decoding what was encoded gives the text", async () => {
  for (const name of ["llama", "gemma", "roberta"]) {
    const tokenizer = await kindNamed(name);
    const isSpace = name === "roberta" ? (text: string) => text : (text: string) => text.replaceAll("▁", " ");
    fc.assert(
      fc.property(anyText, (text) =>
        assert.equal(tokenizer.decode(tokenizer.encode(text)), isSpace(text.toWellFormed())),
      ),
    );
  }
});

test("an unknown character counts ten below the least likely token", async () => {
  const unigram = (pair: number) =>
    Tokenizer.fromTokenizerJson(
      jsonFile({
        model: {
          type: "Unigram",
          unk_id: 0,
          vocab: [
            ["<unk>", 0],
            ["ab", pair],
            ["cd", pair],
            ["bcd", -1],
          ],
        },
        decoder: { type: "Fuse" },
      }),
    );
  // "ab" and "cd" against an unknown "a" and "bcd": 2 · pair against pair - 10 - 1
  assert.deepEqual((await unigram(-10.9)).encode("abcd"), [1, 2]);
  assert.deepEqual((await unigram(-11.1)).encode("abcd"), [0, 3]);
});

test("an answer's first token keeps its space, a text's does not", async () => {
  const tokenizer = await kindNamed("llama");
  const ids = tokenizer.encode("the house");
  assert.equal(tokenizer.decode(ids), "the house");
  assert.equal(tokenizer.decode(ids, { continues: true }), " the house");
  const first = await Tokenizer.fromTokenizerJson(
    jsonFile({ ...goldenKinds.llama?.json, ...pick(goldenKinds["llama-first"]) }),
  );
  assert.notDeepEqual(first.encode("the house"), first.encode("the house", { continues: true }));
  assert.equal(first.decode(first.encode("the house", { continues: true })), "the house");
});

const pick = (kind: Kind | undefined) => ({ normalizer: kind?.normalizer, pre_tokenizer: kind?.pre_tokenizer });

test("the special tokens of an encoder, its longest input and the place of each text of a pair are known", async () => {
  const file = { ...goldenKinds["word-piece"]?.json, padding: { pad_id: 0 }, truncation: { max_length: 128 } };
  const config = { unk_token: "[UNK]", pad_token: "[PAD]", model_max_length: 512 };
  const tokenizer = await Tokenizer.fromTokenizerJson(jsonFile(file), config);
  const { bosId, padId, unknownId, maxTokens, addsBos, addsEos } = tokenizer;
  assert.deepEqual([bosId, padId, unknownId, maxTokens, addsBos, addsEos], [2, 0, 1, 512, true, true]);
  const limited = await Tokenizer.fromTokenizerJson(jsonFile(file), config, { maxTokens: 4 });
  assert.deepEqual(limited.encodeFramed("the quick fox jumps"), {
    ids: [2, ...limited.encode("the quick"), 3],
    types: [0, 0, 0, 0],
    cutTokens: 2,
  });
  const one = limited.encode("the");
  assert.deepEqual(limited.encodeFramed("the", { pair: "the the", maxTokens: 5 }), {
    ids: [2, ...one, 3, ...one, 3],
    types: [0, 0, 0, 1, 1],
    cutTokens: 1,
  });
  assert.throws(() => limited.encodeFramed("the", { maxTokens: 1 }), {
    code: "bad-input",
    message: /wanted 2 or more/,
  });
  const endless = { ...config, model_max_length: 1e30 };
  assert.equal((await Tokenizer.fromTokenizerJson(jsonFile(file), endless)).maxTokens, 128);
});

test("the id of a text that is one token is found, in whatever way the vocabulary writes it", async () => {
  for (const [name, texts] of [
    ["word-piece", [" the", "ing"]],
    ["llama", [" the", "the", "\n"]],
    ["roberta", [" the", "the"]],
  ] as const) {
    const tokenizer = await kindNamed(name);
    for (const text of texts) {
      const id = tokenizer.idOf(text);
      if (id === undefined) assert.ok(tokenizer.encode(text).length !== 1, `${name} ${text}`);
      else assert.equal(Buffer.from(tokenizer.bytesOf(id)).toString(), text);
    }
    assert.ok(tokenizer.idOf(" the") !== undefined, name);
  }
});

test("a table of characters that is cut or points nowhere is a sentence, or leaves the text alone", () => {
  const { pieces } = read(goldens, "pieces.json") as { pieces: Record<string, Pieces> };
  const { metadata } = pieces.unigram as Pieces;
  const { charsmap_base64: map, ...keys } = metadata;
  const bytes = Buffer.from(map as string, "base64");
  const open = (charsmap: Uint8Array) =>
    Tokenizer.fromGguf(
      new Map<string, unknown>(Object.entries({ ...keys, "tokenizer.ggml.precompiled_charsmap": charsmap })),
    );
  assert.throws(() => open(bytes.subarray(0, 100)).encode("ﬁre"), {
    code: "bad-file",
    message: /precompiled_charsmap/,
  });
  fc.assert(
    fc.property(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 255 }), (at, value) => {
      const broken = Uint8Array.from(bytes);
      broken[at] = value;
      try {
        assert.equal(typeof open(broken).encode("ﬁre ½\r\n한국어 e\u0301").length, "number");
      } catch (error) {
        assert.equal((error as { code?: string }).code, "bad-file");
      }
    }),
    { numRuns: 300 },
  );
});
