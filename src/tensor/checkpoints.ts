// Gradient checkpointing (Chen et al. 2016): a backward pass computes forward values again, stretch by stretch, instead of keeping them.
// It does not know gradients; stretches end at named HookPoints.
import { IroriError } from "../base/mod.ts";
import { after, isTap } from "./functions.ts";
import { type Node, Value } from "./value.ts";

/**
 * Of a node of the forward pass, the same over inputs that are computed again: from the HookPoint where its stretch begins, once
 * the backward pass has come there (`ct` is any cotangent of that moment). The last stretch is needed at once and kept.
 */
export function recomputing(order: readonly Node[], checkpoints: readonly string[]): (node: Node, ct: Value) => Node {
  const taps = checkpoints.map((name) => {
    const tap = order.find((node) => isTap(node) && node.attrs.name === name);
    if (tap !== undefined) return tap;
    throw new IroriError("not-found", { what: `there is no HookPoint "${name}" to compute again from` });
  });
  // a node's stretch: the last checkpoint that it depends on
  const stretchOf = new Map<Node, number>();
  for (const node of order) {
    const before = node.inputs.map((value) => stretchOf.get(value.node) as number);
    stretchOf.set(node, Math.max(taps.indexOf(node) + 1, ...before, 0));
  }
  const starts = new Map<number, Value>();
  const again = new Map<Node, Node>();

  /** The node over recomputed inputs, inputs first. */
  const made = (node: Node): Node => {
    const stretch = stretchOf.get(node) as number;
    const stack = [node];
    while (stack.length > 0) {
      const top = stack.at(-1) as Node;
      const missing = top.inputs.filter(({ node: read }) => isInside(read, stretch) && !again.has(read));
      if (missing.length > 0) stack.push(...missing.map((value) => value.node));
      else {
        stack.pop();
        again.set(top, { ...top, inputs: top.inputs.map((value) => valueIn(value, stretch)) });
      }
    }
    return again.get(node) as Node;
  };
  const isInside = (node: Node, stretch: number): boolean =>
    stretchOf.get(node) === stretch && node !== taps[stretch - 1] && node.inputs.length > 0;
  const valueIn = (value: Value, stretch: number): Value => {
    if (isInside(value.node, stretch)) return new Value(again.get(value.node) as Node, value.index);
    return value.node === taps[stretch - 1] ? (starts.get(stretch) as Value) : value;
  };

  return (node, ct) => {
    const stretch = stretchOf.get(node) ?? 0;
    const tap = taps[stretch - 1];
    if (tap === undefined || stretch === taps.length || node === tap) return node;
    if (!starts.has(stretch)) starts.set(stretch, after(new Value(tap, 0), ct));
    return made(node);
  };
}
