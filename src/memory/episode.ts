// What is remembered: an Episode, who it belongs to, where it comes from and when it holds.
// Plain data; it does not know stores, vectors or how episodes are found again.
import { IroriError } from "../base/mod.ts";

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type Scalar = string | number | boolean;

/** Whose an episode is, inside its namespace. Absent: everybody's. */
export interface Scope {
  readonly user?: string | undefined;
  readonly agent?: string | undefined;
  readonly thread?: string | undefined;
}

/** Where an episode comes from, for citations. */
export interface Provenance {
  /** A path, an address, or a name that the caller gives: "notes/fire.md". */
  readonly uri: string;
  readonly title?: string | undefined;
  /** Who said it: "user", "assistant", a name. */
  readonly speaker?: string | undefined;
  /** Where it stands in the source: UTF-16 units from the start, the end not included. */
  readonly start?: number | undefined;
  readonly end?: number | undefined;
  /** Page of a paged source, from 1. */
  readonly page?: number | undefined;
}

/** How an episode came to be; it decides the confidence that a new one starts with. */
export type EpisodeKind = "experience" | "insight" | "contradiction";

/** An episode as it is handed to a store. Moments are milliseconds since 1970. */
export interface NewEpisode extends Scope {
  readonly text: string;
  readonly vector: Float32Array;
  /** When it was said. */
  readonly recordedAt: number;
  /** Default: given by the store. */
  readonly id?: string | undefined;
  /** The same key again in a namespace adds nothing and gives the id of the first. */
  readonly key?: string | undefined;
  readonly kind?: EpisodeKind | undefined;
  readonly source?: Provenance | undefined;
  readonly metadata?: Readonly<Record<string, Json>> | undefined;
  /** 0.1 to 1; default by kind. */
  readonly confidence?: number | undefined;
  /** From when on it holds in the world; absent: as long as anybody knows. */
  readonly validFrom?: number | undefined;
  /** When it stopped holding. */
  readonly validTo?: number | undefined;
  /** After this moment it is not recalled, and maintenance removes it. */
  readonly expiresAt?: number | undefined;
  readonly isPinned?: boolean | undefined;
}

export interface Episode extends Scope {
  readonly id: string;
  readonly namespace: string;
  readonly key?: string | undefined;
  readonly text: string;
  readonly kind: EpisodeKind;
  readonly source?: Provenance | undefined;
  readonly metadata: Readonly<Record<string, Json>>;
  /** As it was last set; `agedConfidence` tells what age leaves of it. */
  readonly confidence: number;
  readonly recordedAt: number;
  readonly validFrom?: number | undefined;
  readonly validTo?: number | undefined;
  /** When it became known that it ended or never held. */
  readonly closedAt?: number | undefined;
  /** It never held: a correction took its place for all times. */
  readonly isRetracted: boolean;
  /** The episode that took its place. */
  readonly supersededBy?: string | undefined;
  readonly expiresAt?: number | undefined;
  readonly isPinned: boolean;
  /** How often the same was told again, and when last. */
  readonly repeats: number;
  readonly seenAt: number;
  /** How often it was used in an answer. */
  readonly uses: number;
  /** Of the text as a whole; counts up with every change. */
  readonly version: number;
}

/** What may change of an episode; what is absent stays, `null` takes away. */
export interface EpisodeChange {
  readonly text?: string | undefined;
  /** Needed where the text changes. */
  readonly vector?: Float32Array | undefined;
  readonly metadata?: Readonly<Record<string, Json>> | undefined;
  readonly confidence?: number | undefined;
  readonly validFrom?: number | null | undefined;
  readonly validTo?: number | null | undefined;
  readonly closedAt?: number | null | undefined;
  readonly isRetracted?: boolean | undefined;
  readonly supersededBy?: string | null | undefined;
  readonly expiresAt?: number | null | undefined;
  readonly isPinned?: boolean | undefined;
  readonly repeats?: number | undefined;
  readonly seenAt?: number | undefined;
  readonly uses?: number | undefined;
}

