// Losses over logits, in forms that keep little: no gradient of the logits' size, and what only a loss reads is read early.
// They do not know models.
import type { Dim } from "./dim.ts";
import { logSumExp, softmax } from "./functions.ts";
import type { Rule } from "./graph.ts";
import { isLinear, linear } from "./linear.ts";
import { add, div, log, maxOver, mean, mul, neg, reshape, sizeScalar, sub } from "./ops.ts";
import { gather, matmul, pick, scatterAdd } from "./products.ts";
import { apply, defineFunction, scalar, type Value } from "./value.ts";

const crossEntropyOp = defineFunction("crossEntropy", ([logits, targets]) => [
  mean(sub(logSumExp(logits as Value), pick(logits as Value, targets as Value)), [0]),
]);
/** Mean cross entropy of logits [N, V] at `targets` int64 [N], in nats. */
export const crossEntropy = (logits: Value, targets: Value): Value => apply(crossEntropyOp, [logits, targets]);

/** Before a loss is differentiated: logits that a linear layer makes for it alone need no gradient of their own. */
export const lossOfLinear: Rule = ({ node, inputs: [logits, targets] }) => {
  const [h, w] = node.op === crossEntropyOp && logits && isLinear(logits.node) ? logits.node.inputs : [];
  return h && w && targets && h.rank === 2 ? [linearCrossEntropy(h, w, targets)] : undefined;
};

/**
 * Cross entropy of each row: log Σ exp(x) − x[target], where log Σ exp(x) = max x − log max softmax(x): all that is read of the
 * logits is what the gradient needs too, and three numbers a row.
 */
function rowLosses(logits: Value, targets: Value): Value {
  const spread = sub(maxOver(logits, [-1]), log(maxOver(softmax(logits), [-1])));
  return sub(spread, pick(logits, targets));
}

const linearCrossEntropyOp = defineFunction(
  "linearCrossEntropy",
  ([h, w, targets]) => [mean(rowLosses(linear(h as Value, w as Value), targets as Value), [0])],
  {
    // with p = softmax(h Wᵀ): dh = (p W − W[target]) / N, dW = (pᵀ h − scatter(h at target)) / N; no one-hot of [N, V].
    // Nothing times the losses is added: the gradient waits for them, so that the logits die before those of another chunk are made.
    vjp: ([ct], { inputs: [h, w, targets] }) => {
      if (ct === undefined || h === undefined || w === undefined || targets === undefined) return [];
      const logits = linear(h, w);
      const p = softmax(logits);
      const g = div(ct, sizeScalar([h.shape[0] as Dim]));
      const nothing = mul(reshape(rowLosses(logits, targets), [h.shape[0] as Dim, 1]), scalar(0));
      const dh = mul(g, sub(matmul(p, w), add(gather(w, targets), nothing)));
      return [dh, mul(g, scatterAdd(matmul(p, h, { transA: true }), targets, neg(h)))];
    },
  },
);
/** Mean cross entropy of the logits h [N, D] · Wᵀ (W [V, D]) at `targets` int64 [N]. */
export const linearCrossEntropy = (h: Value, w: Value, targets: Value): Value =>
  apply(linearCrossEntropyOp, [h, w, targets]);
