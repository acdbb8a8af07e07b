// The two ways tokens attend: all at once under a mask (lab, training), or rows over their KvCaches (generation).
// They do not know families.
import {
  type AttentionOptions,
  and,
  arange,
  attention,
  type CacheScales,
  cachedAttention,
  cast,
  causalMask,
  concat,
  type Dim,
  input,
  positionsFrom,
  reshape,
  rotary,
  split,
  tap,
  type Value,
} from "../tensor/mod.ts";
import type { Config, RotaryTables, Tokens } from "./family.ts";

/**
 * All tokens at once.
 * @param ids int64 [B, T]
 * @param positions int64 [B, T]: each token's place in its text, from 0
 * @param mask bool [B|1, 1, T, T]: true where a query may see a key; a layer's window narrows it by order in the sequence
 */
export function wholeSequence(ids: Value, positions: Value, mask: Value, types?: Value): Tokens {
  const length = ids.shape[1] as Dim;
  const order = (shape: readonly Dim[]): Value => reshape(arange(length), shape);
  return {
    ids,
    lead: ids.shape,
    positions,
    types,
    attend(_layer, q, k, v, tables, options) {
      const turn = (x: Value, name: string) => rotated(x, tables, positions, `${options.hook}.${name}`);
      const { window } = options;
      const seen =
        window === undefined ? mask : and(mask, causalMask(order([1, 1, 1, length]), order([1, 1, length, 1]), window));
      return attention(turn(q, "hook_rot_q"), turn(k, "hook_rot_k"), v, seen, options);
    },
  };
}

/** bool [B|1, 1, T, T] for `wholeSequence`: real tokens (attention mask int64 [B, T]), none after the query where `isCausal`. */
export function maskOf(attentionMask: Value, isCausal: boolean): Value {
  const [batch, length] = attentionMask.shape as [Dim, Dim];
  const real = cast(reshape(attentionMask, [batch, 1, 1, length]), "bool");
  const order = (shape: readonly Dim[]): Value => reshape(arange(length), shape);
  return isCausal ? and(causalMask(order([1, 1, 1, length]), order([1, 1, length, 1]), undefined), real) : real;
}

const rotated = (x: Value, tables: RotaryTables | undefined, positions: Value, hook: string): Value =>
  tables === undefined ? x : tap(rotary(x, tables.cos, tables.sin, positions), hook);

export interface CachedRows extends Tokens {
  /** Token ids of the rows: a declared input of any Graph over them, whose sizes it gives. */
  readonly given: Value;
  /** Updated caches by output name, to be written over the inputs of the same name without the final "'". */
  readonly caches: Readonly<Record<string, Value>>;
}

/**
 * R rows with T new tokens each, [R, T], every row over its own KvCache. Inputs: `ids` int64 [R, T]; per row r `past.r` int32 [1]
 * (tokens before), and per layer l `k.r.l`, `v.r.l` float32 [1, G, C, K], written in place as `k.r.l'`, `v.r.l'`. Layers with a
 * window of W tokens need only the last W − 1 of those before: `past.r.W` int32 [1] says how many their caches hold.
 * @param scales of each layer, where the caches are int8
 */
export function cachedRows(config: Config, rows: number, length: Dim, scales?: readonly CacheScales[]): CachedRows {
  const ids = input("ids", "int64", [rows, length]);
  const pasts = Array.from({ length: rows }, (_, r) => input(`past.${r}`, "int32", [1]));
  const ones = pasts.map(() => 1);
  const caches: Record<string, Value> = {};
  /** Of a layer: its caches, and the tokens that they hold. */
  const memoryOf = (r: number, layer: number) => {
    const window = config.windows?.[layer];
    const capacity = window ? `C${r}_${window}` : `C${r}`;
    const cache = (kind: "k" | "v"): Value =>
      input(`${kind}.${r}.${layer}`, scales ? "int8" : "float32", [1, config.kvHeads, capacity, config.headSize]);
    const past = window ? input(`past.${r}.${window}`, "int32", [1]) : (pasts[r] as Value);
    return { caches: [cache("k"), cache("v")] as const, past };
  };

  const attend = (
    layer: number,
    q: Value,
    k: Value,
    v: Value,
    tables: RotaryTables | undefined,
    options: AttentionOptions,
  ): Value => {
    const byRow = (x: Value): readonly Value[] => split(x, 0, ones);
    const turn = (x: Value, name: string): readonly Value[] => {
      if (tables === undefined) return byRow(x);
      const turned = byRow(x).map((row, r) =>
        rotary(row, tables.cos, tables.sin, positionsFrom(pasts[r] as Value, length)),
      );
      return byRow(tap(concat(turned, 0), `${options.hook}.${name}`));
    };
    const [qs, ks, vs] = [turn(q, "hook_rot_q"), turn(k, "hook_rot_k"), byRow(v)];
    const zs = pasts.map((_, r) => {
      const { caches: memory, past } = memoryOf(r, layer);
      const [z, keys, values] = cachedAttention(
        [qs[r] as Value, ks[r] as Value, vs[r] as Value],
        memory,
        past,
        options,
        scales?.[layer],
      );
      caches[`k.${r}.${layer}'`] = keys;
      caches[`v.${r}.${layer}'`] = values;
      return z;
    });
    return concat(zs, 0);
  };
  const places = concat(
    pasts.map((past) => positionsFrom(past, length)),
    0,
  );
  return { ids, lead: ids.shape, positions: reshape(places, ids.shape), attend, caches, given: ids };
}
