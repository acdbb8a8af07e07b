// The original's numbers (test/goldens/insight/original.json) under the scheme "compat", every one of the gauge's keys; where a
// key records a fault, the corrected behaviour. Does not know Episodes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { insightVectors as golden } from "../../../test/insight-vectors.ts";
import {
  type CompatGauge,
  compatGauge,
  editCost,
  entropyGain,
  type LinksetGauge,
  type LinksetItem,
  linksetGauge,
  pureGauge,
} from "./compat.ts";
import { connectedGain, fixedPairsGain, type PlainGraph } from "./compat-graph.ts";
import {
  analyzerSpike,
  eurekaByNumbers,
  eurekaByText,
  eurekaByWriter,
  eurekaPrompt,
  gates,
  questionUncertainty,
  rewardOf,
  safeZone,
  scoreUncertainty,
  selectCandidates,
  similarPairs,
} from "./compat-rules.ts";
import { HarmonicNetwork } from "./harmonic.ts";

const near = (got: number, wanted: number, within: number, what: string) =>
  assert.ok(Math.abs(got - wanted) <= within, `${what}: got ${got}, wanted ${wanted}`);
/** The original reckons entropies in float32. */
const [EXACT, SINGLE] = [1e-9, 1e-5];

const linksetOf = (info: {
  s_link: LinksetItem[];
  candidate_pool: LinksetItem[];
  base_mode: string;
  query_entry: LinksetItem;
}): LinksetGauge =>
  linksetGauge(info.base_mode === "pool" ? info.candidate_pool : info.s_link, info.query_entry.similarity);

for (const [i, { case: name, before, after, kwargs, expected }] of golden.normalized_ged.entries())
  test(`4: edit cost ${i}: ${name} ${JSON.stringify(kwargs)}`, () => {
    const { raw, normalized, cost, improvement, efficiencyChange, denominator } = editCost(
      before,
      after,
      kwargs.norm_override ?? kwargs.normalization,
    );
    near(raw, expected.raw_ged, EXACT, "raw");
    near(normalized, expected.normalized_ged, EXACT, "normalized");
    near(cost, expected.structural_cost, EXACT, "cost");
    near(improvement, expected.structural_improvement, EXACT, "improvement");
    near(efficiencyChange, expected.efficiency_change, EXACT, "efficiency");
    near(denominator, expected.normalization_den, EXACT, "denominator");
  });

for (const { case: name, graph_after, features_before, features_after, kwargs, expected } of golden.entropy_ig)
  test(`5: entropy gain: ${name}`, () => {
    const options = { denominator: kwargs.fixed_den, candidates: kwargs.k_star, query: kwargs.extra_vectors?.[0] };
    const found = entropyGain(graph_after, features_before, features_after, options);
    near(found.gain, expected.ig_value, SINGLE, "gain");
    near(found.change, expected.delta_entropy, SINGLE, "change");
    near(found.before, expected.entropy_before, SINGLE, "before");
    near(found.after, expected.entropy_after, SINGLE, "after");
    near(found.denominator, expected.normalization_den, SINGLE, "denominator");
  });
test("5: with one candidate nothing is gained, whatever the entropy does", () => {
  const { graph_after, features_before, features_after } = golden.entropy_ig[2];
  const { gain, change } = entropyGain(graph_after, features_before, features_after, { candidates: 1 });
  assert.equal(gain, 0);
  near(change, 0.320325, SINGLE, "change");
});

for (const { case: name, linkset_info, expected } of golden.linkset_metrics)
  test(`6: linkset: ${name}`, () => {
    const found = linksetOf(linkset_info);
    near(found.entropyChange, expected.delta_h_norm, EXACT, "entropy");
    near(found.editCost, expected.delta_ged_norm, EXACT, "edit");
    near(found.f, expected.gedig_value, EXACT, "F");
    near(found.before, expected.entropy_before, EXACT, "before");
    near(found.after, expected.entropy_after, EXACT, "after");
    near(found.denominator, expected.ig_norm_den, EXACT, "denominator");
  });
test("6: an empty linkset", () => {
  near(linksetGauge([], 1).f, 0.500001, 1e-6, "F");
});

