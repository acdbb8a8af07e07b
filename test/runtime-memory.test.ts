// Everything that a Program takes is given back: memory is flat over 200 Programs, closed by their block.
// It does not know what Programs compute.

import assert from "node:assert/strict";
import { it } from "node:test";
import { privateBytes } from "../src/machine.ts";
import { Runtime, Tensor } from "../src/runtime/mod.ts";
import { OnnxBytes } from "../src/runtime/onnx-bytes.fixture.ts";
import { collected } from "./setup/garbage.ts";

/** Private memory after a collection; where the system does not say, all resident memory. */
async function privateMb(): Promise<number> {
  await collected();
  return privateBytes() / 2 ** 20;
}

const size = 512;
function model(): Uint8Array {
  const graph = new OnnxBytes();
  graph.input("x", "float32", ["B", size]);
  graph.constant("w", "float32", [size, size], new Float32Array(size * size).fill(1 / size));
  graph.op("MatMul", ["x", "w"], {}, "y");
  graph.output("y", "float32", ["B", size]);
  return graph.build();
}

it("200 Programs opened, run in both ways and closed leave memory flat", async () => {
  await using runtime = await Runtime.open({ threads: 2, spinning: false });
  const bytes = model();
  const once = async () => {
    await using program = await runtime.compile(bytes); // 1 MB of weights, packed: 1 MB more
    const x = Tensor.of("float32", [64, size]);
    using _results = (await program.run({ x })).y as Tensor;
    using y = Tensor.of("float32", [64, size]);
    using binding = program.bind({ x }, { y });
    await binding.run();
  };
  for (let i = 0; i < 100; i++) await once(); // warms the allocator of every thread that calls may run on
  const before = await privateMb();
  for (let i = 0; i < 200; i++) await once();
  const grown = (await privateMb()) - before;
  assert.ok(grown < 20, `private memory grew by ${grown.toFixed(1)} MB in 200 Programs`);
  console.log(`# ${before.toFixed(1)} MB after 100 Programs, ${(before + grown).toFixed(1)} MB after 300`);
});

it("results and bindings that are only forgotten are collected, too", async () => {
  await using runtime = await Runtime.open({ threads: 2, spinning: false });
  await using program = await runtime.compile(model());
  const x = Tensor.of("float32", [512, size]);
  const once = async () => {
    await program.run({ x }); // 1 MB of the library's memory
    const binding = program.bind({ x }, { y: Tensor.of("float32", [512, size]) }); // 1 MB of ours
    await binding.run();
  };
  for (let i = 0; i < 20; i++) await once();
  const before = await privateMb();
  for (let i = 0; i < 500; i++) await once();
  const grown = (await privateMb()) - before;
  assert.ok(grown < 100, `private memory grew by ${grown.toFixed(1)} MB in 500 runs of 2 MB`);
  console.log(`# ${before.toFixed(1)} MB after 20 runs, ${(before + grown).toFixed(1)} MB after 520`);
});

it("a Runtime that was closed can be opened with other settings", async () => {
  for (const threads of [1, 2, 1]) {
    await using runtime = await Runtime.open({ threads, spinning: false });
    await using program = await runtime.compile(model());
    const { y } = await program.run({ x: Tensor.of("float32", [1, size], new Float32Array(size).fill(1)) });
    assert.ok(Math.abs(Number(y?.data[0]) - 1) < 1e-5);
  }
});
