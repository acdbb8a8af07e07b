import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IroriError } from "../base/mod.ts";
import { nameFlags } from "./cpu.ts";
import { findLibrary } from "./library.ts";
import { Tensor } from "./mod.ts";
import { readableMessage } from "./ort.ts";

const refused = (action: () => unknown, sentence: RegExp) =>
  assert.throws(action, (error) => error instanceof IroriError && error.code !== "io" && sentence.test(error.message));

describe("a Tensor", () => {
  it("shares memory with the array it was given, and so do its views", () => {
    const array = Float32Array.of(1, 2, 3, 4, 5, 6);
    const tensor = Tensor.of("float32", [2, 3], array);
    assert.equal(tensor.data, array);
    tensor.view([3], 3).data[0] = 40;
    assert.equal(array[3], 40);
    assert.equal(tensor.view([3, 2]).byteLength, 24);
  });
  it("holds 4-bit elements two a byte", () => {
    assert.equal(Tensor.of("uint4", [3, 3]).data.length, 5);
    assert.equal(Tensor.of("uint4", [4, 4]).view([2, 4], 8).data.byteOffset, 4);
    refused(() => Tensor.of("uint4", [4, 4]).view([2], 3), /whole byte/);
  });
  it("refuses arrays of another type or length, shapes that are none, and views beyond its end", () => {
    refused(() => Tensor.of("float32", [2], Float64Array.of(1, 2) as never), /got Float64Array, wanted Float32Array/);
    refused(() => Tensor.of("int64", [3], BigInt64Array.of(1n)), /got 1 elements, wanted 3/);
    refused(() => Tensor.of("float32", [1.5]), /not a shape/);
    refused(() => Tensor.of("text" as never, [1]), /unknown element type: got text/);
    refused(() => Tensor.of("float32", [4]).view([3], 2), /leaves the tensor float32 \[4\]: got 5/);
  });
  it("cannot be read after it was disposed of; disposing twice is harmless", () => {
    const tensor = Tensor.of("bool", [2]);
    tensor[Symbol.dispose]();
    tensor[Symbol.dispose]();
    refused(() => tensor.data, /bool \[2\] was disposed of/);
  });
});

describe("the library", () => {
  it("is found inside onnxruntime-node for every platform that it ships for here", () => {
    assert.match(findLibrary(undefined, { os: "linux", arch: "x64" }), /linux.x64.libonnxruntime\.so\.1$/);
    assert.match(findLibrary(undefined, { os: "linux", arch: "arm64" }), /linux.arm64.libonnxruntime\.so\.1$/);
    assert.match(findLibrary(undefined, { os: "darwin", arch: "arm64" }), /darwin.arm64.libonnxruntime\.1\.dylib$/);
    assert.match(findLibrary(undefined, { os: "win32", arch: "x64" }), /win32.x64.onnxruntime\.dll$/);
  });
  it("that is missing says what to install or to set", () => {
    refused(() => findLibrary("/nowhere/libonnxruntime.so"), /nowhere.*libraryPath/);
    refused(() => findLibrary(undefined, { os: "darwin", arch: "x64" }), /got darwin\/x64.*linux\/x64.*libraryPath/);
  });
  it("speaks without source files, functions and line numbers", () => {
    const status =
      "Non-zero status code returned while running MatMul node. Name:'m1' Status Message: " +
      "/onnxruntime_src/onnxruntime/core/providers/cpu/math/matmul_helper.h:59 Compute MatMul dimension mismatch";
    assert.equal(readableMessage(status), "MatMul (m1) failed: MatMul dimension mismatch");
    assert.equal(
      readableMessage("[ONNXRuntimeError] : 1 : FAIL : tensorprotoutils.cc:461 Validate there is no file.\n"),
      "there is no file",
    );
  });
});

describe("the instruction set", () => {
  it("names the features that decide kernels, the best of each kind, in a fixed order", () => {
    const flags = "amx_int8 avx2 fma amx_tile avx512_vnni avx512f avx512bw avx512dq avx512vl avx f16c sse4_2";
    assert.equal(nameFlags("x64", `model name\t: x\nflags\t\t: ${flags}\n`), "x64-avx512-vnni-amx-f16c");
    assert.equal(nameFlags("x64", "flags\t: avx avx2 fma avx_vnni\n"), "x64-avx2-avxvnni");
    assert.equal(nameFlags("arm64", "Features\t: fp asimd asimddp i8mm bf16\n"), "arm64-neon-dot-i8mm-bf16");
  });
});
