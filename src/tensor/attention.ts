// Attention as functions in primitives: over all tokens at once, and of one row over its KvCache; with the kernel that equals the latter.
// HookPoints inside (scores, pattern) have names under the function's `hook` attribute.
import { type Dim, divideDims, subDims } from "./dim.ts";
import { isPositionsFrom, isRotary, positionsFrom, rotary, softCap, softmax, tap } from "./functions.ts";
import { valueHash } from "./graph.ts";
import {
  and,
  arange,
  cast,
  concat,
  div,
  expandTo,
  less,
  lessEqual,
  max,
  mul,
  neg,
  reshape,
  round,
  rowShare,
  slice,
  split,
  splitOrigin,
  sub,
  transpose,
  where,
} from "./ops.ts";
import { matmul, scatterRows } from "./products.ts";
import { apply, applyAll, defineFunction, int64, type Op, scalar, type Value } from "./value.ts";

/** Stands for minus infinity without making NaN of a row that sees nothing. */
const NEVER = -3e38;

const HOOKS = ["hook_attn_scores", "hook_pattern"] as const;

/** softmax(q kᵀ · scale where mask) v by groups of heads: q [B,T,H,K]; k, v [B,S,G,K]; mask bool [B|1,1,T,S] → [B,T,H,K]. */
const attentionOp = defineFunction(
  "attention",
  (inputs, attrs) => [attended(inputs, attrs as unknown as AttentionOptions, (_, value) => value)],
  {
    hooks: HOOKS,
    // what the mask hides stays hidden, whatever is done to scores and patterns
    opened: (inputs, attrs) => [
      attended(inputs, attrs as unknown as AttentionOptions, (hidden, value) =>
        where(inputs[3] as Value, value, scalar(hidden)),
      ),
    ],
  },
);

/** @param shown scores and pattern behind their HookPoints, by what stands where the mask hides a key */
function attended(
  [q, k, v, mask]: readonly Value[],
  { scale, hook, softCap: cap }: AttentionOptions,
  shown: (hidden: number, value: Value) => Value,
): Value {
  const [b, t, h, d] = (q as Value).shape as [Dim, Dim, number, number];
  const [, s, g] = (k as Value).shape as [Dim, Dim, number];
  const perGroup = divideDims(h, g) as number;
  // [B,T,H,K] → [B,G,H/G,T,K]; keys and values get an axis of 1 that broadcasts over the group's heads
  const heads = (x: Value, size: Dim, n: number): Value => transpose(reshape(x, [b, size, g, n, d]), [0, 2, 3, 1, 4]);
  const raw = matmul(heads(q as Value, t, perGroup), heads(k as Value, s, 1), { transB: true, alpha: scale });
  const capped = cap === undefined ? raw : softCap(raw, cap);
  const scores = where(mask as Value, reshape(capped, [b, h, t, s]), scalar(NEVER));
  const pattern = tap(softmax(shown(NEVER, tap(scores, `${hook}.hook_attn_scores`))), `${hook}.hook_pattern`);
  const z = matmul(reshape(shown(0, pattern), [b, g, perGroup, t, s]), heads(v as Value, s, 1));
  return reshape(transpose(z, [0, 3, 1, 2, 4]), [b, t, h, d]);
}

export interface AttentionOptions {
  /** Factor of the scores, usually 1/√K. */
  readonly scale: number;
  /** Prefix of the names of the HookPoints inside, "blocks.0.attn". */
  readonly hook: string;
  /** A query sees the last `window` tokens, its own included. Default: all before it. */
  readonly window?: number | undefined;
  /** Scores are bounded by ±softCap (Gemma 2). */
  readonly softCap?: number | undefined;
}
export const attention = (q: Value, k: Value, v: Value, mask: Value, options: AttentionOptions): Value =>
  apply(attentionOp, [q, k, v, mask], { ...options });

