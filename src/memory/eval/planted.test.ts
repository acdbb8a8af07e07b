// The planted world holds what its labels say, and the same seed gives the same texts.
import assert from "node:assert/strict";
import { test } from "node:test";
import { GRID, INSIGHT_KINDS, OTHER_KINDS, PlantedWorld } from "./planted.ts";
import { domains } from "./planted-words.ts";

const topicsIn = (text: string): string[] => {
  const words = new Set(text.toLowerCase().match(/[a-z]+/g));
  return domains.filter(({ nouns }) => nouns.some((noun) => words.has(noun))).map(({ name }) => name);
};

test("no noun belongs to two topics, and each topic has six sub-topics of every kind of word", () => {
  const nouns = domains.flatMap((domain) => domain.nouns);
  assert.equal(new Set(nouns).size, nouns.length);
  for (const { name, nouns, verbs, adjectives } of domains)
    assert.deepEqual([nouns.length, verbs.length, adjectives.length], [36, 12, 12], name);
});

for (const difficulty of GRID)
  test(`${JSON.stringify(difficulty)}: texts speak of the topics they name, and only a bridge or a stray word of two`, () => {
    const world = new PlantedWorld(7, difficulty);
    assert.equal(world.background().length, difficulty.topics * difficulty.factsPerTopic);
    for (const kind of [...INSIGHT_KINDS, ...OTHER_KINDS])
      for (let i = 0; i < 20; i++) {
        const { text, topics, isInsight } = world.plant(kind);
        assert.equal(isInsight, INSIGHT_KINDS.includes(kind));
        if (kind === "bridge") assert.deepEqual(topicsIn(text).sort(), [...topics].sort(), text);
        if (["restructuring", "fact", "elaboration"].includes(kind)) assert.deepEqual(topicsIn(text), topics, text);
        if (kind === "noise") assert.deepEqual(topicsIn(text), [], text);
      }
    for (let i = 0; i < 50; i++) assert.equal(topicsIn(world.nullText()).length, 1);
  });

test("the same seed gives the same world", () => {
  const texts = (seed: number) => {
    const world = new PlantedWorld(seed, GRID[3] as (typeof GRID)[number]);
    return [...world.background(), ...INSIGHT_KINDS.map((kind) => world.plant(kind).text), world.nullText()];
  };
  assert.deepEqual(texts(3), texts(3));
  assert.notDeepEqual(texts(3), texts(4));
});
