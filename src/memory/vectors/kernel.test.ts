// The kernel emitted for SIMD and its twin give the same bits, and both the right sums. Does not know the index.
import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "../../base/mod.ts";
import { type Kernel, openKernel, PlainKernel, paddedDims, recordBytes, SimdKernel } from "./kernel.ts";

const COUNT = 37;
const [QUERY, RECORDS, OUT] = [64, 65_536, 32_768];

function fill(kernel: Kernel, seed: number): void {
  const random = seededRandom(seed);
  const padded = paddedDims(kernel.dims);
  kernel.reserve(RECORDS + COUNT * padded * 4 + 64);
  for (let d = 0; d < kernel.dims; d++) kernel.i16[QUERY / 2 + d] = Math.floor(random.next() * 20_001) - 10_000;
  for (let i = 0; i < COUNT; i++) {
    const at = RECORDS + i * recordBytes(kernel.dims);
    for (let d = 0; d < kernel.dims; d++) kernel.u8[at + d] = Math.floor(random.next() * 255) - 127;
    kernel.view.setFloat32(at + padded, random.next() / 127, true);
  }
}

for (const dims of [8, 16, 100, 384, 1024])
  test(`codes of ${dims} numbers: SIMD and plain give the bits of the exact sum times the scale`, () => {
    const kernels = [new SimdKernel(dims), new PlainKernel(dims)] as const;
    for (const kernel of kernels) {
      fill(kernel, dims);
      kernel.codeScores(QUERY, RECORDS, COUNT, OUT);
    }
    for (let i = 0; i < COUNT; i++) {
      const { i16, u8, f32 } = kernels[1];
      const at = RECORDS + i * recordBytes(dims);
      let sum = 0n;
      for (let d = 0; d < dims; d++)
        sum += BigInt(i16[QUERY / 2 + d] as number) * BigInt(((u8[at + d] as number) << 24) >> 24);
      const exact = Math.fround(Math.fround(Number(sum)) * (f32[(at + paddedDims(dims)) / 4] as number));
      for (const kernel of kernels) assert.equal(kernel.f32[OUT / 4 + i], exact);
    }
  });

for (const dims of [8, 100, 384])
  test(`vectors of ${dims} numbers: SIMD and plain give the same bits, near the exact dot product`, () => {
    const random = seededRandom(dims);
    const kernels = [new SimdKernel(dims), new PlainKernel(dims)] as const;
    const padded = paddedDims(dims);
    const numbers = Array.from({ length: (COUNT + 1) * dims }, () => random.next() - 0.5);
    for (const kernel of kernels) {
      kernel.reserve(RECORDS + COUNT * padded * 4 + 64);
      kernel.f32.set(numbers.slice(0, dims), QUERY / 4);
      for (let i = 0; i < COUNT; i++)
        kernel.f32.set(numbers.slice((i + 1) * dims, (i + 2) * dims), (RECORDS + i * padded * 4) / 4);
      kernel.dots(QUERY, RECORDS, COUNT, OUT);
    }
    for (let i = 0; i < COUNT; i++) {
      const exact = numbers.slice(0, dims).reduce((sum, x, d) => sum + x * (numbers[(i + 1) * dims + d] as number), 0);
      assert.equal(kernels[0].f32[OUT / 4 + i], kernels[1].f32[OUT / 4 + i]);
      assert.ok(Math.abs((kernels[0].f32[OUT / 4 + i] as number) - exact) < 1e-5);
    }
  });

test("this machine's kernel is the fast one", () => {
  assert.ok(openKernel(16) instanceof SimdKernel);
});
