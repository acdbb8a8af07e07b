// What a memory needs of a model that turns texts into vectors, declared here and handed in from above; and the one that
// needs no model. It does not know engines.
import { IroriError } from "../base/mod.ts";
import { HASHED_DIMS, HASHED_MODEL, hashedVector } from "../text/mod.ts";
import type { EmbedderIdentity } from "./data-store.ts";
import { unitVector } from "./episode.ts";
import { Lru } from "./lru.ts";

export interface Embedder extends EmbedderIdentity {
  /** Cosine from which two texts are likely about the same: unrelated ones of this embedder hardly reach it. */
  readonly related: number;
  /** One vector a text, of unit length. */
  embed(texts: readonly string[], options?: EmbedOptions): Promise<Float32Array[]>;
}

export interface EmbedOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Letters and words alone (text/hashed.ts): no model, no waiting, the same bytes everywhere. */
export const hashedEmbedder: Embedder = {
  id: HASHED_MODEL,
  dims: HASHED_DIMS,
  related: 0.2,
  embed: async (texts) => texts.map((text) => hashedVector(text)),
};

/** Below this cosine two texts of a sentence encoder (MiniLM and its kin) are hardly about the same. */
const MODEL_RELATED = 0.35;

/** A model's vectors, whoever runs it. The id tells stores whose they are. */
export const modelEmbedder = (
  id: string,
  dims: number,
  embed: Embedder["embed"],
  related = MODEL_RELATED,
): Embedder => ({
  ...{ id, dims, related, embed },
});

/** 8 MB: five thousand vectors of 384 numbers. */
const EMBEDDING_CACHE_BYTES = 8_000_000;

/** The same embedder, which remembers what it was asked last, and whose answers are checked. */
export function cachedEmbedder(embedder: Embedder, mostBytes = EMBEDDING_CACHE_BYTES): Embedder {
  const known = new Lru<Float32Array>(mostBytes);
  const { id, dims, related } = embedder;
  const embed: Embedder["embed"] = async (texts, options) => {
    const missing = [...new Set(texts.filter((text) => known.get(text) === undefined))];
    const made = missing.length === 0 ? [] : await embedder.embed(missing, options);
    if (made.length !== missing.length)
      throw new IroriError("library", {
        what: `${id} embedded ${missing.length} texts`,
        got: `${made.length} vectors`,
      });
    const fresh = new Map(missing.map((text, i) => [text, unitVector(made[i] as Float32Array, dims)]));
    for (const [text, vector] of fresh) known.set(text, vector, vector.byteLength + text.length * 2);
    return texts.map((text) => fresh.get(text) ?? (known.get(text) as Float32Array));
  };
  return { id, dims, related, embed };
}
