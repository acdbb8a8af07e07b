// Rules of the original that decide by a few numbers, as it has them: kept for comparison and for whoever brings its settings.
// EurekaDetector's two modes are Triggers of their own. It does not know graphs.
import { z } from "zod";
import { IroriError } from "../../base/mod.ts";
import { parseWritten, type Writer } from "../writer.ts";

export interface GateValues {
  /** Ask for more: g0 above its threshold. */
  readonly asks: boolean;
  /** Decide: the least of g0 and gmin at or below its threshold. */
  readonly decides: boolean;
  readonly least: number;
}

export function gates(g0: number, gmin: number, asksAbove: number, decidesFrom: number): GateValues {
  const least = Math.min(g0, gmin);
  return { asks: g0 > asksAbove, decides: least <= decidesFrom, least };
}

export interface Eureka {
  readonly hasSpike: boolean;
  /** Always 1 where it fires: both of its ratios are at least 1 then. */
  readonly intensity: number;
  readonly reward: number;
}

/** Mode "numbers": the edit distance falls by ½, information rises by 0.2. */
export function eurekaByNumbers(editChange: number, informationChange: number): Eureka {
  const hasSpike = editChange <= -0.5 && informationChange >= 0.2;
  const intensity = hasSpike ? Math.min(1, (Math.abs(editChange) / 0.5 + informationChange / 0.2) / 2) : 0;
  return { hasSpike, intensity, reward: intensity * 0.2 };
}

export interface EurekaText {
  readonly hasSpike: boolean;
  readonly confidence: number;
  readonly reason: string;
  /** What a Writer added. */
  readonly written?: { readonly novelty: number; readonly concepts: readonly string[] } | undefined;
}

export interface RelatedText {
  readonly text: string;
  readonly similarity: number;
}

/** Mode "text", by the most similar known text: only near-duplicates are no insight. */
export function eurekaByText(related: readonly RelatedText[]): EurekaText {
  const [best] = related;
  if (best === undefined) return { hasSpike: true, confidence: 0.8, reason: "Novel input with no similar context" };
  if (best.similarity > 0.95) return { hasSpike: false, confidence: 0.9, reason: "Very similar to existing knowledge" };
  if (best.similarity > 0.7)
    return { hasSpike: true, confidence: 0.6, reason: "Related but distinct from existing knowledge" };
  return { hasSpike: true, confidence: 0.85, reason: "Novel concept with low similarity to existing knowledge" };
}

const judgement = z.object({
  is_genuine_insight: z.boolean(),
  confidence: z.number().min(0).max(1),
  novelty_score: z.number().default(0.5),
  connected_concepts: z.array(z.string()).default([]),
  reasoning: z.string(),
});

/** Mode "text" with a Writer's second look. What it writes that is no judgement leaves the first one, and says so. */
export async function eurekaByWriter(
  text: string,
  related: readonly RelatedText[],
  writer: Writer,
): Promise<EurekaText> {
  const basic = eurekaByText(related);
  const written = await writer.write({ kind: "judge", prompt: eurekaPrompt(text, related, basic) });
  try {
    const { is_genuine_insight, confidence, novelty_score, connected_concepts, reasoning } = judgement.parse(
      parseWritten(written),
    );
    const added = { novelty: novelty_score, concepts: connected_concepts };
    return { hasSpike: is_genuine_insight, confidence, reason: reasoning, written: added };
  } catch (error) {
    if (error instanceof z.ZodError || (error instanceof IroriError && error.code === "bad-file")) return basic;
    throw error;
  }
}

export function eurekaPrompt(text: string, related: readonly RelatedText[], basic: EurekaText): string {
  const context = related.slice(0, 5).map((one) => `- ${one.text} (similarity: ${one.similarity.toFixed(2)})`);
  return `Analyze if this represents a genuine insight spike:

Input: ${text}

Related knowledge:
${context.join("\n")}

Initial assessment:
- Has spike: ${basic.hasSpike ? "True" : "False"}
- Confidence: ${basic.confidence}
- Reason: ${basic.reason}

Provide enhanced analysis:
1. Is this a genuine insight that bridges concepts?
2. What is the novelty score (0-1)?
3. What concepts does it connect?
4. Confidence in spike detection (0-1)?

Respond in JSON format.
`;
}

export interface Candidate {
  readonly index: number;
  readonly similarity: number;
  /** What comes from memory may be linked below the first threshold, and is a candidate then. */
  readonly origin: string;
}

/** Which are candidates, and which are linked; where none reaches the second threshold the best is linked all the same. */
export function selectCandidates(
  items: readonly Candidate[],
  { candidate = 0.45, link = 0.35, most = 32, top = Infinity } = {},
): { readonly candidates: number[]; readonly links: number[]; readonly forced: number[]; readonly kStar: number } {
  const [high, low] = [Math.max(candidate, link), Math.min(candidate, link)];
  const ordered = [...items].sort((a, b) => b.similarity - a.similarity).slice(0, top);
  const candidates = ordered.filter(({ similarity }) => similarity >= high).map(({ index }) => index);
  const linkable = ordered.filter(({ similarity }) => similarity >= low);
  const links: number[] = [];
  for (const { index, origin } of linkable) {
    if (!candidates.includes(index) && origin !== "mem") continue;
    if (!candidates.includes(index)) candidates.push(index);
    links.push(index);
  }
  const forced = linkable.length === 0 ? ordered.slice(0, 1).map(({ index }) => index) : [];
  return { candidates, links, forced, kStar: Math.min(candidates.length, most) };
}

