// A gather of positions moves before what works on each position by itself, and before nothing else; results stay.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { evaluate, floats, ints, primitivesOnly, relativeError, testRuntime } from "../../test/evaluate.ts";
import * as t from "./mod.ts";

after(async () => (await testRuntime())[Symbol.asyncDispose]());

const [B, T, D] = [2, 5, 4];
const wave = (size: number, by: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(1 + i * by));
const x = t.input("x", "float32", ["B", "T", D]);
const places = t.input("places", "int64", ["B", "P"]);
const values = {
  x: floats([B, T, D], wave(B * T * D, 0.7)),
  w: floats([3, D], wave(3 * D, 1.3)),
  norm: floats([D], wave(D, 0.9)),
  places: ints([B, 2], [4, 1, 9, 5]),
};
const at = (value: t.Value, indices = places): t.Value =>
  t.gather(t.reshape(value, ["B*T", ...value.shape.slice(2)]), indices);

/** Before and after, with equal results; the shapes that nodes of an op have afterwards. */
async function narrowed(outputs: Record<string, t.Value>): Promise<(op: string) => string[]> {
  const plain = t.graph(outputs, [x, places]);
  const narrow = t.narrowRows(plain);
  t.verify(narrow);
  const [a, b] = [await evaluate(primitivesOnly(plain), values), await evaluate(primitivesOnly(narrow), values)];
  for (const name of Object.keys(outputs))
    assert.ok(relativeError(b[name] as Float32Array, a[name] as Float32Array) < 1e-6, name);
  const lines = t.printGraph(narrow).split("\n");
  return (op) => lines.flatMap((line) => (line.includes(`= ${op}(`) ? [/float32\[(.*?)\]/.exec(line)?.[1] ?? ""] : []));
}

test("norms, linear layers and sums are computed at the wanted positions alone", async () => {
  const [w, norm] = [t.weight("w", "float32", [3, D]), t.weight("norm", "float32", [D])];
  const h = t.rmsNorm(t.add(x, t.silu(x)), norm, 1e-5);
  const shapes = await narrowed({ y: at(t.linear(h, w)) });
  assert.deepEqual(
    [shapes("linear"), shapes("rmsNorm"), shapes("add"), shapes("silu")],
    [["B,P,3"], ["B,P,4"], ["B,P,4"], ["B,P,4"]],
  );
});

test("what mixes positions is computed whole, and what is read elsewhere too", async () => {
  const scores = t.matmul(x, x, { transB: true });
  const mixed = t.matmul(t.softmax(scores), t.silu(x)); // [B,T,T] · [B,T,D]: every row of the second counts
  const read = t.exp(x);
  const shapes = await narrowed({ y: at(t.silu(mixed)), z: at(read), all: read });
  assert.deepEqual(shapes("exp"), ["B,T,4"]);
  assert.deepEqual(shapes("silu"), ["B,T,4", "B,P,4"]);
  assert.ok(
    shapes("softmax").every((shape) => shape === "B,T,T"),
    shapes("softmax").join(" "),
  );
});

test("two sets of positions of one value: it is computed whole", async () => {
  const h = t.silu(x);
  const shapes = await narrowed({ y: at(h), z: at(h, t.slice(places, 1, 0, 1)) });
  assert.deepEqual(shapes("silu"), ["B,T,4"]);
});
