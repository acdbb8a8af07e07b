import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { IroriError } from "../base/mod.ts";
import { type Program, Runtime, Tensor } from "./mod.ts";
import { OnnxBytes } from "./onnx-bytes.fixture.ts";

const options = { threads: 2, spinning: false } as const;
let runtime: Runtime;
let folder: string;

before(async () => {
  runtime = await Runtime.open(options);
  folder = mkdtempSync(join(tmpdir(), "irori-runtime-"));
});
after(async () => {
  await runtime[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

/** y = x · w with w[k][n] = 3k + n, 4 x 3. */
function product(): Uint8Array {
  const graph = new OnnxBytes();
  graph.input("x", "float32", ["B", 4]);
  graph.constant(
    "w",
    "float32",
    [4, 3],
    Float32Array.from({ length: 12 }, (_, i) => i),
  );
  graph.op("MatMul", ["x", "w"], {}, "y");
  graph.output("y", "float32", ["B", 3]);
  return graph.build();
}

/** A chain of `steps` products of `size` x `size`, each giving ones for ones (a shrinking chain meets slow denormals). */
function chain(size: number, steps: number): Uint8Array {
  const graph = new OnnxBytes();
  graph.input("x", "float32", [size, size]);
  graph.constant("w", "float32", [size, size], new Float32Array(size * size).fill(1 / size));
  let last = "x";
  for (let i = 0; i < steps; i++) last = graph.op("MatMul", [last, "w"], {}, i === steps - 1 ? "y" : undefined);
  graph.output("y", "float32", [size, size]);
  return graph.build();
}

const ones = (...shape: number[]) =>
  Tensor.of("float32", shape, new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1));
const fails = (promise: Promise<unknown>, code: string, sentence: RegExp) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof IroriError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, sentence);
    return true;
  });

it("a runtime that is closed while it compiles waits for the compiling, and says so", async () => {
  const closing = await Runtime.open(options);
  const compiling = [1, 2, 3].map(() => closing.compile(chain(600, 8)));
  let open = compiling.length;
  const results = Promise.allSettled(compiling.map((one) => one.finally(() => open--)));
  await closing[Symbol.asyncDispose]();
  assert.equal(open, 0, "closed while it still compiled");
  for (const result of await results) {
    assert.equal(result.status, "rejected");
    assert.match(String(result.reason), /the runtime was closed while .* was compiled/);
  }
});

describe("a Program", () => {
  it("names its inputs and outputs with types, sizes and symbols", async () => {
    await using program = await runtime.compile(product());
    assert.deepEqual(program.inputs, [{ name: "x", dtype: "float32", shape: ["B", 4] }]);
    assert.deepEqual(program.outputs, [{ name: "y", dtype: "float32", shape: ["B", 3] }]);
  });

  it("computes, into memory of the library, of the caller and of a binding alike", async () => {
    await using program = await runtime.compile(product());
    const x = Tensor.of("float32", [2, 4], Float32Array.of(1, 0, 0, 0, 0, 1, 0, 2));
    const expected = [0, 1, 2, 21, 24, 27];
    const { y } = await program.run({ x });
    assert.deepEqual([...(y?.data ?? [])], expected);
    const mine = Float32Array.from({ length: 6 }, () => Number.NaN);
    const given = await program.run({ x }, { outputs: { y: Tensor.of("float32", [2, 3], mine) } });
    assert.equal(given.y?.data, mine);
    assert.deepEqual([...mine], expected);
    using bound = Tensor.of("float32", [2, 3]);
    using binding = program.bind({ x }, { y: bound });
    await binding.run();
    assert.deepEqual([...bound.data], expected);
    binding.set({ x: Tensor.of("float32", [2, 4], new Float32Array(8).fill(1)) });
    await binding.run();
    assert.deepEqual([...bound.data], [18, 22, 26, 18, 22, 26]);
  });

  it("reads a typed array of any size and age in place, also after garbage collections", async () => {
    await using program = await runtime.compile(product());
    const input = Float32Array.of(1, 1, 1, 1); // 16 bytes: on V8's moving heap until somebody asks for its buffer
    const x = Tensor.of("float32", [1, 4], input);
    using y = Tensor.of("float32", [1, 3]);
    using binding = program.bind({ x }, { y });
    for (let i = 1; i <= 200; i++) {
      input.fill(i);
      Array.from({ length: 2000 }, (_, j) => new Float32Array(8).fill(j));
      await binding.run();
      assert.deepEqual([...y.data], [18 * i, 22 * i, 26 * i]);
    }
  });

  it("gives only what is fetched", async () => {
    const graph = new OnnxBytes();
    graph.input("x", "float32", [2]);
    graph.op("Neg", ["x"], {}, "a");
    graph.op("Abs", ["a"], {}, "b");
    graph.output("a", "float32", [2]);
    graph.output("b", "float32", [2]);
    await using program = await runtime.compile(graph.build());
    const results = await program.run({ x: ones(2) }, { fetch: ["b"] });
    assert.deepEqual(Object.keys(results), ["b"]);
    await fails(program.run({ x: ones(2) }, { fetch: ["c"] }), "bad-input", /no such output.*got c, wanted a, b/);
    await fails(program.run({ x: ones(2) }, { fetch: ["b"], outputs: { a: ones(2) } }), "bad-input", /leaves out/);
  });

  it("answers more calls at once than the process has threads", async () => {
    await using program = await runtime.compile(product());
    const runs = Array.from({ length: 100 }, (_, i) =>
      program.run({ x: Tensor.of("float32", [1, 4], new Float32Array(4).fill(i)) }),
    );
    const answers = (await Promise.all(runs)).map(({ y }) => y?.data[0]);
    assert.deepEqual(
      answers,
      Array.from({ length: 100 }, (_, i) => 18 * i),
    );
  });
});