/** softmax(q kᵀ · scale where mask) v in one kernel: q, k, v [B, T, H·K]; mask int32 [B, T], 1 for keys that every query sees. */
const multiHeadAttentionOp = defineFunction(
  "multiHeadAttention",
  ([q, k, v, mask], attrs) => {
    const { heads, ...options } = attrs as unknown as AttentionOptions & { readonly heads: number };
    const byHeads = (x: Value): Value => {
      const [b, t, width] = x.shape as [Dim, Dim, number];
      return reshape(x, [b, t, heads, width / heads]);
    };
    const [batch, keys] = (mask as Value).shape as [Dim, Dim];
    const seen = cast(reshape(mask as Value, [batch, 1, 1, keys]), "bool");
    const z = attention(byHeads(q as Value), byHeads(k as Value), byHeads(v as Value), seen, options);
    return [reshape(z, (q as Value).shape)];
  },
  {
    emit: (e, [q, k, v, mask], { attrs }) => [
      e.one(
        "MultiHeadAttention",
        [q, k, v, "", mask] as string[],
        { num_heads: attrs.heads as number, scale: { float: attrs.scale as number } },
        "com.microsoft",
      ),
    ],
  },
);

/** The kernel's form of an attention whose mask is the same for every query and head, or undefined. */
export function multiHeadForm(inputs: readonly Value[], attrs: AttentionOptions): readonly Value[] | undefined {
  const [q, k, v, mask] = inputs as [Value, Value, Value, Value];
  const [batch, ones, queries, keys] = mask.shape;
  const isByKey = ones === 1 && queries === 1 && batch === q.shape[0];
  if (!isByKey || attrs.softCap !== undefined || String(q.shape.slice(2)) !== String(k.shape.slice(2)))
    return undefined;
  const flat = (x: Value): Value =>
    reshape(x, [...x.shape.slice(0, 2), (x.shape[2] as number) * (x.shape[3] as number)]);
  const seen = cast(reshape(mask, [batch as Dim, keys as Dim]), "int32");
  const { scale, hook } = attrs;
  const heads = q.shape[2] as number;
  return [reshape(apply(multiHeadAttentionOp, [flat(q), flat(k), flat(v), seen], { heads, scale, hook }), q.shape)];
}
export const isAttention = (node: { readonly op: Op }): boolean => node.op === attentionOp;

/** Which keys a query sees, by their positions (int64, to be broadcast): none after it, and none before its window. */
export function causalMask(keys: Value, queries: Value, window: number | undefined): Value {
  const before = lessEqual(keys, queries);
  return window === undefined ? before : and(before, less(sub(queries, keys), int64(window)));
}

/** What a cache of 8-bit integers counts in: a scale for each channel of each head, float32 [G, 1, K]. */
export interface CacheScales {
  readonly keys: Value;
  readonly values: Value;
}

/** x [1, G, T, K] in steps of a scale, as far as 8 bits go. */
const coded = (x: Value, scale: Value | undefined): Value => {
  if (scale === undefined) return x;
  const steps = max(round(div(x, scale)), scalar(-128));
  return cast(neg(max(neg(steps), scalar(-127))), "int8");
};
const decoded = (x: Value, scale: Value | undefined): Value =>
  scale === undefined ? x : mul(cast(x, "float32"), scale);

/**
 * One row's new tokens over its KvCache: q [1,T,H,K]; k, v [1,T,G,K]; caches [1,G,C,K], float32, or int8 with their scales; past
 * int32 [1] (tokens in the caches) → [z [1,T,H,K], caches'].
 */
const cachedAttentionOp = defineFunction(
  "cachedAttention",
  ([q, k, v, kCache, vCache, past, kScale, vScale], attrs) => {
    const options = attrs as unknown as AttentionOptions;
    const t = (q as Value).shape[1] as Dim;
    const c = (kCache as Value).shape[2] as Dim;
    const positions = positionsFrom(past as Value, t);
    const swap = (x: Value): Value => transpose(x, [0, 2, 1, 3]);
    const keys = scatterRows(kCache as Value, positions, coded(swap(k as Value), kScale));
    const values = scatterRows(vCache as Value, positions, coded(swap(v as Value), vScale));
    const mask = causalMask(reshape(arange(c), [1, 1, 1, c]), reshape(positions, [1, 1, t, 1]), options.window);
    const all = [decoded(keys, kScale), decoded(values, vScale)].map(swap) as [Value, Value];
    return [attention(q as Value, ...all, mask, options), keys, values];
  },
  { hooks: HOOKS },
);
export const cachedAttention = (
  [q, k, v]: readonly [Value, Value, Value],
  [kCache, vCache]: readonly [Value, Value],
  past: Value,
  options: AttentionOptions,
  scales?: CacheScales,
): readonly [Value, Value, Value] =>
  applyAll(cachedAttentionOp, [q, k, v, kCache, vCache, past, ...(scales ? [scales.keys, scales.values] : [])], {
    ...options,
  }) as unknown as readonly [Value, Value, Value];
