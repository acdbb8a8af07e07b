// What layers of several families share: heads around attention, and the two kinds of MLP. HookPoints have TransformerLens' names.
// It does not know families: weights and switches come as arguments.
import { type AttentionOptions, add, linear, linears, mul, reshape, tap, type Value } from "../tensor/mod.ts";
import type { Config, RotaryTables, Tokens } from "./family.ts";

/** A HookPoint's name in a layer. */
export const inLayer = (layer: number) => (name: string) => `blocks.${layer}.${name}`;

/** x · Wᵀ + b. */
export const affine = (x: Value, w: Value, b: Value): Value => add(linear(x, w), b);

export interface HeadOptions extends Omit<AttentionOptions, "hook"> {
  readonly tables?: RotaryTables | undefined;
  /** Norms of q and k by heads [..., n, K], before rotation. */
  readonly normalize?: ((x: Value, part: "q" | "k") => Value) | undefined;
}

/** Attention of a layer: q [..., H·K], k, v [..., G·K] → z [..., H·K]. */
export function attendByHeads(
  c: Config,
  tokens: Tokens,
  layer: number,
  [q, k, v]: readonly [Value, Value, Value],
  { tables, normalize = (x) => x, ...options }: HeadOptions,
): Value {
  const hook = inLayer(layer)("attn");
  const heads = (x: Value, n: number, name: string): Value =>
    tap(reshape(x, [...tokens.lead, n, c.headSize]), `${hook}.${name}`);
  const z = tokens.attend(
    layer,
    normalize(heads(q, c.heads, "hook_q"), "q"),
    normalize(heads(k, c.kvHeads, "hook_k"), "k"),
    heads(v, c.kvHeads, "hook_v"),
    tables,
    { ...options, hook },
  );
  return reshape(tap(z, `${hook}.hook_z`), [...tokens.lead, c.heads * c.headSize]);
}

/** x + what a layer's part adds to it, with HookPoints at both. */
export const addedTo = (x: Value, out: Value, outHook: string, sumHook: string): Value =>
  tap(add(x, tap(out, outHook)), sumHook);

/** Shapes of weights by their names in a layer, under the names of all layers: `${stem}.L.${name}`. */
export const inEveryLayer = (layers: number, stem: string, shapes: Readonly<Record<string, readonly number[]>>) =>
  Array.from({ length: layers }, (_, l) => l).flatMap((l) =>
    Object.entries(shapes).map(([name, shape]) => [`${stem}.${l}.${name}`, shape] as const),
  );

export type Activation = (x: Value) => Value;

/** activation(x · gateᵀ) · (x · upᵀ) · downᵀ */
export function gatedMlp(
  x: Value,
  [gate, up, down]: readonly [Value, Value, Value],
  act: Activation,
  hook: string,
): Value {
  const [g, u] = linears(x, [gate, up]) as [Value, Value];
  return gated(g, u, down, act, hook);
}

/** The same from the two products. */
export function gated(gate: Value, up: Value, down: Value, act: Activation, hook: string): Value {
  const post = mul(act(tap(gate, `${hook}.hook_pre`)), tap(up, `${hook}.hook_pre_linear`));
  return linear(tap(post, `${hook}.hook_post`), down);
}

/** activation(pre), between a plain MLP's two layers. */
export const activated = (pre: Value, act: Activation, hook: string): Value =>
  tap(act(tap(pre, `${hook}.hook_pre`)), `${hook}.hook_post`);