describe("what bad input gets", () => {
  let program: Program;
  before(async () => {
    program = await runtime.compile(product(), { name: "little" });
  });
  after(() => program[Symbol.asyncDispose]());

  it("an empty batch is refused before it reaches the library", () =>
    fails(program.run({ x: Tensor.of("float32", [0, 4]) }), "bad-input", /input x of little is empty.*\[0, 4\]/));
  it("a missing, unknown, wrongly shaped or wrongly typed input is a sentence", async () => {
    await fails(program.run({}), "bad-input", /input x of little is missing: got nothing, wanted float32 \[B, 4\]/);
    await fails(program.run({ x: ones(1, 4), z: ones(1) }), "bad-input", /no such input: got z, wanted x/);
    await fails(program.run({ x: ones(1, 5) }), "bad-input", /got float32 \[1, 5\], wanted float32 \[B, 4\]/);
    await fails(program.run({ x: ones(4) }), "bad-input", /got float32 \[4\]/);
    await fails(program.run({ x: Tensor.of("int32", [1, 4]) }), "bad-input", /got int32/);
    assert.throws(() => program.bind({ x: ones(1, 4) }, {}), /output y of little is missing/);
  });
  it("memory of the wrong size for a symbolic output is the library's error in a sentence", () =>
    fails(
      program.run({ x: ones(2, 4) }, { outputs: { y: ones(1, 3) } }),
      "library",
      /^little could not run: got MatMul/,
    ));
  it("a tensor that was disposed of or whose buffer is gone is refused", async () => {
    const gone = ones(1, 4);
    gone[Symbol.dispose]();
    gone[Symbol.dispose]();
    await fails(program.run({ x: gone }), "bad-input", /was disposed of/);
    const moved = ones(1, 4);
    using binding = program.bind({ x: moved }, { y: ones(1, 3) });
    structuredClone(moved.data.buffer, { transfer: [moved.data.buffer as ArrayBuffer] });
    await fails(program.run({ x: moved }), "bad-input", /transferred or detached/);
    await fails(binding.run(), "bad-input", /bound to little, is gone/);
  });
  it("bytes that are no model, an unknown op and a missing weights file are sentences", async () => {
    await fails(runtime.compile(new Uint8Array(0)), "bad-input", /no ONNX bytes/);
    await fails(runtime.compile(new Uint8Array(9)), "library", /could not be compiled: got .*protobuf/);
    const graph = new OnnxBytes();
    graph.input("x", "float32", [4]);
    graph.op("Nope", ["x"], {}, "y");
    graph.output("y", "float32", [4]);
    await fails(runtime.compile(graph.build(), { name: "odd" }), "library", /^odd could not be compiled.*Nope/);
    const external = new OnnxBytes();
    external.input("x", "float32", [4]);
    external.constant("w", "float32", [4], [{ key: "location", value: "none.bin" }]);
    external.op("Add", ["x", "w"], {}, "y");
    external.output("y", "float32", [4]);
    await fails(runtime.compile(external.build(), { weightsFolder: folder }), "library", /none\.bin/);
  });
  it("the library's sentences name no source files", async () => {
    const graph = new OnnxBytes();
    graph.input("a", "float32", ["A", "B"]);
    graph.input("b", "float32", ["C", "D"]);
    graph.op("MatMul", ["a", "b"], {}, "y");
    graph.output("y", "float32", ["A", "D"]);
    await using program = await runtime.compile(graph.build(), { name: "uneven" });
    await fails(program.run({ a: ones(2, 4), b: ones(2, 4) }), "library", /^(?!.*\.(?:cc|h):\d)uneven could not run/);
  });
});