/** Base ½ΔGED − ½ΔIG, a size near ten nodes, and novelty: a reward to be large, of an F to be small. */
export function rewardOf(editChange: number, informationChange: number, nodes: number) {
  const base = 0.5 * editChange - 0.5 * informationChange;
  const structure = nodes === 0 ? 0 : Math.max(0, 1 - Math.abs(nodes - 10) / 10);
  const novelty = Math.max(0, informationChange);
  return { base, structure, novelty, total: base + structure + novelty };
}

export interface AnalyzerThresholds {
  readonly edit: number;
  readonly information: number;
  readonly conflict: number;
}

/** A fall of edits (with a margin), a rise of information and little conflict; or a jump in size. */
export function analyzerSpike(
  editChange: number,
  informationChange: number,
  conflict: number | undefined,
  thresholds: AnalyzerThresholds = { edit: -0.5, information: 0.2, conflict: 0.5 },
): { readonly hasSpike: boolean; readonly quality: number } {
  const { edit, information, conflict: mostConflict } = thresholds;
  const falls = editChange < edit || (Math.abs(editChange - edit) <= 0.05 && editChange <= edit + 0.025);
  const improves = falls && informationChange > information && conflict !== undefined && conflict < mostConflict;
  const grows = editChange > Math.abs(edit) * 200 && informationChange > -0.01 && (conflict ?? 0) < mostConflict;
  const quality = 0.5 * Math.abs(editChange) + 0.5 * Math.abs(informationChange) - (conflict ?? 0);
  return { hasSpike: improves || grows, quality: Math.max(0, Math.min(1, quality)) };
}

const QUESTION_STOP_WORDS = new Set("the is at which on and a to are as was will for of with by".split(" "));

/** How much of a question is open, from its words alone: nothing is known of it yet. */
export function questionUncertainty(question: string) {
  const lower = question.toLowerCase();
  const long = (lower.match(/\b\w{4,}\b/g) ?? []).filter((word) => !QUESTION_STOP_WORDS.has(word));
  const capitalised = (question.match(/\b\w*[A-Z]\w*\b/g) ?? []).map((word) => word.toLowerCase());
  const concepts = [...new Set([...long, ...capitalised])].slice(0, 10);
  const needsSynthesis = /compare|analyze|synthesis|relation/.test(lower);
  const kind = needsSynthesis ? 0.4 : /what is|explain/.test(lower) ? 0.1 : 0;
  const words = question.split(/\s+/).filter((word) => word !== "").length;
  const uncertainty = Math.min(1, Math.min(0.3, words / 50) + kind + 0.3 + Math.min(0.2, concepts.length / 10));
  const threshold = Math.min(0.8, 0.3 + 0.2 * uncertainty + (needsSynthesis ? 0.15 : 0));
  return { uncertainty, threshold, needsSynthesis, concepts: concepts.sort() };
}

/** Entropy of scores as shares, over that of equal ones: 0 to 1. */
export function scoreUncertainty(scores: readonly number[]): number {
  const total = scores.reduce((sum, score) => sum + score, 0) + 1e-9;
  const entropy = -scores.reduce((sum, score) => sum + (score / total) * Math.log(score / total + 1e-9), 0);
  return Math.min(1, Math.max(0, entropy / (scores.length > 1 ? Math.log(scores.length) : 1)));
}

/** Pairs of vectors whose cosine is above a threshold, both ways, at most so many from each. */
export function similarPairs(
  vectors: readonly (readonly number[])[],
  threshold: number,
  most: number,
): [number, number][] {
  const units = vectors.map((vector) => vector.map((x) => x / Math.hypot(...vector)));
  return units.flatMap((a, i) => {
    const near = units
      .map((b, j) => ({ j, cosine: a.reduce((sum, x, d) => sum + x * (b[d] as number), 0) }))
      .filter(({ j, cosine }) => j !== i && cosine > threshold);
    near.sort((x, y) => y.cosine - x.cosine);
    return near.slice(0, most).map(({ j }): [number, number] => [i, j]);
  });
}

/** The "performance safe zone": 95 % accepted, at most 2 % not, half of the answers within 200 ms. */
export function safeZone(samples: readonly { readonly isAccepted: boolean; readonly latencyMs: number }[]) {
  const acceptance = samples.filter(({ isAccepted }) => isAccepted).length / samples.length;
  const sorted = samples.map(({ latencyMs }) => latencyMs).sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const medianMs = ((sorted[Math.floor(middle)] as number) + (sorted[Math.ceil(middle)] as number)) / 2;
  return {
    acceptance,
    failures: 1 - acceptance,
    medianMs,
    isInside: acceptance >= 0.95 && 1 - acceptance <= 0.02 && medianMs <= 200,
  };
}
