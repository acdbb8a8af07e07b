import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { IroriError, seededRandom } from "../base/mod.ts";
import {
  type PageEntries,
  PagesWriter,
  type Program,
  Runtime,
  readPrepackedEntries,
  type SavedWeights,
  Tensor,
} from "./mod.ts";
import { type Entry, OnnxBytes } from "./onnx-bytes.fixture.ts";

const K = 1024;
const layers = 24;
const blocks = K / 32;
let runtime: Runtime;
let folder: string;
const raw = new Map<string, Entry[]>();
const bytesOf = {
  "4": blocks * K * 16,
  "8": blocks * K * 32,
  scales: blocks * K * 4,
  offsets: blocks * K * 4,
} as const;
const bitsOf = (layer: number) => (layer % 4 === 3 ? 8 : 4);

/** A chain of block-quantised products with offsets, each followed by Tanh; "steered" adds an input between layers. */
function chain(entriesOf: (name: string) => readonly Entry[], isSteered: boolean): Uint8Array {
  const graph = new OnnxBytes();
  let x = graph.input("x", "float32", ["B", K]);
  if (isSteered) graph.input("steer", "float32", [1, K]);
  graph.constant("blocked", "int64", [3], BigInt64Array.of(-1n, BigInt(blocks), 32n));
  graph.constant("axes", "int64", [1], BigInt64Array.of(2n));
  for (let i = 0; i < layers; i++) {
    const bits = bitsOf(i);
    const weight = graph.constant(`${i}.weight`, "uint8", [K, blocks, 4 * bits], entriesOf(`${i}.weight`));
    const scales = graph.constant(`${i}.scales`, "float32", [K * blocks], entriesOf(`${i}.scales`));
    const offsets = graph.constant(`${i}.offsets`, "float32", [blocks, K], entriesOf(`${i}.offsets`));
    const sums = graph.op("ReduceSum", [graph.op("Reshape", [x, "blocked"]), "axes"], { keepdims: 0 });
    const product = graph.op("MatMulNBits", [x, weight, scales], { K, N: K, bits, block_size: 32, accuracy_level: 4 });
    const sum = graph.op("Add", [product, graph.op("MatMul", [sums, offsets])]);
    const steered = isSteered ? graph.op("Add", [sum, "steer"]) : sum;
    x = graph.op("Tanh", [steered], {}, i === layers - 1 ? "y" : undefined);
  }
  graph.output("y", "float32", ["B", K]);
  return graph.build();
}

function writeRaw(path: string): void {
  const random = seededRandom(5);
  const file = openSync(path, "w");
  let offset = 0;
  const put = (name: string, data: Uint8Array | Float32Array) => {
    const bytes = new Uint8Array(data.buffer);
    writeSync(file, bytes, 0, bytes.length, offset);
    const entry = { location: "raw.bin", offset, length: bytes.length };
    raw.set(
      name,
      Object.entries(entry).map(([key, value]) => ({ key, value: String(value) })),
    );
    offset += Math.ceil(bytes.length / 4096) * 4096;
  };
  const floats = (length: number, scale: number) => Float32Array.from({ length }, () => scale * (random.next() - 0.5));
  for (let i = 0; i < layers; i++) {
    const bits = bitsOf(i);
    put(
      `${i}.weight`,
      Uint8Array.from({ length: bytesOf[bits === 8 ? "8" : "4"] }, () => random.next() * 256),
    );
    put(`${i}.scales`, floats(blocks * K, bits === 8 ? 0.0005 : 0.01));
    put(`${i}.offsets`, floats(blocks * K, 0.01));
  }
}

const rawOf = (name: string) => raw.get(name) ?? assert.fail(name);
async function answer(program: Program, rows: number, isSteered: boolean): Promise<string> {
  const x = Tensor.of(
    "float32",
    [rows, K],
    Float32Array.from({ length: rows * K }, (_, i) => Math.sin(i)),
  );
  const inputs = isSteered ? { x, steer: Tensor.of("float32", [1, K]) } : { x };
  using y = (await program.run(inputs)).y ?? assert.fail();
  assert.ok(Number.isFinite(Number(y.data[0])));
  return createHash("sha256")
    .update(new Uint8Array(y.data.buffer, y.data.byteOffset, y.data.byteLength))
    .digest("hex");
}
const anonymousMb = () =>
  Number(/RssAnon:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? Number.NaN) / 1024;

