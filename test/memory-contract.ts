// What every DataStore must do: one suite for all of them (memory-stores.test.ts). Each fact gets a namespace of its own.
// It does not know which store it is told about.
import assert from "node:assert/strict";
import { seededRandom } from "../src/base/mod.ts";
import {
  type DataStore,
  type Embedder,
  type Episode,
  everyEpisode,
  everyItem,
  holdsAt,
  type Link,
  type NewEpisode,
  type NodeRef,
} from "../src/memory/mod.ts";
import { hashedVector, termsOf } from "../src/text/mod.ts";
import { insightVectors } from "./insight-vectors.ts";

export interface Contract {
  readonly fact: string;
  readonly holds: (store: DataStore, namespace: string, open: () => Promise<DataStore>) => Promise<void>;
}

/** Size of the vectors of the suite. */
const DIMS = 16;
export const EMBEDDER: Embedder = {
  id: "test-16",
  dims: DIMS,
  related: 0.3,
  embed: async (texts) => texts.map((text) => hashedVector(text, DIMS)),
};
const AT = 1_700_000_000_000;
const ALL = { hops: 4, mostNodes: 100 };

const axis = (...values: number[]): Float32Array => Float32Array.from({ length: DIMS }, (_, i) => values[i] ?? 0);
const episode = (text: string, more: Partial<NewEpisode> = {}): NewEpisode => ({
  text,
  vector: hashedVector(text, DIMS),
  recordedAt: AT,
  ...more,
});
const link = (source: NodeRef, target: NodeRef, weight = 1, kind = "similar"): Link => ({
  source,
  target,
  kind,
  weight,
  recordedAt: AT,
});
const concepts = (edges: readonly (readonly string[])[]): Link[] =>
  edges.map(([a, b]) => link(`concept:${a}`, `concept:${b}`));
const idsOf = (found: readonly { readonly episode: Episode }[]): string[] => found.map((one) => one.episode.id);
const refused = (code: string, message: RegExp) => (error: Error & { code?: string }) =>
  error.code === code && message.test(error.message);

async function add(store: DataStore, ns: string, ...episodes: NewEpisode[]): Promise<string[]> {
  return (await store.addEpisodes(ns, episodes)).map(({ id }) => id);
}