export const isCachedAttention = (node: { readonly op: Op }): boolean => node.op === cachedAttentionOp;

/**
 * Rotary embedding and cached attention of one row in one kernel, from packed q|k|v [1, T+1, (H+2G)·K]: → [z [1, T+1, H·K],
 * caches']. The last token is spare: with it the kernel never sees a single token, so that one token and a chunk give the same
 * bits. Its key and value land behind the row's own, so a cache needs one spare position; its z and cache rows from past+T on are
 * undefined. `place` int32 [1] is the first token's place in its text, where the caches do not hold all tokens before it.
 */
const groupQueryAttentionOp = defineFunction(
  "groupQueryAttention",
  ([qkv, kCache, vCache, past, cosTable, sinTable, ...more], attrs) => {
    const { heads, kvHeads, headSize, ...options } = attrs as unknown as GroupQueryAttrs;
    const { place, scales } = furtherOf(more);
    const longer = (qkv as Value).shape[1] as Dim;
    const widths = [heads, kvHeads, kvHeads].map((n) => n * headSize);
    const [q, k, v] = split(qkv as Value, -1, widths).map((x, i) =>
      reshape(x, [1, longer, i === 0 ? heads : kvHeads, headSize]),
    );
    const positions = positionsFrom((place ?? past) as Value, longer);
    const turn = (x: Value): Value => rotary(x, cosTable as Value, sinTable as Value, positions);
    const [z, keys, values] = cachedAttention(
      [turn(q as Value), turn(k as Value), v as Value],
      [kCache as Value, vCache as Value],
      past as Value,
      options,
      scales && { keys: scales[0] as Value, values: scales[1] as Value },
    );
    return [reshape(z, [1, longer, heads * headSize]), keys, values];
  },
  {
    emit: (e, [qkv, kCache, vCache, past, cosTable, sinTable, ...more], node) => {
      const { place, scales = [] } = furtherOf(more);
      const { heads, kvHeads, scale, window, softCap: cap } = node.attrs as unknown as GroupQueryAttrs;
      const longer = (node.inputs[0] as Value).shape[1] as Dim;
      const capacity = (node.inputs[1] as Value).shape[2] as Dim;
      const int32 = (name: string): string => e.one("Cast", [name], { to: 6 });
      // "total length − 1", as the kernel counts
      const length = e.one("Add", [past as string, int32(e.dim(subDims(longer, 1)))]);
      const count = (dim: Dim): string => e.one("Reshape", [e.dim(dim), e.ints()]);
      const order = (): string => e.one("Range", [count(0), count(longer), count(1)]);
      const row = (name: string): string => e.one("Unsqueeze", [name, e.ints(0)]);
      const places = place === undefined ? "" : row(e.one("Add", [e.one("Cast", [place], { to: 7 }), order()]));
      const inputs = [qkv, "", "", kCache, vCache, length, int32(e.dim(capacity)), cosTable, sinTable, places, "", ""];
      const isCoded = scales.length > 0;
      return e.node(
        "GroupQueryAttention",
        isCoded ? [...(inputs as string[]), ...scales] : (inputs.slice(0, places === "" ? -3 : -2) as string[]),
        {
          ...(isCoded && { k_quant_type: "PER_CHANNEL", v_quant_type: "PER_CHANNEL", kv_cache_bit_width: 8 }),
          ...{ num_heads: heads, kv_num_heads: kvHeads, do_rotary: 1, rotary_interleaved: 0, scale: { float: scale } },
          ...(window !== undefined && { local_window_size: window }),
          ...(cap !== undefined && { softcap: { float: cap } }),
        },
        3,
        "com.microsoft",
      );
    },
  },
);
/** Inputs behind the usual ones: a place, two scales, or all three. */
const furtherOf = <T>(more: readonly T[]) => ({
  place: more.length % 2 === 1 ? more[0] : undefined,
  scales: more.length > 1 ? more.slice(-2) : undefined,
});

