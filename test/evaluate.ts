// Running Graphs in tests: compile, run once, read plain arrays.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Runtime, Tensor } from "../src/runtime/mod.ts";
import { type DType, expand, type Graph, inputsOf, onnxBytes, type TensorType, weightsOf } from "../src/tensor/mod.ts";

let shared: Promise<Runtime> | undefined;
/** The process's runtime with two quiet threads. */
export function testRuntime(): Promise<Runtime> {
  shared ??= Runtime.open({ threads: 2, spinning: false });
  return shared;
}

export interface Array_ {
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array | Int32Array | Uint8Array | Int8Array;
}
export const floats = (shape: readonly number[], data: ArrayLike<number>): Array_ => ({
  shape,
  data: Float32Array.from(data),
});
export const ints = (shape: readonly number[], data: ArrayLike<number>): Array_ => ({
  shape,
  data: BigInt64Array.from(Array.from(data), BigInt),
});

/** Opens functions that have no kernel; kernels stay. */
export const withKernels = (g: Graph): Graph => expand(g, (node) => node.op.emit === undefined);
/** Opens every function: primitives alone. */
export const primitivesOnly = (g: Graph): Graph => expand(g, () => true);

export type Values = Readonly<Record<string, Array_>>;

export interface Compiled extends AsyncDisposable {
  run(values: Values): Promise<Record<string, Float32Array>>;
}

/** A Graph compiled as it stands; its weights are taken from `values`, through a file. */
export async function compiled(g: Graph, values: Values): Promise<Compiled> {
  const runtime = await testRuntime();
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "irori-evaluate-"));
  stack.defer(() => rm(folder, { recursive: true }));
  const { bytes, location } = layWeights(g, values);
  await writeFile(join(folder, "weights.bin"), bytes);
  const model = onnxBytes(g, { locate: (name) => location.get(name) });
  const program = stack.use(await runtime.compile(model, { weightsFolder: folder, optimization: "off" }));
  const owned = stack.move();
  return {
    async run(now) {
      const results = await program.run(
        Object.fromEntries(
          inputsOf(g).map(({ name, node }) => [name, tensor(name, (node.types[0] as TensorType).dtype, now)]),
        ),
      );
      return Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, numbers(data)]));
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
const numbers = (data: Tensor["data"]): Float32Array =>
  data instanceof BigInt64Array ? Float32Array.from(data, Number) : Float32Array.from(data as Float32Array);

/** Results of a Graph by name; weights are given beside the inputs. */
export async function evaluate(g: Graph, values: Values): Promise<Record<string, Float32Array>> {
  await using program = await compiled(g, values);
  return await program.run(values);
}

function tensor(name: string, dtype: DType, values: Values): Tensor {
  const value = values[name];
  if (value === undefined) throw new Error(`the test gives no value for ${name}`);
  return Tensor.of(dtype, value.shape, value.data as never);
}

function layWeights(g: Graph, values: Values) {
  const location = new Map<string, Record<string, string>>();
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const { name } of weightsOf(g)) {
    const { data } = values[name] as Array_;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    location.set(name, { location: "weights.bin", offset: String(offset), length: String(bytes.length) });
    const padded = new Uint8Array(Math.ceil(bytes.length / 4096) * 4096);
    padded.set(bytes);
    parts.push(padded);
    offset += padded.length;
  }
  return { bytes: Buffer.concat(parts), location };
}

/** Largest difference as a part of the largest expected magnitude. */
export function relativeError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (got.length !== wanted.length) throw new Error(`lengths ${got.length} and ${wanted.length}`);
  let error = 0;
  let largest = 0;
  for (let i = 0; i < wanted.length; i++) {
    error = Math.max(error, Math.abs((got[i] as number) - (wanted[i] as number)));
    largest = Math.max(largest, Math.abs(wanted[i] as number));
  }
  if (Number.isNaN(error)) return Number.POSITIVE_INFINITY;
  return largest === 0 ? error : error / largest;
}
