// What a node changes equals the network made anew with it; islands joined count as a gain. Does not know Episodes.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { seededRandom } from "../../base/mod.ts";
import { Before, newLinksOf } from "./gauge.ts";
import { HarmonicNetwork, type WeightedEdge } from "./harmonic.ts";
import type { Neighbourhood } from "./neighbourhood.ts";

const near = (a: number, b: number, within = 1e-9) =>
  assert.ok(Math.abs(a - b) <= within * Math.max(1, Math.abs(b)), `${a} is not ${b}`);

function randomNetwork(seed: number, count: number): { edges: WeightedEdge[]; isCounted: boolean[] } {
  const random = seededRandom(seed);
  const any = () => Math.floor(random.next() * count);
  const edges = Array.from({ length: count * 2 }, () => ({ a: any(), b: any(), weight: 0.1 + random.next() }));
  return {
    edges: edges.filter(({ a, b }) => a !== b),
    isCounted: Array.from({ length: count }, () => random.next() < 0.8),
  };
}

test("the fall of all distances by a new node is that of the network made with it", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const { edges, isCounted } = randomNetwork(seed, 14);
    const network = new HarmonicNetwork(14, edges, isCounted);
    const [places, weights] = [[0, 3, 7, 11].slice(0, 1 + (seed % 4)), [0.5, 1, 0.2, 0.9].slice(0, 1 + (seed % 4))];
    const own = places.map((place, i) => ({ a: 14, b: place, weight: weights[i] as number }));
    const after = new HarmonicNetwork(15, [...edges, ...own], [...isCounted, false]);
    near(network.changeBy({ places, weights }).path, Math.max(0, 1 - after.total / network.total));
  }
});

const change = (network: HarmonicNetwork, places: number[]) =>
  network.changeBy({ places, weights: places.map(() => 1) });
const ring = (from: number) => [0, 1, 2].map((i) => ({ a: from + i, b: from + ((i + 1) % 3), weight: 1 }));
const all = (count: number) => new Array<boolean>(count).fill(true);

test("8: joining two islands counts as a gain, a shortcut in a path too; nothing added changes nothing", () => {
  const two = new HarmonicNetwork(6, [...ring(0), ...ring(3)], all(6));
  assert.ok(change(two, [0, 3]).path > 0.5 && change(two, [0, 3]).path > 5 * change(two, [0, 1]).path);
  assert.equal(change(two, [0, 3]).before[1], 0);
  assert.ok((change(two, [0, 3]).after[1] as number) > 0.5);
  const path = new HarmonicNetwork(
    7,
    [0, 1, 2, 3, 4, 5].map((i) => ({ a: i, b: i + 1, weight: 1 })),
    all(7),
  );
  assert.ok(change(path, [0, 6]).path > change(path, [0, 2]).path && change(path, [0, 2]).path > 0);
  assert.equal(change(path, []).path, 0);
});

/** A neighbourhood of two rings of episodes; the new one, node 0, is linked with some of them. */
function rings(links: readonly number[], order: readonly number[] = [0, 1, 2, 3, 4, 5]): Neighbourhood {
  const place = (i: number) => 1 + order.indexOf(i);
  const pair = (a: number, b: number) => [Math.min(a, b), Math.max(a, b), 1] as const;
  const edges = [...ring(0), ...ring(3)].map(({ a, b }) => pair(place(a), place(b)));
  return {
    nodes: ["episode:new", ...order.map((i) => `episode:${i}` as const)],
    hops: [0, ...order.map(() => 1)],
    edges: [...links.map((i) => pair(0, place(i))), ...edges],
  };
}
const gauge = (neighbourhood: Neighbourhood) => new Before(neighbourhood).gaugeOf(newLinksOf(neighbourhood));

test("25: F of nothing new is 0, and all its parts", () => {
  assert.deepEqual(gauge(rings([])), {
    ...{ f: 0, editCost: 0, entropyBefore: 0, entropyAfter: 0, entropyChange: 0, informationGain: 0, pathGain: 0 },
  });
});

test("what joins islands gains, what stays on one hardly does, and what rests on one link loses all when that is left out", () => {
  const bridge = gauge(rings([0, 1, 3, 4]));
  const within = gauge(rings([0, 1, 2]));
  assert.ok(bridge.f < -1 && within.f > bridge.f / 4);
  near(bridge.entropyBefore, Math.log(2), 0.1); // two places, as good as unlike
  assert.ok(bridge.informationGain > 0.4 && bridge.entropyChange < 0);
  const single = rings([0, 1, 2, 3]);
  const before = new Before(single);
  assert.ok(before.gaugeOf(newLinksOf(single)).f < -1 && before.weakestOf(newLinksOf(single)).f > -0.3);
  assert.ok(new Before(rings([0, 1, 3, 4])).weakestOf(newLinksOf(rings([0, 1, 3, 4]))).f < -1);
});

test("the gauge does not depend on the order of the nodes", () => {
  fc.assert(
    fc.property(
      fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 6 }),
      fc.shuffledSubarray([0, 1, 2, 3, 4, 5]),
      (order, links) => {
        const [one, other] = [gauge(rings(links)), gauge(rings(links, order))];
        for (const part of ["f", "editCost", "entropyBefore", "entropyAfter", "pathGain"] as const)
          near(one[part], other[part], 1e-9);
      },
    ),
  );
});