/** Which moment a question is about: what was known at `knownAt` of the world as it was at `validAt`. */
export interface Moment {
  readonly knownAt: number;
  readonly validAt: number;
}

/** Whether an episode was known at a moment, and held. SQL of the stores says the same (filter.ts). */
export function holdsAt(episode: Episode, { knownAt, validAt }: Moment): boolean {
  if (episode.recordedAt > knownAt || (episode.validFrom ?? -Infinity) > validAt) return false;
  if ((episode.expiresAt ?? Infinity) <= knownAt) return false;
  if (episode.closedAt === undefined || episode.closedAt > knownAt) return true;
  return !episode.isRetracted && (episode.validTo ?? Infinity) > validAt;
}

/** 1 MB of UTF-8: a text beyond it is a document, which an import splits. */
const MOST_TEXT_BYTES = 1_000_000;
const MOST_METADATA_BYTES = 100_000;
const MOST_NAME = 200;

/** A text that can be remembered. Throws "bad-input" for one that is empty, too long or no valid Unicode. */
export function checkText(text: unknown): string {
  if (typeof text !== "string" || text.trim() === "")
    throw new IroriError("bad-input", {
      what: "a text to remember",
      got: typeof text === "string" ? "an empty one" : typeof text,
    });
  if (!text.isWellFormed())
    throw new IroriError("bad-input", {
      what: "a text to remember is no valid Unicode",
      got: `half of a surrogate pair at ${[...text].findIndex((part) => !part.isWellFormed())}`,
      next: "read the file as UTF-8 and replace what is none",
    });
  if (text.includes("\0"))
    throw new IroriError("bad-input", {
      what: "a text to remember holds a NUL character",
      next: "is it a text? read it as one",
    });
  const bytes = Buffer.byteLength(text);
  if (bytes > MOST_TEXT_BYTES)
    throw new IroriError("bad-input", {
      what: "a text to remember",
      got: `${bytes} bytes`,
      wanted: `at most ${MOST_TEXT_BYTES}`,
      next: "import it as a file: it is split into episodes",
    });
  return text;
}

/** A namespace, key, user …: short and printable. Throws "bad-input". */
export function checkName(what: string, name: unknown): string {
  const isFine = typeof name === "string" && name !== "" && name.length <= MOST_NAME && name.isWellFormed();
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (isFine && !/[\u0000-\u001f\u007f]/.test(name)) return name;
  const got = typeof name === "string" ? JSON.stringify(name.slice(0, 60)) : typeof name;
  throw new IroriError("bad-input", { what, got, wanted: `1 to ${MOST_NAME} characters without controls` });
}

export function checkMetadata(metadata: Readonly<Record<string, Json>>): string {
  const json = JSON.stringify(metadata);
  if (Buffer.byteLength(json) <= MOST_METADATA_BYTES && json.isWellFormed() && !json.includes("\\u0000")) return json;
  throw new IroriError("bad-input", {
    what: "metadata of an episode",
    got: `${Buffer.byteLength(json)} bytes`,
    wanted: `at most ${MOST_METADATA_BYTES} of valid Unicode, without NUL`,
  });
}

/** A vector of the store's size as a unit vector. Throws "bad-input" for another size, NaN, infinity or nothing but zeros. */
export function unitVector(vector: Float32Array, dims: number): Float32Array {
  if (!(vector instanceof Float32Array) || vector.length !== dims)
    throw new IroriError("bad-input", {
      what: "a vector",
      got: vector instanceof Float32Array ? `${vector.length} numbers` : typeof vector,
      wanted: `${dims} float32 numbers, the size of this store's embedder`,
    });
  let sum = 0;
  for (const x of vector) sum += x * x;
  if (!Number.isFinite(sum)) {
    const at = vector.findIndex((x) => !Number.isFinite(x));
    throw new IroriError("bad-input", { what: "a vector", got: `${vector[at]} at ${at}`, wanted: "finite numbers" });
  }
  if (sum === 0) throw new IroriError("bad-input", { what: "a vector of zeros has no direction" });
  const length = Math.sqrt(sum);
  return Math.abs(length - 1) < 1e-6 ? vector : vector.map((x) => x / length);
}
