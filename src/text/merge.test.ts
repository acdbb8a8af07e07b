// Merging of pieces far longer than words.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Pieces } from "./pieces.ts";
import { mergeRank, type Prepared, readPrepared } from "./prepared.ts";
import { synthetic } from "./synthetic.fixture.ts";

/** The definition: merge the pair of lowest rank, leftmost first, until none is left. */
function mergeByDefinition(prepared: Prepared, piece: string): number[] {
  const ids = [...new TextEncoder().encode(piece)].map((byte) => prepared.byteIds[byte] as number);
  for (;;) {
    const ranks = ids.slice(1).map((right, i) => mergeRank(prepared, ids[i] as number, right));
    const best = Math.min(...ranks.filter((rank) => rank >= 0));
    if (best === Number.POSITIVE_INFINITY) return ids;
    ids.splice(ranks.indexOf(best), 2, prepared.merges[best * 3 + 2] as number);
  }
}

test("short and long pieces are merged as the definition says", () => {
  const prepared = readPrepared(synthetic().prepare());
  const merger = new Pieces(prepared);
  const parts = ["the", "function", "aaa", "return", "ing", "é", "self", "th", "x", "囲", "aaaa"];
  for (let length = 0; length < 90; length++) {
    const piece = Array.from({ length }, (_, i) => parts[(i * i + length) % parts.length]).join("");
    for (const repeat of [0, 1]) {
      const ids: number[] = [];
      merger.append(piece, ids);
      assert.deepEqual(ids, mergeByDefinition(prepared, piece), `${piece} (time ${repeat + 1})`);
    }
  }
});

test("long pieces of common letters are merged as the definition says", () => {
  const prepared = readPrepared(synthetic().prepare());
  const merger = new Pieces(prepared);
  const letters = fc.array(fc.constantFrom(..."aehtrnsfiou<|_"), { minLength: 65, maxLength: 240 });
  fc.assert(
    fc.property(letters, (letters) => {
      const ids: number[] = [];
      merger.append(letters.join(""), ids);
      assert.deepEqual(ids, mergeByDefinition(prepared, letters.join("")));
    }),
  );
});

test("a piece of 200,000 letters takes steps in proportion to its length, not to its square", () => {
  const tokenizer = synthetic();
  const letters = "a".repeat(200_000);
  const ids = tokenizer.encode(letters);
  assert.equal(tokenizer.decode(ids), letters);
  assert.ok(ids.length < 100_000);
});

test("a merge table knows only its pairs", () => {
  const prepared = readPrepared(synthetic().prepare());
  const pairs = new Set<string>();
  for (let rank = 0; rank < prepared.merges.length / 3; rank++) {
    const [left, right] = [prepared.merges[rank * 3] as number, prepared.merges[rank * 3 + 1] as number];
    assert.equal(mergeRank(prepared, left, right), rank);
    pairs.add(`${left} ${right}`);
  }
  for (let i = 0; i < 20_000; i++) {
    const [left, right] = [(i * 7) % 640, (i * 13) % 641];
    if (!pairs.has(`${left} ${right}`)) assert.equal(mergeRank(prepared, left, right), -1);
  }
});