let pages: { readonly initializers: ReadonlyMap<string, PageEntries>; readonly bytes: number; readonly sha256: string };

async function writePages(saved: SavedWeights, path: string): Promise<typeof pages> {
  await using writer = await PagesWriter.create(path);
  const initializers = await writer.copy(saved);
  return { initializers, ...(await writer.finish()) };
}

before(async () => {
  runtime = await Runtime.open({ threads: 2, spinning: false });
  folder = mkdtempSync(join(tmpdir(), "irori-pages-"));
  writeRaw(join(folder, "raw.bin"));
  const savePrepackedTo = { modelPath: join(folder, "saved.onnx"), fileName: "saved.bin" };
  const program = await runtime.compile(chain(rawOf, false), { weightsFolder: folder, savePrepackedTo });
  await program[Symbol.asyncDispose]();
  const model = readFileSync(savePrepackedTo.modelPath);
  pages = await writePages({ model, dataFile: join(folder, "saved.bin") }, join(folder, "pages.bin"));
});
after(async () => {
  await runtime[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});
const pagedOf = (name: string) => pages.initializers.get(name)?.externalData ?? assert.fail(name);

describe("prepacked pages", () => {
  it("two different graphs over the same pages give the raw weights' bits, without private copies", async () => {
    const expected: string[] = [];
    for (const isSteered of [false, true]) {
      await using program = await runtime.compile(chain(rawOf, isSteered), { weightsFolder: folder });
      for (const rows of [1, 7]) expected.push(await answer(program, rows, isSteered));
    }
    await using first = await runtime.compile(chain(pagedOf, false), { weightsFolder: folder });
    const got = [await answer(first, 1, false), await answer(first, 7, false)];
    const before = anonymousMb();
    await using second = await runtime.compile(chain(pagedOf, true), { weightsFolder: folder });
    got.push(await answer(second, 1, true), await answer(second, 7, true));
    const grown = anonymousMb() - before;
    assert.deepEqual(got, expected);
    // The packed weights are 24 MB and more; on other systems nothing says which pages are private.
    if (process.platform === "linux") assert.ok(grown < 15, `the second Program added ${grown.toFixed(1)} MB`);
  });

  it("every block starts at a page, and the file's hash is that of its bytes", () => {
    const path = join(folder, "pages.bin");
    assert.equal(pages.bytes, statSync(path).size);
    assert.equal(pages.sha256, createHash("sha256").update(readFileSync(path)).digest("hex"));
    let prepacked = 0;
    for (const { externalData } of pages.initializers.values()) {
      const values = Object.fromEntries(externalData.map(({ key, value }) => [key, value]));
      assert.equal(values.location, "pages.bin");
      assert.equal(Number(values.offset) % 4096, 0);
      if (!values.prepacked_0) continue;
      prepacked++;
      for (const block of values.prepacked_0.split("|").slice(1)) assert.equal(Number.parseInt(block, 10) % 4096, 0);
    }
    assert.equal(prepacked, 2 * layers, "the quantised weights and the offsets' product");
    assert.deepEqual(pages.initializers.get("0.weight")?.dims, [K, blocks, 16]);
    assert.equal(pages.initializers.get("0.weight")?.dtype, "uint8");
  });

  it("a saved model that is cut, and a data file that is cut, are sentences", async () => {
    const model = readFileSync(join(folder, "saved.onnx"));
    const isBadFile = (error: unknown) => error instanceof IroriError && error.code === "bad-file";
    for (const end of [1, 100, 1000, model.length - 40]) {
      assert.throws(() => readPrepackedEntries(model.subarray(0, end)), isBadFile, `cut at ${end}`);
    }
    const cut = join(folder, "cut.bin");
    writeSync(openSync(cut, "w"), readFileSync(join(folder, "saved.bin")).subarray(0, 5_000_000));
    await assert.rejects(writePages({ model, dataFile: cut }, join(folder, "never.bin")), isBadFile);
  });
});
