// How sure a memory is of an episode (the c-value): what it starts with, how use and age change it.
// The arithmetic is InsightSpike's; age is reckoned from the moment, never applied twice. It does not know stores.
import type { EpisodeKind } from "./episode.ts";

const DAY_MS = 86_400_000;
const LEAST = 0.1;

const START: Readonly<Record<EpisodeKind, number>> = { experience: 0.5, insight: 0.3, contradiction: 0.4 };

/** What an episode starts with: by its kind, or what was given, within 0.1 to 1. */
export const startConfidence = (kind: EpisodeKind, given?: number): number => clamp(given ?? START[kind]);
/** After a use, and after it was found to be of no use. */
export const afterUse = (confidence: number): number => clamp(confidence + 0.1);
export const afterDoubt = (confidence: number): number => clamp(confidence - 0.05);

const clamp = (confidence: number): number => Math.min(1, Math.max(LEAST, confidence));

export interface Ageing {
  /** What is left after a day. */
  readonly factor: number;
  /** Younger episodes do not age. */
  readonly fromDays: number;
  /** Older ones are removed by maintenance, unless pinned. */
  readonly untilDays: number;
}
export const AGEING: Ageing = { factor: 0.95, fromDays: 7, untilDays: 90 };

/** What age leaves of a confidence: c · factor^(days − fromDays), the same whenever and however often it is asked. */
export function agedConfidence(confidence: number, ageMs: number, { factor, fromDays }: Ageing = AGEING): number {
  const days = ageMs / DAY_MS;
  return days <= fromDays ? confidence : Math.max(0.01, confidence * factor ** (days - fromDays));
}

export const isTooOld = (ageMs: number, { untilDays }: Ageing = AGEING): boolean => ageMs > untilDays * DAY_MS;

/** How worth keeping an episode is: recency .3, use .2, confidence .3, information .2. */
export function priorityOf(episode: {
  readonly confidence: number;
  readonly ageMs: number;
  readonly uses: number;
  readonly information: number;
}): number {
  const recency = Math.exp((-0.1 * episode.ageMs) / DAY_MS);
  const use = Math.log(1 + episode.uses) / 10;
  return 0.3 * recency + 0.2 * use + 0.3 * episode.confidence + 0.2 * Math.min(1, episode.information);
}

/** The confidence of texts put together: each by its length. */
export function mergedConfidence(parts: readonly { readonly text: string; readonly confidence: number }[]): number {
  const characters = parts.reduce((sum, { text }) => sum + text.length, 0);
  return parts.reduce((sum, { text, confidence }) => sum + (confidence * text.length) / characters, 0);
}

/** Of each part of a text that was split. */
export const splitConfidence = (confidence: number): number => confidence * 0.9;