export const contract: readonly Contract[] = [
  {
    fact: "what is added comes back as it was, in the order asked",
    async holds(store, ns) {
      const source = { uri: "notes/fire.md", title: "Fire", start: 3, end: 9, page: 2, speaker: "Aki" };
      const metadata = { tag: "warm", rank: 3, isOld: true, deep: { list: [1, null, "x"] } };
      const whole = episode("The hearth never goes out 🔥", {
        ...{
          id: "one",
          key: "k1",
          kind: "insight",
          user: "u",
          agent: "a",
          thread: "t",
          source,
          metadata,
          confidence: 0.7,
        },
        ...{ validFrom: AT - 5, validTo: AT + 5, expiresAt: AT + 99, isPinned: true },
      });
      const [first, second] = await store.addEpisodes(ns, [whole, episode("plain")]);
      assert.deepEqual(first, { id: "one", isNew: true, repeats: 0 });
      const [plain, none, one] = await store.getEpisodes(ns, [second?.id as string, "nobody", "one"]);
      assert.equal(none, undefined);
      const { vector: _, ...given } = whole;
      assert.deepEqual(
        { ...one },
        {
          ...{ ...given, namespace: ns, closedAt: AT, isRetracted: false, supersededBy: undefined },
          ...{ repeats: 0, seenAt: AT, uses: 0, version: 1 },
        },
      );
      assert.equal(plain?.kind, "experience");
      assert.equal(plain?.confidence, 0.5);
      assert.deepEqual(plain?.metadata, {});
      const [vector] = await store.vectorsOf(ns, ["one"]);
      assert.ok(vector && Math.abs(vector.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-6);
    },
  },
  {
    fact: "bad input is a sentence, and nothing of its call is kept",
    async holds(store, ns) {
      const cases: [NewEpisode, RegExp][] = [
        [episode("x", { vector: new Float32Array(3) }), /3 numbers, wanted 16 float32 numbers/],
        [episode("x", { vector: axis(Number.NaN) }), /a vector: got NaN at 0, wanted finite numbers/],
        [episode("x", { vector: axis(0, 1, Infinity) }), /got Infinity at 2/],
        [episode("x", { vector: axis() }), /a vector of zeros has no direction/],
        [episode(" \n"), /a text to remember: got an empty one/],
        [episode("half \ud83d of a pair"), /no valid Unicode: got half of a surrogate pair/],
        [episode("a\0b"), /NUL/],
        [episode("x".repeat(1_000_001)), /got 1000001 bytes, wanted at most 1000000; import it/],
        [episode("x", { user: "" }), /a user: got "", wanted 1 to 200 characters/],
        [episode("x", { metadata: { a: "y".repeat(100_001) } }), /metadata of an episode: got \d+ bytes/],
        [episode("x", { confidence: Number.NaN }), /confidence of an episode: got NaN/],
        [episode("x", { validFrom: Number.NaN }), /validFrom of an episode: got NaN, wanted milliseconds/],
      ];
      for (const [bad, message] of cases)
        await assert.rejects(
          add(store, ns, episode("fine"), bad),
          refused("bad-input", new RegExp(`episode 1 of 2: .*${message.source}`, "s")),
        );
      await assert.rejects(add(store, "a\nb", episode("x")), refused("bad-input", /a namespace: got "a\\nb"/));
      await assert.rejects(
        store.searchByVector(ns, [new Float32Array(2)], { count: 1 }),
        refused("bad-input", /2 numbers/),
      );
      await assert.rejects(
        store.listEpisodes(ns, { limit: 1, after: "x" }),
        refused("bad-input", /where a page begins: got "x"/),
      );
      assert.equal(await store.countEpisodes(ns), 0);
    },
  },
  {
    fact: "a key is used once, an id too; a key in another namespace is another key",
    async holds(store, ns) {
      const [first] = await store.addEpisodes(ns, [episode("one", { key: "k", id: "i" })]);
      const [again] = await store.addEpisodes(ns, [episode("something else", { key: "k" })]);
      assert.deepEqual(again, { id: "i", isNew: false, repeats: 0 });
      assert.equal(first?.isNew, true);
      await assert.rejects(
        add(store, ns, episode("two", { id: "i" })),
        refused("conflict", /episode i is in .* already/),
      );
      assert.equal((await store.addEpisodes(`${ns}-other`, [episode("one", { key: "k", id: "i" })]))[0]?.isNew, true);
      assert.equal(await store.countEpisodes(ns), 1);
    },
  },
  {
    fact: "the same text in the same scope is counted; of another user, after its end, or where asked, it is kept",
    async holds(store, ns) {
      const [id] = (await add(store, ns, episode("The fire is out."))) as [string];
      const again = await store.addEpisodes(ns, [episode("The  fire is out.", { recordedAt: AT + 9 })]);
      assert.deepEqual(again, [{ id, isNew: false, repeats: 1 }]);
      const [known] = await store.getEpisodes(ns, [id]);
      assert.deepEqual([known?.repeats, known?.seenAt, known?.version], [1, AT + 9, 2]);
      await add(store, ns, episode("The fire is out.", { user: "u" }));
      assert.equal(await store.countEpisodes(ns), 2);
      await store.addEpisodes(ns, [episode("The fire is out.")], { repeats: "keep" });
      assert.equal(await store.countEpisodes(ns), 3);
      const [ended] = (await add(store, ns, episode("It was so.", { validTo: AT }))) as [string];
      assert.notEqual((await add(store, ns, episode("It was so.")))[0], ended);
    },
  },
  {
    fact: "20: an update needs the version it was decided on, null takes away, and a new text is found by its own words alone",
    async holds(store, ns) {
      const [id] = (await add(store, ns, episode("red lamp", { validFrom: 5, metadata: { a: 1 } }))) as [string];
      const changed = await store.updateEpisode(ns, id, { confidence: 0.9, validFrom: null, metadata: { b: "x" } }, 1);
      assert.deepEqual(
        [changed.confidence, changed.validFrom, changed.metadata, changed.version],
        [0.9, undefined, { b: "x" }, 2],
      );
      await assert.rejects(
        store.updateEpisode(ns, id, { uses: 1 }, 1),
        refused("conflict", /version 1, wanted version 2; read it again/),
      );
      await assert.rejects(store.updateEpisode(ns, "nobody", { uses: 1 }), refused("not-found", /no episode "nobody"/));
      await assert.rejects(store.updateEpisode(ns, id, { text: "blue" }), refused("bad-input", /come together/));
      await store.updateEpisode(ns, id, { text: "blue river", vector: axis(0, 1) }, 2);
      assert.equal(await store.countEpisodes(ns, { metadata: { a: 1 } }), 0);
      assert.equal(await store.countEpisodes(ns, { metadata: { b: "x" } }), 1);
      assert.deepEqual(await store.searchByTerms(ns, termsOf("lamp"), { count: 5 }), []);
      assert.deepEqual(idsOf(await store.searchByTerms(ns, termsOf("river"), { count: 5 })), [id]);
      const [[near]] = (await store.searchByVector(ns, [axis(0, 1)], { count: 5 })) as [
        [{ score: number; episode: Episode }],
      ];
      assert.ok(Math.abs(near.score - 1) < 1e-6 && near.episode.text === "blue river");
    },
  },
  {
    fact: "20: of what is deleted nothing is found any more: row, words, vector, links, and concepts that only it had",
    async holds(store, ns) {
      const [a, b] = (await add(store, ns, episode("Aki likes soba"), episode("Ken likes udon"))) as [string, string];
      await store.changeLinks(ns, [
        link(`episode:${a}`, "concept:soba"),
        link(`episode:${a}`, "concept:food"),
        link(`episode:${b}`, "concept:food"),
      ]);
      await store.updateEpisode(ns, b, { supersededBy: a });
      assert.equal(await store.deleteEpisodes(ns, [a, "nobody"]), 1);
      assert.equal(await store.deleteEpisodes(ns, [a]), 0);
      assert.deepEqual(await store.getEpisodes(ns, [a]), [undefined]);
      assert.deepEqual(await store.vectorsOf(ns, [a]), [undefined]);
      assert.deepEqual(idsOf(await store.searchByTerms(ns, termsOf("Aki likes soba"), { count: 5 })), [b]);
      assert.deepEqual(await store.termCounts(ns, termsOf("soba likes")), [0, 1]);
      assert.deepEqual(
        idsOf((await store.searchByVector(ns, [hashedVector("Aki likes soba", DIMS)], { count: 5 }))[0] ?? []),
        [b],
      );
      assert.deepEqual(await store.getConcepts(ns, ["soba", "food"]).then((all) => all.map((one) => one?.id)), [
        undefined,
        "food",
      ]);
      assert.deepEqual(await store.neighbours(ns, "concept:food", ALL), [[`episode:${b}`], [], [], []]);
      assert.equal((await store.getEpisodes(ns, [b]))[0]?.supersededBy, undefined);
    },
  },
  {
    fact: "20: namespaces share nothing",
    async holds(store, ns) {
      const other = `${ns}-b`;
      for (const one of [ns, other]) {
        await add(store, one, episode("same words here", { id: "same" }));
        await store.putRecord(one, "value", { key: "k", body: one, recordedAt: AT });
        await store.changeLinks(one, [link("concept:x", "concept:y"), link("episode:same", "concept:x")]);
      }
      assert.deepEqual(await store.termCounts(ns, termsOf("same words")), [1, 1]);
      assert.equal((await store.searchByTerms(ns, termsOf("words"), { count: 9 })).length, 1);
      assert.equal((await store.searchByVector(ns, [axis(1)], { count: 9 }))[0]?.length, 1);
      await store.deleteEpisodes(ns, ["same"]);
      await store.changeLinks(ns, [], [{ source: "concept:x", target: "concept:y" }]);
      assert.equal((await store.getEpisodes(other, ["same"]))[0]?.text, "same words here");
      assert.deepEqual(
        await store.neighbours(other, "concept:x", { ...ALL, hops: 1 }).then(([near]) => near?.length),
        2,
      );
      await store.clearNamespace(ns);
      assert.equal((await store.getRecord(other, "value", "k"))?.body, other);
      assert.deepEqual(await store.stats(ns), { namespace: ns, episodes: 0, concepts: 0, links: 0, records: {} });
      assert.ok((await store.namespaces()).includes(other));
    },
  },
  {
    fact: "listing goes page by page in either order, and a reader that stops has read no further",
    async holds(store, ns) {
      const ids = await add(store, ns, ...Array.from({ length: 7 }, (_, i) => episode(`number ${i}`)));
      const oldest = await store.listEpisodes(ns, { limit: 3 });
      assert.deepEqual(
        oldest.items.map(({ id }) => id),
        ids.slice(0, 3),
      );
      const more = await store.listEpisodes(ns, { limit: 4, after: oldest.next });
      assert.deepEqual(
        more.items.map(({ id }) => id),
        ids.slice(3),
      );
      assert.equal(more.next, undefined);
      const newest = await store.listEpisodes(ns, { limit: 2, order: "newest" });
      const before = await store.listEpisodes(ns, { limit: 9, order: "newest", after: newest.next });
      assert.deepEqual(
        [...newest.items, ...before.items].map(({ id }) => id),
        ids.toReversed(),
      );
      const seen: string[] = [];
      for await (const { id } of everyEpisode(store, ns, { batch: 2 })) if (seen.push(id) === 5) break;
      assert.deepEqual(seen, ids.slice(0, 5));
    },
  },
  {
    fact: "every filter lets through what it says, in lists, counts and both searches",
    async holds(store, ns) {
      await add(
        store,
        ns,
        episode("fire one", { user: "u", thread: "t", metadata: { n: 1, s: "x", yes: true }, recordedAt: AT + 1 }),
        episode("fire two", { user: "v", agent: "a", kind: "insight", metadata: { n: 2, s: "x" }, recordedAt: AT + 2 }),
        episode("fire three", { isPinned: true, source: { uri: "f.md" }, metadata: { n: 1 }, recordedAt: AT + 3 }),
      );
      const cases: [Parameters<DataStore["countEpisodes"]>[1], string[]][] = [
        [{ user: "u" }, ["one"]],
        [{ agent: "a" }, ["two"]],
        [{ thread: "t" }, ["one"]],
        [{ kind: "insight" }, ["two"]],
        [{ metadata: { n: 1 } }, ["one", "three"]],
        [{ metadata: { n: 1, s: "x" } }, ["one"]],
        [{ metadata: { yes: true } }, ["one"]],
        [{ metadata: { n: "1" } }, []],
        [{ isPinned: true }, ["three"]],
        [{ isPinned: false }, ["one", "two"]],
        [{ uri: "f.md" }, ["three"]],
        [{ from: AT + 2 }, ["two", "three"]],
        [{ to: AT + 2 }, ["one"]],
        [{ user: "u", metadata: { s: "x" }, from: AT + 1, to: AT + 2 }, ["one"]],
      ];
      const words = (all: readonly Episode[]) => all.map(({ text }) => text.split(" ")[1]).sort();
      for (const [filter, wanted] of cases) {
        const sorted = [...wanted].sort();
        assert.deepEqual(
          words((await store.listEpisodes(ns, { filter, limit: 9 })).items),
          sorted,
          JSON.stringify(filter),
        );
        assert.equal(await store.countEpisodes(ns, filter), wanted.length);
        const [near = []] = await store.searchByVector(ns, [hashedVector("fire", DIMS)], { count: 9, filter });
        assert.deepEqual(words(near.map((found) => found.episode)), sorted);
        const byTerms = await store.searchByTerms(ns, termsOf("fire"), { count: 9, filter });
        assert.deepEqual(words(byTerms.map((found) => found.episode)), sorted);
      }
    },
  },
  {
    fact: "what was known then and held then is what holdsAt says, for 200 random episodes and moments",
    async holds(store, ns) {
      const random = seededRandom(5);
      const some = (chance: number) => (random.next() < chance ? AT + Math.floor(random.next() * 20) : undefined);
      const ids = await add(
        store,
        ns,
        ...Array.from({ length: 60 }, (_, i) =>
          episode(`fact ${i}`, {
            recordedAt: some(1),
            validFrom: some(0.5),
            validTo: some(0.4),
            expiresAt: some(0.3),
          } as Partial<NewEpisode>),
        ),
      );
      for (const id of ids.slice(0, 20))
        await store.updateEpisode(ns, id, {
          closedAt: some(1),
          isRetracted: random.next() < 0.5,
          supersededBy: ids[40],
        });
      const { items } = await store.listEpisodes(ns, { limit: 100 });
      for (let i = 0; i < 40; i++) {
        const at = { knownAt: some(1) as number, validAt: some(1) as number };
        const wanted = items.filter((one) => holdsAt(one, at)).map(({ id }) => id);
        const found = await store.listEpisodes(ns, { filter: { at }, limit: 100 });
        assert.deepEqual(
          found.items.map(({ id }) => id),
          wanted,
          JSON.stringify(at),
        );
      }
    },
  },
  {
    fact: "17: search gives the most similar first with their cosine (the original inverted it)",
    async holds(store, ns) {
      const vectors = {
        same: axis(1),
        "cos.9": axis(0.9, Math.sqrt(0.19)),
        "cos.8": axis(0.8, 0.6),
        orth: axis(0, 1),
        opp: axis(-1),
      };
      await add(store, ns, ...Object.entries(vectors).map(([text, vector]) => episode(text, { vector })));
      const [near = []] = await store.searchByVector(ns, [axis(1)], { count: 5 });
      assert.deepEqual(
        near.map((found) => found.episode.text),
        ["same", "cos.9", "cos.8", "orth", "opp"],
      );
      const wanted = Object.values(insightVectors.sqlite_search.stored);
      for (const [i, { score }] of near.entries()) assert.ok(Math.abs(score - (wanted[i] as number)) < 1e-6);
      assert.deepEqual(
        near.filter(({ score }) => score >= 0.7).map((found) => found.episode.text),
        ["same", "cos.9", "cos.8"],
      );
      // in memory the original's worst came first, with an infinite similarity, and filled up with the best repeated
      const [first] = insightVectors.l2_search_similarity_inversion.results;
      assert.deepEqual([first?.text, first?.similarity], ["opp", "Infinity"]);
      const [more = []] = await store.searchByVector(ns, [axis(1)], { count: 9 });
      assert.equal(more.length, Object.keys(vectors).length);
      assert.deepEqual([more.at(-1)?.episode.text, Math.round(more.at(-1)?.score as number)], ["opp", -1]);
    },
  },
  {
    fact: "search is exact: the order of a full comparison, for many queries at once, also behind a filter",
    async holds(store, ns) {
      const random = seededRandom(9);
      const vector = () => axis(...Array.from({ length: DIMS }, () => random.next() - 0.5));
      const all = Array.from({ length: 400 }, (_, i) => ({
        text: `v${i}`,
        vector: vector(),
        metadata: { third: i % 3 === 0 },
      }));
      await add(store, ns, ...all.map((one) => episode(one.text, one)));
      const queries = Array.from({ length: 20 }, vector);
      const unit = (v: Float32Array) => v.map((x) => x / Math.hypot(...v));
      const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);
      for (const third of [undefined, true]) {
        const pool = all.filter(({ metadata }) => third === undefined || metadata.third);
        const found = await store.searchByVector(ns, queries, {
          count: 12,
          ...(third && { filter: { metadata: { third } } }),
        });
        queries.forEach((query, q) => {
          const wanted = pool
            .map((one) => ({ text: one.text, score: dot(unit(one.vector), unit(query)) }))
            .sort((a, b) => b.score - a.score);
          assert.deepEqual(
            found[q]?.map(({ episode: { text } }) => text),
            wanted.slice(0, 12).map(({ text }) => text),
          );
        });
      }
    },
  },
  {
    fact: "text search ranks by BM25: rare words first, short texts first, English stems and Japanese pairs; unknown words find nothing",
    async holds(store, ns) {
      await add(
        store,
        ns,
        episode("The boats sail on the river"),
        episode("A boat and a bell and a lamp and a stone and a cloud"),
        episode("The river is cold"),
        episode("囲炉裏の火は決して消えない。"),
        episode("冬の家は寒い。"),
      );
      const texts = async (query: string) =>
        (await store.searchByTerms(ns, termsOf(query), { count: 5 })).map((found) => found.episode.text);
      assert.deepEqual(await texts("sailing boat"), [
        "The boats sail on the river",
        "A boat and a bell and a lamp and a stone and a cloud",
      ]);
      assert.deepEqual(await texts("boats"), [
        "The boats sail on the river",
        "A boat and a bell and a lamp and a stone and a cloud",
      ]);
      assert.deepEqual(await texts("囲炉裏"), ["囲炉裏の火は決して消えない。"]);
      assert.deepEqual(await texts("elephant"), []);
      assert.deepEqual(await texts('"; DROP TABLE episode; -- OR NEAR( *'), []);
      assert.deepEqual(await store.termCounts(ns, termsOf("boat river elephant")), [2, 2, 0]);
    },
  },
  {
    fact: "15: neighbours by hops as in the original's numbers, also after a link is gone; unknown nodes have none",
    async holds(store, ns) {
      const golden = insightVectors.graph_neighbors;
      await store.changeLinks(ns, concepts(golden.edges));
      const byHop = async () =>
        (await store.neighbours(ns, "concept:a", ALL)).map((level) =>
          level.map((ref) => ref.slice("concept:".length)).sort(),
        );
      assert.deepEqual(
        await byHop(),
        Object.values(golden.by_hop["4"]).map((level) => [...level].sort()),
      );
      await store.changeLinks(ns, concepts(golden.edges)); // again: nothing doubles
      assert.equal((await store.stats(ns)).links, golden.edges.length);
      await store.changeLinks(ns, [], [{ source: "concept:b", target: "concept:c" }]);
      assert.deepEqual(
        (await byHop()).slice(0, 2),
        Object.values(golden.after_removing_b_c_hop2).map((level) => [...level].sort()),
      );
      assert.deepEqual(await store.neighbours(ns, "concept:nobody", ALL), []);
      assert.deepEqual(await store.neighbours(ns, "episode:nobody", ALL), []);
    },
  },
  {
    fact: "15: two hops in a network of 10,000 nodes are those of a full walk, in a circle too, and no more are handed over than asked for",
    async holds(store, ns) {
      const ids = Array.from({ length: 10_000 }, (_, i) => `n${i}`);
      const random = seededRandom(15);
      const edges = ids.flatMap((id, i) => [
        [id, ids[(i + 1) % ids.length] as string], // a circle
        [id, ids[Math.floor(random.next() * ids.length)] as string],
      ]);
      const own = edges.filter(([a, b]) => a !== b);
      await store.changeLinks(ns, concepts(own));
      const beside = new Map<string, Set<string>>(ids.map((id) => [id, new Set()]));
      for (const [a, b] of own as [string, string][]) {
        beside.get(a)?.add(b);
        beside.get(b)?.add(a);
      }
      for (const start of ["n0", "n4711"]) {
        const one = [...(beside.get(start) as Set<string>)];
        const two = new Set(one.flatMap((id) => [...(beside.get(id) as Set<string>)]));
        for (const id of [start, ...one]) two.delete(id);
        const levels = await store.neighbours(ns, `concept:${start}`, { hops: 2, mostNodes: 1_000 });
        const found = levels.map((level) => level.map((ref) => ref.slice("concept:".length)).sort());
        assert.deepEqual(found, [one.sort(), [...two].sort()]);
        const few = await store.neighbours(ns, `concept:${start}`, { hops: 4, mostNodes: 10 });
        assert.ok(few.flat().length <= 10);
      }
      await store.clearNamespace(ns);
    },
  },
  {
    fact: "a network is cut at its limits, says so, and follows the strongest links first; its subgraph is of the seeds alone",
    async holds(store, ns) {
      const golden = insightVectors.graph_neighbors;
      await store.changeLinks(ns, concepts(golden.edges));
      const seeds = ["concept:a", "concept:b", "concept:c"] as const;
      const { nodes, links } = await store.network(ns, seeds, { hops: 0, mostNodes: 9 });
      assert.deepEqual(
        nodes.map(({ ref }) => ref),
        seeds,
      );
      assert.deepEqual(
        links.map(({ source, target }) => [source, target]).sort(),
        golden.subgraph_abc.edges.map(({ source, target }) => [`concept:${source}`, `concept:${target}`]).sort(),
      );
      await store.changeLinks(
        ns,
        Array.from({ length: 9 }, (_, i) => link("concept:hub", `concept:n${i}`, (i + 1) / 10)),
      );
      const cut = await store.network(ns, ["concept:hub"], { hops: 1, mostNodes: 4 });
      assert.deepEqual(
        [cut.nodes.map(({ ref }) => ref), cut.isWhole],
        [["concept:hub", "concept:n8", "concept:n7", "concept:n6"], false],
      );
      const few = await store.network(ns, ["concept:hub"], { hops: 1, mostNodes: 99, mostLinks: 2 });
      assert.deepEqual([few.nodes.length, few.isWhole], [3, true]);
      const strong = await store.network(ns, ["concept:hub"], {
        hops: 1,
        mostNodes: 99,
        leastWeight: { similar: 0.75, other: 2 },
      });
      assert.deepEqual([strong.nodes.length, strong.links.length], [3, 2]);
      await store.changeLinks(ns, [link("concept:a", "concept:z", 1, "contradicts")]);
      assert.ok(!(await store.network(ns, ["concept:a"], ALL)).nodes.some(({ ref }) => ref === "concept:z"));
      assert.ok(
        (await store.network(ns, ["concept:a"], { ...ALL, kinds: ["contradicts"] })).nodes.some(
          ({ ref }) => ref === "concept:z",
        ),
      );
    },
  },
  {
    fact: "a link needs a weight, two ends, and episodes that are there",
    async holds(store, ns) {
      await assert.rejects(
        store.changeLinks(ns, [link("concept:a", "concept:b", 0)]),
        refused("bad-input", /a link's weight .* got 0/),
      );
      await assert.rejects(
        store.changeLinks(ns, [link("concept:a", "concept:a")]),
        refused("bad-input", /from concept:a to itself/),
      );
      await assert.rejects(
        store.changeLinks(ns, [link("concept:a", "episode:gone")]),
        refused("not-found", /a link to episode "gone"/),
      );
      await assert.rejects(
        store.changeLinks(ns, [link("a" as NodeRef, "concept:b")]),
        refused("bad-input", /a node: got "a"/),
      );
      assert.deepEqual(await store.getConcepts(ns, ["a"]), [undefined]);
    },
  },
  {
    fact: "concepts and links are listed page by page, each once, of the namespace alone",
    async holds(store, ns) {
      const edges = Array.from({ length: 23 }, (_, i) => [`a${i % 7}`, `c${(i * 3 + 1) % 11}`] as const);
      await store.changeLinks(ns, concepts(edges));
      await store.changeLinks(`${ns}-other`, concepts([["x", "y"]]));
      const [id] = await add(store, ns, episode("a text with a link"));
      await store.changeLinks(ns, [link(`episode:${id}`, "concept:c1", 0.5, "mentions")]);
      const links: Link[] = [];
      for await (const one of everyItem((after) => store.listLinks(ns, { after, limit: 5 }))) links.push(one);
      const wanted = new Set([...edges.map(([a, b]) => `concept:${a} concept:${b}`), `episode:${id} concept:c1`]);
      assert.equal(links.length, wanted.size);
      assert.deepEqual(new Set(links.map(({ source, target }) => `${source} ${target}`)), wanted);
      const names: string[] = [];
      for await (const one of everyItem((after) => store.listConcepts(ns, { after, limit: 4 }))) names.push(one.id);
      assert.deepEqual(names.sort(), [...new Set(edges.flat())].sort());
      assert.deepEqual(await store.listConcepts("nowhere", { limit: 4 }), { items: [] });
      assert.deepEqual(await store.listLinks("nowhere", { limit: 4 }), { items: [] });
    },
  },
  {
    fact: "16: links fade and weak ones go, as in the original's numbers",
    async holds(store, ns) {
      const { edges, params, expected, remaining_edges, remaining_nodes } = insightVectors.sleep_gc;
      await store.changeLinks(
        ns,
        edges.map(([a, b, { weight }]) => link(`concept:${a}`, `concept:${b}`, weight)),
      );
      const report = await store.fadeLinks(ns, {
        mostLinks: params.max_degree,
        leastWeight: params.min_weight,
        decay: params.decay,
      });
      assert.deepEqual(report, {
        removedLinks: expected.removed_edges,
        fadedLinks: expected.updated_edges,
        removedConcepts: expected.removed_nodes,
      });
      const nodes = remaining_nodes.map((name): NodeRef => `concept:${name}`);
      const left = (await store.network(ns, nodes, { hops: 0, mostNodes: 99 })).links;
      assert.equal(left.length, remaining_edges.length);
      for (const [a, b, weight] of remaining_edges) {
        const found = left.find(({ source, target }) => source === `concept:${a}` && target === `concept:${b}`);
        assert.ok(found && Math.abs(found.weight - weight) < 1e-12, `${a}-${b}`);
      }
      assert.deepEqual(await store.getConcepts(ns, ["n1"]), [undefined]);
    },
  },
  {
    fact: "records are kept by kind and key, listed by prefix (with % and _ as they are), tag and page",
    async holds(store, ns) {
      const put = (key: string, tag?: string) => store.putRecord(ns, "q", { key, tag, body: { key }, recordedAt: AT });
      for (const key of ["a%1", "a_2", "b1", "b2", "b3"]) await put(key, key.startsWith("b") ? "yes" : undefined);
      await put("b1", "no");
      assert.deepEqual(await store.getRecord(ns, "q", "b1"), {
        key: "b1",
        tag: "no",
        body: { key: "b1" },
        recordedAt: AT,
      });
      assert.equal(await store.getRecord(ns, "other", "b1"), undefined);
      const keys = async (options: object) =>
        (await store.listRecords(ns, "q", { limit: 9, ...options })).items.map(({ key }) => key);
      assert.deepEqual(await keys({ prefix: "a%" }), ["a%1"]);
      assert.deepEqual(await keys({ prefix: "a_" }), ["a_2"]);
      assert.deepEqual(await keys({ tag: "yes" }), ["b2", "b3"]);
      const page = await store.listRecords(ns, "q", { limit: 2, order: "newest" });
      assert.deepEqual([page.items.map(({ key }) => key), page.next], [["b3", "b2"], "b2"]);
      assert.deepEqual(await keys({ order: "newest", after: page.next }), ["b1", "a_2", "a%1"]);
      assert.equal(await store.deleteRecord(ns, "q", "b2"), true);
      assert.equal(await store.deleteRecord(ns, "q", "b2"), false);
      assert.deepEqual((await store.stats(ns)).records, { q: 4 });
    },
  },
  {
    fact: "24: a transaction is all or nothing, a savepoint inside it too; others see it when it ends",
    async holds(store, ns) {
      await store.transaction(async (inside) => {
        await add(inside, ns, episode("kept"));
        assert.equal(await inside.countEpisodes(ns), 1);
        assert.equal(await store.countEpisodes(ns), 0);
        await assert.rejects(
          inside.transaction(async (deeper) => {
            await add(deeper, ns, episode("undone"));
            throw new Error("no");
          }),
          /no/,
        );
        await inside.transaction((deeper) => add(deeper, ns, episode("kept too")));
      });
      assert.equal(await store.countEpisodes(ns), 2);
      const failed = store.transaction(async (inside) => {
        await add(inside, ns, episode("lost"));
        await inside.changeLinks(ns, [link("concept:p", "concept:q")]);
        await inside.putRecord(ns, "r", { key: "k", body: 1, recordedAt: AT });
        throw new Error("stop");
      });
      await assert.rejects(failed, /stop/);
      assert.deepEqual(await store.searchByTerms(ns, termsOf("lost undone"), { count: 3 }), []);
      assert.deepEqual(await store.stats(ns), { namespace: ns, episodes: 2, concepts: 0, links: 0, records: {} });
      assert.equal((await store.searchByVector(ns, [axis(1)], { count: 9 }))[0]?.length, 2);
    },
  },
  {
    fact: "history is the chain of what took whose place, from any of its members",
    async holds(store, ns) {
      const [a, b, c] = (await add(
        store,
        ns,
        episode("first"),
        episode("second"),
        episode("third"),
        episode("other"),
      )) as [string, string, string];
      await store.updateEpisode(ns, a, { supersededBy: b });
      await store.updateEpisode(ns, b, { supersededBy: c });
      for (const id of [a, b, c])
        assert.deepEqual(
          (await store.historyOf(ns, id)).map(({ text }) => text),
          ["first", "second", "third"],
        );
      assert.deepEqual(await store.historyOf(ns, "nobody"), []);
    },
  },
  {
    fact: "24: eight at once: the same text is stored once and counted, different ones all arrive",
    async holds(store, ns) {
      const same = await Promise.all(Array.from({ length: 8 }, () => store.addEpisodes(ns, [episode("told by all")])));
      assert.equal(same.filter(([one]) => one?.isNew).length, 1);
      assert.equal((await store.listEpisodes(ns, { limit: 2 })).items[0]?.repeats, 7);
      await Promise.all(
        Array.from({ length: 8 }, (_, w) =>
          add(store, ns, ...Array.from({ length: 25 }, (_, i) => episode(`writer ${w} text ${i}`))),
        ),
      );
      assert.equal(await store.countEpisodes(ns), 201);
      const [first] = (await store.listEpisodes(ns, { limit: 1 })).items as [Episode];
      const outcomes = await Promise.allSettled(
        Array.from({ length: 8 }, () => store.updateEpisode(ns, first.id, { uses: 1 }, first.version)),
      );
      assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
    },
  },
  {
    fact: "reindexing goes on where it stopped, serves the old vectors until it is done, and sees what changed meanwhile",
    async holds(_shared, ns, open) {
      await using store = await open();
      const texts = Array.from({ length: 9 }, (_, i) => `text ${i}`);
      const ids = await add(store, ns, ...texts.map((text) => episode(text)));
      await store.beginReindex({ id: "longer", dims: 24 });
      const embed = async (limit: number) => {
        const missing = await store.unindexed(limit);
        await store.putVectors(
          missing.map(({ namespace, id, text, version }) => ({
            namespace,
            id,
            version,
            vector: hashedVector(text, 24),
          })),
        );
        return missing.length;
      };
      assert.equal(await embed(5), 5);
      await store.beginReindex({ id: "longer", dims: 24 }); // again: goes on
      await assert.rejects(store.finishReindex(), refused("conflict", /has no vector of the new embedder yet/));
      await store.updateEpisode(ns, ids[0] as string, { text: "changed", vector: hashedVector("changed", DIMS) });
      await store.deleteEpisodes(ns, [ids[1] as string]);
      await add(store, ns, episode("added late"));
      assert.equal(
        (await store.searchByVector(ns, [hashedVector("text 3", DIMS)], { count: 1 }))[0]?.[0]?.episode.text,
        "text 3",
      );
      while ((await embed(3)) > 0);
      await store.finishReindex();
    },
  },
  {
    fact: "every invariant holds after all of this",
    async holds(store) {
      for (const { name, isFine, found } of await store.check({ repair: false }))
        assert.ok(isFine, `${name}: ${found}`);
    },
  },
];