for (const {
  case: name,
  config_name,
  call,
  before,
  after,
  features_before,
  features_after,
  expected,
} of golden.gedig_core)
  test(`7: F of the original's core: ${name}, ${config_name}`, () => {
    const isPaper = config_name === "paper_hop0_only_ig";
    const options = {
      focal: call.focal_nodes,
      candidates: call.k_star,
      linkset: isPaper ? linksetOf(call.linkset_info) : undefined,
    };
    const found: CompatGauge = compatGauge(before, after, [features_before, features_after], options);
    near(found.f, expected.gedig_value, SINGLE, "F");
    near(found.reward, expected.hop0_reward, SINGLE, "reward");
    near(found.meanReward, expected.aggregate_reward, SINGLE, "mean reward");
    assert.equal(found.hops.length, Object.keys(expected.hop_results).length);
    for (const [hop, { f, edit, entropy, path, gain, nodes, edges }] of found.hops.entries()) {
      const wanted = expected.hop_results[hop];
      near(f, wanted.gedig, SINGLE, `F at hop ${hop}`);
      near(edit.normalized, wanted.ged, EXACT, `edit at hop ${hop}`);
      near(edit.raw, wanted.ged_raw, EXACT, `raw edit at hop ${hop}`);
      near(edit.denominator, wanted.ged_den, EXACT, `denominator at hop ${hop}`);
      near(gain, wanted.ig, SINGLE, `gain at hop ${hop}`);
      near(path, wanted.sp, EXACT, `path at hop ${hop}`);
      near(entropy.gain, wanted.h_component, SINGLE, `entropy gain at hop ${hop}`);
      near(entropy.before, wanted.entropy_before, SINGLE, `entropy before at hop ${hop}`);
      near(entropy.after, wanted.entropy_after, SINGLE, `entropy after at hop ${hop}`);
      near(entropy.denominator, wanted.ig_den, SINGLE, `entropy's denominator at hop ${hop}`);
      assert.deepEqual([nodes, edges], [wanted.node_count, wanted.edge_count]);
    }
    if (config_name === "default_single_hop") {
      near(found.hops[0]?.edit.cost as number, expected.structural_cost, EXACT, "structural cost");
      near(found.hops[0]?.edit.improvement as number, expected.structural_improvement, EXACT, "structural improvement");
    }
    // no z-score before ten calls, no spike by it
    assert.deepEqual([expected.ig_z_score, expected.spike], [0, false]);
  });
test("7: the paper's settings on path5 and cycle5", () => {
  const core = golden.gedig_core.find(
    (one: { case: string; config_name: string }) =>
      one.case === "path5_to_cycle5" && one.config_name.startsWith("paper"),
  );
  const found = compatGauge(core.before, core.after, [core.features_before, core.features_after], {
    ...{ focal: [0], candidates: 4, linkset: linksetOf(core.call.linkset_info) },
  });
  assert.deepEqual(
    found.hops.map(({ f }) => Math.round(f * 1e4) / 1e4),
    [-0.216, 0.4, 0.75, 0.35],
  );
  assert.equal(found.best, 0);
});

test("a sequence of calls: growing paths, F and reward of each", () => {
  const path = (count: number): PlainGraph => ({
    nodes: Array.from({ length: count }, (_, i) => i),
    edges: Array.from({ length: count - 1 }, (_, i) => [i, i + 1] as const),
  });
  const identity = (count: number, width: number) =>
    Array.from({ length: count }, (_, i) => Array.from({ length: width }, (__, j) => Number(i === j)));
  for (const { m, gedig, hop0_reward } of golden.gedig_core_stateful_sequence.steps) {
    const found = compatGauge(path(m), path(m + 1), [identity(m, m + 1), identity(m + 1, m + 1)]);
    near(found.f, gedig, EXACT, `F of ${m}`);
    near(found.reward, hop0_reward, EXACT, `reward of ${m}`);
  }
});

for (const { case: name, before, after, expected } of golden.pure_gedig)
  test(`9: the pure variant: ${name}`, () => {
    const found = pureGauge(before, after);
    near(found.f, expected.gedig, EXACT, "F");
    near(found.editCost, expected.ged, EXACT, "edit");
    near(found.gain, expected.ig, EXACT, "gain");
    near(found.before, expected.entropy_before, EXACT, "before");
    near(found.after, expected.entropy_after, EXACT, "after");
  });

