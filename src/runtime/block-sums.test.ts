import assert from "node:assert/strict";
import { test } from "node:test";
import { addToBlockSums } from "./mod.ts";

const [ROWS, BLOCKS, CENTRE, BEFORE] = [32, 3, 8, 40];
const scales = Float32Array.from({ length: ROWS * BLOCKS }, (_, i) => 1 + i / 7);
const offsets = Float32Array.from({ length: ROWS * BLOCKS }, (_, i) => Math.sin(i));
const tables = { scales, offsets, rows: ROWS, blocks: BLOCKS, centre: CENTRE };

/** Groups of 16 rows, block by block, as the kernels read them: [rows/16, blocks, 16]. */
const grouped = (values: (row: number, block: number) => number): Float32Array =>
  Float32Array.from({ length: ROWS * BLOCKS }, (_, at) => {
    const group = Math.floor(at / (16 * BLOCKS));
    return values(16 * group + (at % 16), Math.floor(at / 16) % BLOCKS);
  });
const scaleAt = (row: number, block: number): number => scales[row * BLOCKS + block] as number;

function packedWith(...found: Float32Array[]): Uint8Array {
  const parts = [new Uint8Array(BEFORE).fill(0xab), ...found.map((table) => new Uint8Array(table.buffer))];
  return new Uint8Array(Buffer.concat([...parts, new Uint8Array(9).fill(0xcd)]));
}
const table = grouped((row, block) => -CENTRE * scaleAt(row, block));

test("offsets are added to the block sums, and no other byte changes", () => {
  const packed = packedWith(table);
  assert.equal(addToBlockSums(packed, tables), true);
  const wanted = grouped((row, b) => Math.fround(-CENTRE * scaleAt(row, b)) + (offsets[row * BLOCKS + b] as number));
  assert.deepEqual(packed, packedWith(wanted));
});

test("nothing changes where the table is missing, differs by one bit, or lies there twice", () => {
  const other = table.slice();
  other[17] = Math.fround((other[17] as number) * (1 + 2 ** -23));
  for (const packed of [packedWith(), packedWith(other), packedWith(table, table)]) {
    const before = packed.slice();
    assert.equal(addToBlockSums(packed, tables), false);
    assert.deepEqual(packed, before);
  }
});