interface GroupQueryAttrs extends AttentionOptions {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
}

const spareOp = defineFunction(
  "spareToken",
  ([x]) => {
    const [rows, , width] = (x as Value).shape as [number, Dim, number];
    return [concat([x as Value, expandTo(scalar(0), [rows, 1, width])], 1)];
  },
  {
    emit: (e, [x], node) => {
      const [rows, , width] = (node.inputs[0] as Value).shape as [number, Dim, number];
      const zero = e.literal({ dtype: "float32", shape: [rows, 1, width] }, new Uint8Array(rows * width * 4));
      return [e.one("Concat", [x as string, zero], { axis: 1 })];
    },
  },
);
/** A zero token behind those of each row: [R, T, W] → [R, T+1, W]. */
const withSpare = (x: Value): Value => apply(spareOp, [x]);

/** q|k|v of one row, a spare token behind: where q, k and v are those of several rows, its share of these together. */
function packedRow(parts: readonly [Value, Value, Value]): Value {
  const share = rowShare(parts);
  const flat = (share?.origins ?? parts).map((x) => reshape(x, [...x.shape.slice(0, 2), widthOf(x)]));
  const longer = withSpare(splitOrigin(flat) ?? concat(flat, -1));
  return share === undefined
    ? longer
    : (split(longer, 0, new Array(longer.shape[0] as number).fill(1))[share.index] as Value);
}
const widthOf = ({ shape }: Value): number => (shape[2] as number) * (shape[3] as number);

/** The kernel's form of a cached attention whose q and k were just rotated by their own positions, or undefined. */
export function groupQueryForm(inputs: readonly Value[], attrs: AttentionOptions): readonly Value[] | undefined {
  const [q, k, v, kCache, vCache, past, ...scales] = inputs as [Value, Value, Value, Value, Value, Value, ...Value[]];
  if (!isRotary(q.node) || !isRotary(k.node)) return undefined;
  const [q0, cosTable, sinTable, positions] = q.node.inputs as [Value, Value, Value, Value];
  const [k0, kCos, kSin, kPositions] = k.node.inputs as [Value, Value, Value, Value];
  const sameTables = valueHash(cosTable) === valueHash(kCos) && valueHash(sinTable) === valueHash(kSin);
  // q and k are rotated by the same positions, counted from the tokens before
  const places = [positions, kPositions].map((p) => (isPositionsFrom(p.node) ? p.node.inputs[0] : undefined));
  const [place, kPlace] = places;
  const own = place !== undefined && kPlace !== undefined && valueHash(place) === valueHash(kPlace);
  const [, t, heads, headSize] = q0.shape as [1, Dim, number, number];
  const kvHeads = k0.shape[2] as number;
  // the kernel wants head sizes in multiples of 16 and rotary halves in multiples of 8
  if (!sameTables || !own || headSize % 16 !== 0 || (cosTable.shape[1] as number) % 8 !== 0) return undefined;
  const qkv = packedRow([q0, k0, v]);
  const elsewhere = valueHash(place) === valueHash(past) ? [] : [place];
  const kernel = applyAll(
    groupQueryAttentionOp,
    [qkv, kCache, vCache, past, cosTable, sinTable, ...elsewhere, ...scales],
    {
      heads,
      kvHeads,
      headSize,
      ...attrs,
    },
  );
  const z = slice(kernel[0] as Value, 1, 0, t);
  return [reshape(z, [1, t, heads, headSize]), kernel[1] as Value, kernel[2] as Value];
}