for (const {
  case: name,
  before,
  after,
  Lb,
  n_pairs,
  distcache_rel_clamped0,
  core_connected_signed,
} of golden.sp_rel_fixed_before_pairs)
  test(`8: path gain: ${name}`, () => {
    const fixed = fixedPairsGain(before, after);
    near(fixed.meanBefore, Lb, EXACT, "mean before");
    assert.equal(fixed.pairs, n_pairs);
    near(Math.max(0, fixed.gain), distcache_rel_clamped0, EXACT, "fixed pairs");
    near(connectedGain(before, after), core_connected_signed, EXACT, "connected pairs");
  });
test("8: path7 with (0,4) gains .232143, cycle5 to path5 loses a third; islands joined gain in the new gauge (originally −.667 or 0)", () => {
  const { before } = golden.sp_rel_fixed_before_pairs[0];
  near(fixedPairsGain(before, { ...before, edges: [...before.edges, [0, 4]] }).gain, 0.232143, 1e-6, "shortcut");
  const { after: cycle, before: path } = golden.sp_rel_fixed_before_pairs[1];
  near(connectedGain(cycle, path), -1 / 3, EXACT, "cycle to path");
  const joined = golden.normalized_ged.find(({ case: name }: { case: string }) => name === "two_components_joined");
  near(connectedGain(joined.before, joined.after), -2 / 3, EXACT, "the original punishes joining");
  near(fixedPairsGain(joined.before, joined.after).gain, 0, EXACT, "or does not see it");
  const edges = (joined.before as PlainGraph).edges.map(([a, b]) => ({ a, b, weight: 1 }));
  const network = new HarmonicNetwork(4, edges, [true, true, true, true]);
  assert.ok(network.changeBy({ places: [1, 2], weights: [1, 1] }).path > 0.5);
});

test("10: gates: strictly above to ask, at or below to decide", () => {
  for (const {
    in: [g0, gmin, asksAbove, decidesFrom],
    expected,
  } of golden.gates)
    assert.deepEqual(gates(g0, gmin, asksAbove, decidesFrom), {
      asks: expected.ag,
      decides: expected.dg,
      least: expected.b_value,
    });
  assert.deepEqual(gates(0.3, 0.3, 0.3, 0.3), { asks: false, decides: true, least: 0.3 });
});

test("1: Eureka by numbers", () => {
  for (const { delta_ged, delta_ig, expected } of golden.eureka_detect_spike)
    assert.deepEqual(eurekaByNumbers(delta_ged, delta_ig), {
      ...{ hasSpike: expected.eureka_spike, intensity: expected.spike_intensity, reward: expected.reward },
    });
  assert.equal(eurekaByNumbers(-0.49, 0.2).hasSpike, false);
});

test("2: Eureka by text, at its borders too", () => {
  const at = (similarity: number | null) => eurekaByText(similarity === null ? [] : [{ text: "old", similarity }]);
  for (const { top_similarity, expected } of golden.eureka_detect_text)
    assert.deepEqual(at(top_similarity), {
      hasSpike: expected.has_spike,
      confidence: expected.confidence,
      reason: expected.reason,
    });
  assert.deepEqual([at(0.95).confidence, at(0.7).confidence], [0.6, 0.85]);
});

test("3: Eureka with a Writer: valid JSON, also fenced, is taken; what is none leaves the first judgement", async () => {
  const [{ expected, prompt }] = golden.eureka_detect_with_llm;
  const related = [{ text: "old", similarity: 0.8 }];
  const asked = (answer: string) =>
    eurekaByWriter("new idea", related, { id: "scripted", kinds: ["judge"], write: async () => answer });
  const json = JSON.stringify({
    is_genuine_insight: false,
    confidence: 0.42,
    novelty_score: 0.9,
    connected_concepts: ["a", "b"],
    reasoning: "r",
  });
  const wanted = {
    ...{ hasSpike: expected.has_spike, confidence: expected.confidence, reason: expected.reason },
    written: { novelty: expected.novelty_score, concepts: expected.connected_concepts },
  };
  assert.deepEqual(await asked(json), wanted);
  assert.deepEqual(await asked(`Here:\n\`\`\`json\n${json}\n\`\`\``), wanted);
  const { has_spike: hasSpike, confidence, reason } = expected.basic_result;
  assert.deepEqual(await asked("not json"), { hasSpike, confidence, reason });
  assert.deepEqual(await asked('{"confidence": 7}'), { hasSpike, confidence, reason });
  assert.equal(eurekaPrompt("new idea", related, eurekaByText(related)), prompt);
  assert.equal(eurekaByText([]).confidence, golden.eureka_detect_with_llm[1].expected.confidence);
});

