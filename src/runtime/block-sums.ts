// Block sums inside a prepacked MatMulNBits weight. The int8 kernels of x64 multiply codes without their zero point and add
// Σ over blocks of (sum of the quantised row's block) · (−centre · scale), a table that the packed weight holds in groups of
// 16 rows [rows/16, blocks, 16]. With offsets added to that table the kernel adds them too, and costs nothing more.
// It trusts no layout: the table is found by its values or not at all.

/** Rows that lie side by side in the table. */
const GROUP = 16;

export interface BlockTables {
  /** float32 [rows, blocks] */
  readonly scales: Float32Array;
  /** float32 [rows, blocks] */
  readonly offsets: Float32Array;
  readonly rows: number;
  readonly blocks: number;
  /** Zero point of the kernel: 8 or 128. */
  readonly centre: number;
}

/** Adds offsets to the block sums of a packed weight; false, with nothing changed, where the table is not found. */
export function addToBlockSums(packed: Uint8Array, tables: BlockTables): boolean {
  const { scales, offsets, rows, blocks, centre } = tables;
  const count = Math.ceil(rows / GROUP) * GROUP * blocks;
  const table = new Float32Array(count);
  const each = (visit: (at: number, of: number) => void): void => {
    for (let row = 0; row < rows; row++)
      for (let b = 0; b < blocks; b++)
        visit((row - (row % GROUP)) * blocks + b * GROUP + (row % GROUP), row * blocks + b);
  };
  each((at, of) => {
    table[at] = -centre * (scales[of] as number);
  });
  const at = find(packed, table);
  if (at === undefined) return false;
  each((to, of) => {
    table[to] = (table[to] as number) + (offsets[of] as number);
  });
  packed.set(new Uint8Array(table.buffer), at);
  return true;
}

/** Where the one copy of a table starts; undefined where there is none, or more than one. */
function find(packed: Uint8Array, table: Float32Array): number | undefined {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength);
  const wanted = Buffer.from(table.buffer);
  const at = bytes.indexOf(wanted);
  return at >= 0 && bytes.indexOf(wanted, at + 1) < 0 ? at : undefined;
}
