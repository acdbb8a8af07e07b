// Bytes of KvCaches by kind of layer, for our own caches and for those of llama.cpp's layout (to compare with).
// Pure: it does not know budgets or what is allocated.
import { CHUNK, type KvType } from "../engine/mod.ts";
import type { Config } from "../models/mod.ts";

/** Layers of a model whose caches are alike. */
export interface KvKind {
  readonly layers: number;
  /** Bytes of one token in one layer, keys and values. */
  readonly tokenBytes: number;
  /** Tokens that one layer keeps at most; undefined: the whole context. */
  readonly most?: number | undefined;
}

/** The kinds of layers of a model as the engine keeps them: a layer with a window W keeps its last W − 1 tokens and a chunk. */
export function kvOf(config: Config, type: KvType): readonly KvKind[] {
  const tokenBytes = 2 * config.kvHeads * config.headSize * (type === "int8" ? 1 : 4);
  const windows = Array.from({ length: config.layers }, (_, l) => config.windows?.[l] ?? 0);
  return [...new Set(windows)].map((window) => ({
    layers: windows.filter((each) => each === window).length,
    tokenBytes,
    ...(window > 0 && { most: window - 1 + CHUNK }),
  }));
}

/** Bytes of a KvCache of `context` tokens (and the spare one that the attention kernel wants). */
export const kvBytes = (kinds: readonly KvKind[], context: number): number =>
  kinds.reduce(
    (sum, { layers, tokenBytes, most }) => sum + layers * tokenBytes * (Math.min(most ?? context, context) + 1),
    0,
  );

/** Bytes of one number of a cache: f16, and ggml's blocks of 32 with a float16 scale. */
const GGML_BYTES = { f16: 2, q8_0: 34 / 32, q4_0: 18 / 32 } as const;

export interface GgmlCache {
  readonly kvHeads: number;
  /** Channels of a head, of layers that see all and of those with a window (Gemma 4 has two sizes). */
  readonly headSize: { readonly full: number; readonly window: number };
  readonly fullLayers: number;
  readonly windowLayers: number;
  readonly window: number;
  readonly context: number;
  readonly rows: number;
  /** Tokens of one run at most (`-ub`). */
  readonly chunk: number;
  readonly type: keyof typeof GGML_BYTES;
}

/**
 * Bytes of llama.cpp's caches: 2 · G · K · bytes · (layers · cells), cells in whole 256s; a window keeps rows · W + chunk cells
 * (llama_kv_cache_iswa).
 */
export function ggmlKvBytes(cache: GgmlCache): { readonly full: number; readonly window: number } {
  const { kvHeads, headSize, context, rows, chunk, window, type } = cache;
  const padded = (cells: number) => Math.ceil(cells / 256) * 256;
  const full = padded(rows * context);
  const windowed = Math.min(full, padded(rows * window + chunk));
  const bytes = (layers: number, size: number, cells: number) => 2 * kvHeads * size * GGML_BYTES[type] * layers * cells;
  return {
    full: bytes(cache.fullLayers, headSize.full, full),
    window: bytes(cache.windowLayers, headSize.window, windowed),
  };
}
