// An op of one's own: everything that is true of it in one literal. It is differentiated, printed, hashed and compiled as the others.
import {
  apply,
  defineOp,
  graph,
  input,
  less,
  mul,
  type Op,
  onnxBytes,
  printGraph,
  scalar,
  sum,
  type Value,
  where,
  withGradients,
} from "irori/tensor";

/** max(x, 0): the kernel's name in ONNX, and the cotangent of x from that of the result. */
const reluOp: Op = defineOp({
  name: "relu",
  infer: ([x]) => [x as NonNullable<typeof x>],
  emit: (e, inputs) => [e.one("Relu", inputs)],
  vjp: ([ct], { inputs: [x] }) => (ct && x ? [where(less(scalar(0), x), ct, scalar(0))] : []),
  rowwise: () => "all",
});
const relu = (x: Value): Value => apply(reluOp, [x]);

const x = input("x", "float32", ["B", 4]);
const g = withGradients(graph({ loss: sum(mul(relu(x), x), [0, 1]) }), "loss", { x });
console.log(printGraph(g));
console.log(`${onnxBytes(g).length} bytes of ONNX`);
try {
  defineOp({ ...reluOp });
} catch (error) {
  console.log((error as Error).message);
}
