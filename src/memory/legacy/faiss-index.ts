// Vectors of a flat index that FAISS has written ("IxF2", "IxFI"). It does not know whose they are.
import { readFile } from "node:fs/promises";
import { IroriError } from "../../base/mod.ts";

export interface FaissIndex {
  readonly dims: number;
  readonly vectors: readonly Float32Array[];
}

const HEADER_BYTES = 45;

/** Throws "bad-file" for another kind of index, or one that is cut. */
export async function readFaissIndex(path: string): Promise<FaissIndex> {
  const bytes = await readFile(path);
  const magic = bytes.toString("latin1", 0, 4);
  if (magic !== "IxF2" && magic !== "IxFI")
    throw new IroriError("bad-file", {
      what: `${path} is no flat FAISS index`,
      got: JSON.stringify(magic),
      wanted: "IxF2 or IxFI",
    });
  if (bytes.length < HEADER_BYTES)
    throw new IroriError("bad-file", { what: `${path} is cut`, got: `${bytes.length} bytes` });
  const dims = bytes.readUInt32LE(4);
  const count = Number(bytes.readBigInt64LE(8));
  const numbers = Number(bytes.readBigUInt64LE(37));
  if (numbers !== dims * count || bytes.length !== HEADER_BYTES + numbers * 4)
    throw new IroriError("bad-file", {
      what: `${path}`,
      got: `${bytes.length} bytes for ${count} vectors of ${dims} numbers`,
    });
  const data = new Float32Array(bytes.buffer.slice(bytes.byteOffset + HEADER_BYTES, bytes.byteOffset + bytes.length));
  return { dims, vectors: Array.from({ length: count }, (_, i) => data.slice(i * dims, (i + 1) * dims)) };
}