describe("cancelling", () => {
  it("ends a long run early, leaves the event loop free, and the Program runs again", async () => {
    await using program = await runtime.compile(chain(768, 400), { name: "long" });
    const x = ones(768, 768);
    const whole = await program.run({ x });
    const before = whole.y?.data.slice(0, 8);
    const controller = new AbortController();
    let ticks = 0;
    const timer = setInterval(() => ++ticks === 3 && controller.abort(new Error("enough")), 2);
    const settled = program.run({ x }, { signal: controller.signal });
    await fails(settled, "cancelled", /the run of long was cancelled/);
    clearInterval(timer);
    assert.ok(ticks >= 3, "the event loop was free during the run");
    const again = await program.run({ x }, { signal: new AbortController().signal });
    assert.deepEqual(again.y?.data.slice(0, 8), before);
  });

  it("before the start never starts; after the end does nothing", async () => {
    await using program = await runtime.compile(product());
    const y = Tensor.of("float32", [1, 3]);
    await fails(
      program.run({ x: ones(1, 4) }, { outputs: { y }, signal: AbortSignal.abort() }),
      "cancelled",
      /cancelled/,
    );
    assert.deepEqual([...y.data], [0, 0, 0]);
    const controller = new AbortController();
    await program.run({ x: ones(1, 4) }, { outputs: { y }, signal: controller.signal });
    controller.abort();
    assert.deepEqual([...y.data], [18, 22, 26]);
    await program.run({ x: ones(1, 4) }, { outputs: { y } });
  });
});

describe("closing", () => {
  it("waits for the run in flight, and then refuses", async () => {
    const program = await runtime.compile(chain(256, 200), { name: "closing" });
    const run = program.run({ x: ones(256, 256) });
    let isDone = false;
    void run.then(() => {
      isDone = true;
    });
    await program[Symbol.asyncDispose]();
    assert.ok(isDone);
    await program[Symbol.asyncDispose]();
    await fails(program.run({ x: ones(256, 256) }), "bad-input", /closing is closed and cannot run/);
    assert.throws(() => program.bind({}, {}), /closed/);
  });

  it("a binding disposed of during its run is released after it, and refuses to run", async () => {
    await using program = await runtime.compile(chain(256, 100));
    const y = Tensor.of("float32", [256, 256]);
    const binding = program.bind({ x: ones(256, 256) }, { y });
    const run = binding.run();
    assert.throws(() => binding.set({}), /while its run is in flight/);
    y[Symbol.dispose](); // memory stays the binding's
    binding[Symbol.dispose]();
    binding[Symbol.dispose]();
    await run;
    await fails(binding.run(), "bad-input", /disposed of/);
  });

  it("an array of the library's memory reads as empty after its tensor is disposed of, never as freed memory", async () => {
    await using program = await runtime.compile(product());
    const { y } = await program.run({ x: ones(1, 4) });
    assert.ok(y);
    const half = y.view([1], 2);
    const data = y.data;
    y[Symbol.dispose]();
    assert.equal(half.data[0], 26, "a view keeps the memory");
    half[Symbol.dispose]();
    assert.equal(data.length, 0);
  });
});

describe("the Runtime", () => {
  it("is one per process: same settings share it, others are refused", async () => {
    const second = await Runtime.open(options);
    assert.equal(second.version, runtime.version);
    await second[Symbol.asyncDispose]();
    await second[Symbol.asyncDispose]();
    await fails(Runtime.open({ threads: 1, spinning: true }), "bad-input", /already open with other settings/);
    await using program = await runtime.compile(product()); // still open for its first user
    assert.equal(program.name, "the program");
  });

  it("names the CPU", () => assert.match(runtime.instructionSet, /^(x64|arm64)(-[a-z0-9]+)*$/));

  it("writes a trace where it is asked for one", async () => {
    const program = await runtime.compile(product(), { profileTo: join(folder, "trace") });
    await program.run({ x: ones(1, 4) });
    await program[Symbol.asyncDispose]();
    const { readdirSync } = await import("node:fs");
    assert.ok(readdirSync(folder).some((name) => name.startsWith("trace") && name.endsWith(".json")));
  });

  it("maps float32 weights without packing them", async () => {
    const weights = Float32Array.from({ length: 12 }, (_, i) => i);
    writeFileSync(join(folder, "weights.bin"), weights);
    const graph = new OnnxBytes();
    graph.input("x", "float32", ["B", 4]);
    const entries = [
      { key: "location", value: "weights.bin" },
      { key: "offset", value: "0" },
      { key: "length", value: "48" },
    ];
    graph.constant("w", "float32", [4, 3], entries);
    graph.op("MatMul", ["x", "w"], {}, "y");
    graph.output("y", "float32", ["B", 3]);
    await using program = await runtime.compile(graph.build(), { weightsFolder: folder, prepack: false });
    const { y } = await program.run({ x: ones(1, 4) });
    assert.deepEqual([...(y?.data ?? [])], [18, 22, 26]);
  });
});
