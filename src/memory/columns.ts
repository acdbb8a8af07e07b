// What SQL stores keep of an episode besides its text: checked values by column. It does not know terms or vectors, so that a
// thread that only writes need not load what makes them.
import { IroriError } from "../base/mod.ts";
import { startConfidence } from "./confidence.ts";
import { checkMetadata, type EpisodeChange, type EpisodeKind, type Json } from "./episode.ts";

export type Moment = number | null;

/** Metadata that can be filtered by: top-level texts, numbers and booleans, as JSON. */
export function labelsOf(metadata: Readonly<Record<string, Json>>): [name: string, value: string][] {
  const labels: [string, string][] = [];
  for (const [name, value] of Object.entries(metadata))
    if (value !== null && typeof value !== "object") labels.push([name, JSON.stringify(value)]);
  return labels;
}

/** A change checked, by the columns that both SQL stores have; text, vector and metadata's labels apart. */
export function changedColumns(
  change: EpisodeChange,
  kind: EpisodeKind,
): Map<string, string | number | boolean | null> {
  const columns = new Map<string, string | number | boolean | null>();
  const { metadata, confidence } = change;
  if (metadata !== undefined) columns.set("metadata", checkMetadata(metadata));
  if (confidence !== undefined) columns.set("confidence", startConfidence(kind, finite("confidence", confidence)));
  for (const [column, name] of [
    ["valid_from", "validFrom"],
    ["valid_to", "validTo"],
    ["closed_at", "closedAt"],
    ["expires_at", "expiresAt"],
  ] as const)
    if (change[name] !== undefined) columns.set(column, moment(name, change[name]));
  for (const [column, name] of [
    ["is_retracted", "isRetracted"],
    ["is_pinned", "isPinned"],
    ["superseded_by", "supersededBy"],
    ["repeats", "repeats"],
    ["seen_at", "seenAt"],
    ["uses", "uses"],
  ] as const)
    if (change[name] !== undefined) columns.set(column, change[name] ?? null);
  if ((change.text === undefined) !== (change.vector === undefined))
    throw new IroriError("bad-input", {
      what: "a changed text and its vector come together",
      next: "embed the new text",
    });
  return columns;
}

/** Throws "bad-input". */
export function finite(what: string, value: number | undefined): number | undefined {
  if (value === undefined || Number.isFinite(value)) return value;
  throw new IroriError("bad-input", { what: `${what} of an episode`, got: value, wanted: "a finite number" });
}

/** A moment in milliseconds; null where it is absent. Throws "bad-input". */
export function moment(what: string, value: number | null | undefined): Moment {
  if (value == null) return null;
  if (Number.isFinite(value) && Math.abs(value) <= 8.64e15) return Math.round(value);
  throw new IroriError("bad-input", { what: `${what} of an episode`, got: value, wanted: "milliseconds since 1970" });
}
