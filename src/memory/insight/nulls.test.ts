// What the two nulls compare with: places as near as a text's own, other texts by their links, both at one rate.
import assert from "node:assert/strict";
import { test } from "node:test";
import { exchangeP } from "./exchange.ts";
import { Before, newLinksOf } from "./gauge.ts";
import type { Neighbourhood, NeighbourhoodEdge } from "./neighbourhood.ts";
import { placementNull } from "./placement.ts";

const EACH = 16;
/** Two circles of Episodes, each beside a Concept that only it has; joined by one weak link. The first node is the new text. */
function twoCircles(ofNew: readonly (readonly [place: number, weight: number])[]): Neighbourhood {
  const nodes = ["episode:new", ...Array.from({ length: 4 * EACH }, (_, i) => `${i % 2 ? "concept" : "episode"}:${i}`)];
  const edges: NeighbourhoodEdge[] = ofNew.map(([place, weight]) => [0, place + 1, weight]);
  for (const from of [0, 2 * EACH])
    for (let i = 0; i < EACH; i++) {
      const [episode, next] = [from + 2 * i, from + ((2 * i + 2) % (2 * EACH))];
      edges.push([episode + 1, episode + 2, 1], [Math.min(episode, next) + 1, Math.max(episode, next) + 1, 1]);
    }
  edges.push([1, 2 * EACH + 1, 0.05]);
  return { nodes: nodes as Neighbourhood["nodes"], hops: nodes.map(() => 1), edges };
}
const nullOf = (neighbourhood: Neighbourhood) =>
  placementNull(neighbourhood, new Before(neighbourhood), newLinksOf(neighbourhood), 1);

test("links to both of two circles do what links strewn around the strongest do not; links to one circle do no more than those", () => {
  const joining = nullOf(twoCircles([0, 2, 2 * EACH, 2 * EACH + 2].map((place) => [place, 1])));
  assert.equal(joining?.p, 1 / 201);
  assert.equal(joining?.places, 8); // twice as many Episodes as links; no Concepts, where no link leads to one
  const inside = nullOf(twoCircles([0, 2, 4, 6].map((place) => [place, 1])));
  assert.ok((inside?.p ?? 0) > 0.2, `${inside?.p}`);
});

test("the first null says nothing where a kind of place has none to spare", () => {
  const { nodes, hops, edges } = twoCircles([0, 2].map((place) => [place, 1]));
  const few = edges.filter(([a, b]) => a <= 5 && b <= 5);
  assert.equal(nullOf({ nodes: nodes.slice(0, 6), hops, edges: few }), undefined);
});

test("of many links the mentions are reckoned with before the likenesses, in the order of their weights", () => {
  const likenesses = Array.from({ length: 12 }, (_, i) => [2 * i, 0.9 - i / 100] as const);
  const mentions = [1, 3, 5].map((place) => [place, 0.3] as const);
  const links = newLinksOf(twoCircles([...likenesses, ...mentions]));
  assert.deepEqual(
    links.map(({ place }) => place),
    [0, 2, 4, 6, 8, 10, 12, 1, 3, 5],
  );
});

test("a text is compared by F times its links, with those alone that pass the first null too", () => {
  const real = { f: -0.5, links: 8 };
  const draw = (f: number, links: number, placementP?: number) => ({ id: "", episodes: 1, f, links, placementP });
  const none = Array.from({ length: 98 }, () => draw(-0.1, 8, 0.01));
  assert.equal(exchangeP(real, [...none, draw(-1, 3, 0.01)], 0.05), 1 / 100); // −3 is less than −4
  assert.equal(exchangeP(real, [...none, draw(-0.6, 8, 0.01)], 0.05), 2 / 100);
  assert.equal(exchangeP(real, [...none, draw(-0.6, 8, 0.3)], 0.05), 1 / 100);
  assert.equal(exchangeP(real, [...none, draw(-0.6, 8)], 0.05), 2 / 100); // not looked at: it counts
});