test("11: two thresholds choose candidates and links", () => {
  for (const { items, kwargs, expected } of golden.two_threshold) {
    const { theta_cand: candidate, theta_link: link, k_cap: most, top_m: top } = kwargs;
    const found = selectCandidates(items, { candidate, link, most, ...(top && { top }) });
    assert.deepEqual(found.links, expected.link_indices);
    assert.deepEqual(found.candidates.slice(0, found.kStar), expected.candidate_indices);
    assert.deepEqual(found.forced, expected.forced_link_indices);
    near(Math.log(found.kStar), expected.log_k_star, EXACT, "ln k*");
    assert.deepEqual(selectCandidates(items, { candidate: link, link: candidate, most, ...(top && { top }) }), found);
  }
  assert.deepEqual(selectCandidates([{ index: 0, similarity: 0.1, origin: "mem" }]).forced, [0]);
});

test("rewards, the analyzer's spikes, uncertainties, similarity edges and the safe zone are the original's", () => {
  for (const { metrics, expected } of golden.reward) {
    const found = rewardOf(metrics.delta_ged, metrics.delta_ig, metrics.graph_size_current);
    for (const name of ["base", "structure", "novelty", "total"] as const)
      near(found[name], expected[name], EXACT, name);
  }
  for (const { metrics, conflicts, thresholds, spike, quality } of golden.graph_analyzer_spike) {
    const { ged: edit, ig: information, conflict } = thresholds;
    const found = analyzerSpike(metrics.delta_ged, metrics.delta_ig, conflicts.total, { edit, information, conflict });
    assert.equal(found.hasSpike, spike);
    near(found.quality, quality, EXACT, "quality");
  }
  for (const { q, expected } of golden.l1_uncertainty) {
    const found = questionUncertainty(q);
    near(found.uncertainty, expected.uncertainty, EXACT, q);
    near(found.threshold, expected.error_threshold, EXACT, q);
    assert.deepEqual(
      [found.needsSynthesis, found.concepts],
      [expected.requires_synthesis, [...expected.unknown_elements].sort()],
    );
  }
  for (const { scores, expected } of golden.l1_entropy_uncertainty)
    near(scoreUncertainty(scores), expected, EXACT, String(scores));
  const { vectors, effective_threshold, top_k, directed_edges } = golden.scalable_graph_builder;
  const sorted = (pairs: [number, number][]) => pairs.toSorted(([a, b], [c, d]) => a - c || b - d);
  assert.deepEqual(sorted(similarPairs(vectors, effective_threshold, top_k)), directed_edges);
  const samples = (accepted: number, count: number, latencyMs: number) =>
    Array.from({ length: count }, (_, i) => ({ isAccepted: i < accepted, latencyMs }));
  for (const [i, [accepted, count, latency]] of (
    [
      [99, 100, 100],
      [10, 10, 250],
    ] as const
  ).entries()) {
    const { acceptance_rate, fmr, latency_p50_ms, inside_psz } = golden.psz[i].expected;
    const found = safeZone(samples(accepted, count, latency));
    near(found.acceptance, acceptance_rate, EXACT, "acceptance");
    near(found.failures, fmr, EXACT, "failures");
    assert.deepEqual([found.medianMs, found.isInside], [latency_p50_ms, inside_psz]);
  }
});

test("a node's entropy does not depend on its number (the original takes numbers for rows of a filtered table)", () => {
  const { focal_0, focal_3 } = golden.local_entropy_index_defect;
  assert.notDeepEqual(focal_0["1"], focal_3["1"]); // the record of the fault
  const ring = (first: number): PlainGraph => ({
    nodes: [0, 1, 2, 3],
    edges: [
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 0],
    ].map(([a, b]) => [((a as number) + first) % 4, ((b as number) + first) % 4] as const),
  });
  const rows = [
    [1, 0],
    [0, 1],
    [1, 1],
    [1, -1],
  ];
  const turned = (by: number) => rows.map((_, i) => rows[(i - by + 4) % 4] as number[]);
  near(
    entropyGain(ring(0), rows, rows).before,
    entropyGain(ring(1), turned(1), turned(1)).before,
    EXACT,
    "turned by one",
  );
});
