// The two ways tokens attend: all at once under a mask (lab, training), or packed rows over their KvCaches (generation).
// They do not know families.
import {
  type AttentionOptions,
  and,
  arange,
  attention,
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
  /** Token ids of each row: declared inputs of any Graph over the rows, whose lengths they give. */
  readonly rows: readonly Value[];
  /** Updated caches by output name, to be written over the inputs of the same name without the final "'". */
  readonly caches: Readonly<Record<string, Value>>;
}

/**
 * R rows packed one behind the other into [1, T0 + T1 + …], each with its own tokens and its own KvCache. Inputs per row r: `ids.r`
 * int64 [Tr], `past.r` int32 [1] (tokens before), and per layer l `k.r.l`, `v.r.l` float32 [1, G, C, K], written in place as
 * `k.r.l'`, `v.r.l'`. Layers with a window of W tokens need only the last W − 1 of those before: `past.r.W` int32 [1] says how
 * many their caches hold.
 */
export function cachedRows(config: Config, rows: number): CachedRows {
  const all = Array.from({ length: rows }, (_, r) => ({
    ids: input(`ids.${r}`, "int64", [`T${r}`]),
    past: input(`past.${r}`, "int32", [1]),
    length: `T${r}` as Dim,
  }));
  const packed = concat(
    all.map((row) => row.ids),
    0,
  );
  const ids = reshape(packed, [1, ...packed.shape]);
  const caches: Record<string, Value> = {};
  /** Of a layer: its caches, and the tokens that they hold. */
  const memoryOf = (r: number, layer: number) => {
    const window = config.windows?.[layer];
    const capacity = window ? `C${r}_${window}` : `C${r}`;
    const cache = (kind: "k" | "v"): Value =>
      input(`${kind}.${r}.${layer}`, "float32", [1, config.kvHeads, capacity, config.headSize]);
    const past = input(window ? `past.${r}.${window}` : `past.${r}`, "int32", [1]);
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
    const lengths = all.map((row) => row.length);
    const [qs, ks, vs] = [q, k, v].map((x) => split(x, 1, lengths)) as [
      readonly Value[],
      readonly Value[],
      readonly Value[],
    ];
    const turn = (parts: readonly Value[], name: string): readonly Value[] => {
      if (tables === undefined) return parts;
      const turned = parts.map((x, r) => {
        const row = all[r] as (typeof all)[number];
        return rotary(x, tables.cos, tables.sin, positionsFrom(row.past, row.length));
      });
      return split(tap(concat(turned, 1), `${options.hook}.${name}`), 1, lengths);
    };
    const [rq, rk] = [turn(qs, "hook_rot_q"), turn(ks, "hook_rot_k")];
    const zs = all.map((_, r) => {
      const { caches: memory, past } = memoryOf(r, layer);
      const [z, keys, values] = cachedAttention(
        [rq[r] as Value, rk[r] as Value, vs[r] as Value],
        memory,
        past,
        options,
      );
      caches[`k.${r}.${layer}'`] = keys;
      caches[`v.${r}.${layer}'`] = values;
      return z;
    });
    return concat(zs, 1);
  };
  const places = concat(
    all.map((row) => positionsFrom(row.past, row.length)),
    0,
  );
  return {
    ids,
    lead: ids.shape,
    positions: reshape(places, ids.shape),
    attend,
    caches,
    rows: all.map((row) => row.ids),
  };
}
