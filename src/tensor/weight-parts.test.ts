// A Graph's weights in parts: every reader of a weight stands beside it, and nothing is lost.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Graph, graph, input, matmul, mul, outputParts, tanh, weight, weightParts, weightsOf } from "./mod.ts";

const x = input("x", "float32", ["T", 8]);
const square = (name: string) => weight(name, "float32", [8, 8]); // 256 bytes
const namesOf = (part: Graph): string =>
  weightsOf(part)
    .map(({ name }) => name)
    .join();

test("each weight lies in one part with all its readers, and parts stay below their size", () => {
  const layers = ["a", "b", "c", "d"].reduce((y, name) => tanh(matmul(y, square(name))), x);
  const y = matmul(layers, square("a")); // a weight that is read again at the end
  const whole = graph({ y });
  assert.deepEqual(weightParts(whole, 512).map(namesOf), ["a,b", "c,d"]);
  assert.deepEqual(weightParts(whole, 1).map(namesOf), ["a", "b", "c", "d"]);
  assert.deepEqual(weightParts(whole, 1 << 20).map(namesOf), ["a,b,c,d"]);
  const [first] = weightParts(whole, 1);
  assert.equal(Object.keys(first?.outputs ?? {}).length, 2);
});

test("weights that one node reads, or a chain of nodes, are never apart", () => {
  const y = matmul(
    mul(matmul(x, square("a")), mul(weight("s", "float32", [8]), weight("t", "float32", [8]))),
    square("b"),
  );
  const parts = weightParts(graph({ y, again: mul(x, weight("t", "float32", [8])) }), 1).map(namesOf);
  assert.deepEqual(parts.toSorted(), ["a", "b", "s,t"]);
});

test("outputs are taken a few at a time, each once", () => {
  const outputs = Object.fromEntries(["a", "b", "c"].map((name) => [name, tanh(square(name))]));
  const parts = outputParts(graph(outputs), 512);
  assert.deepEqual(
    parts.map((part) => Object.keys(part.outputs)),
    [["a", "b"], ["c"]],
  );
  assert.deepEqual(outputParts(graph({}), 512), []);
});
