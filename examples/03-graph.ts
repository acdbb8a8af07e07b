// A traced tensor program: print it, differentiate it, compile it to ONNX bytes. Nothing is computed yet.
import { graph, graphHash, input, mul, onnxBytes, printGraph, softmax, sum, withGradients } from "irori/tensor";

const x = input("x", "float32", ["B", 4]);
const p = softmax(x);
const g = withGradients(graph({ loss: sum(mul(p, p), [0, 1]) }), "loss", { x });
console.log(printGraph(g));
console.log(`hash ${graphHash(g).slice(0, 16)}, ${onnxBytes(g).length} bytes of ONNX`);
