// Blocks of our own: within half a step of every value, and never worse than the plain line through the ends.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { seededRandom } from "../base/mod.ts";
import { noError, quantize4, quantize8, rotate } from "./own-blocks.ts";

const blocks = fc
  .array(fc.float({ min: -4, max: 4, noNaN: true }), { minLength: 32, maxLength: 96 })
  .map((values) => Float32Array.from(values.slice(0, values.length - (values.length % 32))));

function coded8(values: Float32Array) {
  const [codes, scales] = [new Uint8Array(values.length), new Float32Array(values.length / 32)];
  const error = noError();
  quantize8(values, codes, scales, error);
  const back = values.map((_, i) => (scales[i >> 5] as number) * ((codes[i] as number) - 128));
  return { codes, scales, back, error };
}

function coded4(values: Float32Array) {
  const codes = new Uint8Array(values.length / 2);
  const [scales, mins] = [new Float32Array(values.length / 32), new Float32Array(values.length / 32)];
  const error = noError();
  quantize4(values, codes, scales, mins, error);
  const code = (i: number) => ((codes[i >> 1] as number) >> (i % 2 === 0 ? 0 : 4)) & 15;
  const back = values.map((_, i) => (scales[i >> 5] as number) * code(i) + (mins[i >> 5] as number));
  return { scales, mins, back, error };
}

const squares = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, i) => sum + (x - (b[i] as number)) ** 2, 0);

test("8 bit: every value is within half a step, and codes are around 128", () => {
  fc.assert(
    fc.property(blocks, (values) => {
      const { codes, scales, back, error } = coded8(values);
      values.forEach((value, i) => {
        assert.ok(Math.abs(value - (back[i] as number)) <= (scales[i >> 5] as number) * 0.5 + 1e-6);
        assert.ok((codes[i] as number) >= 1);
      });
      assert.ok(Math.abs(error.differences - squares(values, back)) < 1e-6 * (1 + error.values));
    }),
  );
});

test("a rotation keeps lengths and undoes itself, and spreads one large value over its block", () => {
  fc.assert(
    fc.property(blocks, (values) => {
      const turned = values.slice();
      rotate(turned);
      const zeros = new Float32Array(values.length);
      assert.ok(Math.abs(squares(turned, zeros) - squares(values, zeros)) < 1e-4 * (1 + squares(values, zeros)));
      rotate(turned);
      assert.ok(squares(turned, values) < 1e-9 * (1 + squares(values, zeros)));
    }),
  );
  const one = new Float32Array(32);
  one[5] = 1;
  rotate(one);
  assert.deepEqual(new Set(one.map(Math.abs)), new Set([Math.fround(1 / Math.sqrt(32))]));
});

test("4 bit: never further than the line through the ends, and what it tells of its error is so", () => {
  fc.assert(
    fc.property(blocks, (values) => {
      const { back, error } = coded4(values);
      for (let start = 0; start < values.length; start += 32) {
        const block = values.subarray(start, start + 32);
        const [least, most] = [Math.min(...block), Math.max(...block)];
        const step = (most - least) / 15;
        const plain = block.map((value) => (step === 0 ? least : least + step * Math.round((value - least) / step)));
        assert.ok(squares(block, back.subarray(start, start + 32)) <= squares(block, plain) + 1e-5);
      }
      assert.ok(Math.abs(error.differences - squares(values, back)) < 1e-5 * (1 + error.values));
    }),
  );
});

test("values of sixteen even steps, equal values and zeros come back as they are", () => {
  const even = Float32Array.from({ length: 32 }, (_, i) => -1 + 0.25 * (i % 16));
  assert.deepEqual(coded4(even).back, even);
  const same = new Float32Array(64).fill(0.3, 32);
  assert.deepEqual(coded4(same).back, same);
  assert.deepEqual(coded8(new Float32Array(32)).back, new Float32Array(32));
});

test("numbers as weights have them: 8 bit about 0.5 % off, 4 bit about 7 %", () => {
  const random = seededRandom(3);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
  const values = Float32Array.from({ length: 32 * 500 }, normal);
  const share = ({ differences, values }: { differences: number; values: number }) => Math.sqrt(differences / values);
  const [eight, four] = [share(coded8(values).error), share(coded4(values).error)];
  assert.ok(eight > 0.003 && eight < 0.006, `${eight}`);
  assert.ok(four > 0.05 && four < 0.075, `${four}`);
});
