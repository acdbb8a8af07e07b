// Reads the header of a GGUF file (versions 2 and 3, little endian): metadata, and where each tensor lies.
// It reads no tensor data and knows no architecture. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

import { IroriError } from "../base/mod.ts";
import { blockTypesById, unreadTypes } from "./block-types.ts";
import { badGguf, GgufCursor, NeedMoreBytes } from "./gguf-cursor.ts";
import { type MetadataValue, readMetadata } from "./gguf-metadata.ts";
import type { ModelFile } from "./model-file.ts";
import { quoted } from "./quoted.ts";
import type { Header, TensorInfo } from "./tensor-info.ts";

const firstPieceBytes = 2 ** 20;
const mostHeaderBytes = 2 ** 28; // the largest known (a vocabulary of 262,144 with scores) takes 2^24

/** Reads growing pieces (each twice the last), so that a header costs little more than its own length. */
export async function readGgufHeader(file: ModelFile): Promise<Header> {
  for (let length = firstPieceBytes; ; length *= 2) {
    const piece = await file.read(0, Math.min(length, file.size, mostHeaderBytes));
    try {
      return parseHeader(file, new GgufCursor(file.path, file.size, piece));
    } catch (error) {
      if (!(error instanceof NeedMoreBytes)) throw error;
      if (piece.length < mostHeaderBytes) continue;
      throw badGguf(file.path, "the header does not end", `more than ${mostHeaderBytes} bytes`, "a header");
    }
  }
}

function parseHeader(file: ModelFile, cursor: GgufCursor): Header {
  readVersion(file.path, cursor);
  const tensorCount = cursor.count("the number of tensors", 24); // name length, dimension count, type, offset
  const metadataCount = cursor.count("the number of metadata values", 13); // key length, type, one byte
  const metadata = readMetadata(cursor, file.path, metadataCount);
  refuseSplit(file.path, metadata);
  const alignment = alignmentOf(file.path, metadata);
  const entries: Entry[] = [];
  for (let i = 0; i < tensorCount; i++) entries.push(readEntry(cursor, file.path));
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  return { metadata, tensors: placed(file, entries, dataStart, alignment) };
}

function readVersion(path: string, cursor: GgufCursor): void {
  const magic = cursor.uint32("the magic");
  if (magic !== 0x46554747) throw badGguf(path, "not a GGUF file", `0x${magic.toString(16)}`, "the magic GGUF");
  const version = cursor.uint32("the version");
  if (version === 2 || version === 3) return;
  const next = "convert the model again with a recent llama.cpp";
  if (version !== 0 && (version & 0xffff) === 0) {
    throw new IroriError("unsupported", { what: `${path}: a big-endian GGUF file`, wanted: "little endian", next });
  }
  throw new IroriError("unsupported", { what: `${path}: GGUF version`, got: version, wanted: "2 or 3", next });
}

function refuseSplit(path: string, metadata: ReadonlyMap<string, MetadataValue>): void {
  const parts = metadata.get("split.count");
  if (typeof parts !== "number" || parts <= 1) return;
  const next = "join the parts with llama-gguf-split --merge";
  throw new IroriError("unsupported", {
    what: `${path}: one part of a split model`,
    got: `${parts} parts`,
    wanted: 1,
    next,
  });
}

function alignmentOf(path: string, metadata: ReadonlyMap<string, MetadataValue>): number {
  const alignment = metadata.get("general.alignment") ?? 32;
  if (typeof alignment === "number" && alignment > 0 && Number.isInteger(Math.log2(alignment))) return alignment;
  throw badGguf(path, "general.alignment", shown(alignment), "a power of two");
}

const shown = (value: MetadataValue) =>
  typeof value === "object" ? `${value.length} values` : typeof value === "string" ? quoted(value, 40) : String(value);

interface Entry {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly number[];
  readonly offset: bigint;
  readonly byteLength: number;
}

function readEntry(cursor: GgufCursor, path: string): Entry {
  const name = cursor.string("a tensor name");
  const what = `tensor ${quoted(name)}`;
  const dimensions = cursor.uint32(`the number of dimensions of ${what}`);
  if (dimensions > 4) throw cursor.bad(`the number of dimensions of ${what}`, dimensions, "0 to 4");
  const shape: number[] = [];
  let elements = 1n;
  for (let i = 0; i < dimensions; i++) {
    const size = cursor.uint64(`dimension ${i} of ${what}`);
    elements *= size === 0n ? 1n : size; // a zero must not hide an absurd partner
    if (elements > Number.MAX_SAFE_INTEGER)
      throw cursor.bad(`the size of ${what}`, elements, "less than 2^53 elements");
    shape.unshift(Number(size));
  }
  const id = cursor.uint32(`the type of ${what}`);
  const type = blockTypesById.get(id);
  if (!type) throw unknownType(cursor, path, what, id);
  const row = shape.at(-1) ?? 1;
  if (row % type.blockSize !== 0)
    throw cursor.bad(`rows of ${what} (${type.name})`, row, `a multiple of ${type.blockSize}`);
  const total = shape.reduce((product, size) => product * size, 1);
  const offset = cursor.uint64(`the offset of ${what}`);
  return { name, type: type.name, shape, offset, byteLength: (total / type.blockSize) * type.blockBytes };
}

function unknownType(cursor: GgufCursor, path: string, what: string, id: number): IroriError {
  const known = unreadTypes.get(id);
  if (known === undefined) return cursor.bad(`the type of ${what}`, id, "a type number of GGUF");
  const next = "choose another quantisation of this model";
  return new IroriError("unsupported", { what: `${path}: ${what} has type ${known}, which Irori does not read`, next });
}

/** Absolute offsets: aligned, inside the file, no two tensors over the same bytes. */
function placed(file: ModelFile, entries: readonly Entry[], dataStart: number, alignment: number) {
  const tensors = new Map<string, TensorInfo>();
  for (const { name, type, shape, offset: relative, byteLength } of entries) {
    const what = `tensor ${quoted(name)}`;
    if (tensors.has(name)) throw badGguf(file.path, what, "two of this name", "one");
    if (relative % BigInt(alignment) !== 0n) {
      throw badGguf(file.path, `the offset of ${what}`, relative, `a multiple of ${alignment}`);
    }
    const end = BigInt(dataStart) + relative + BigInt(byteLength);
    if (end > file.size) throw badGguf(file.path, `the end of ${what}`, end, `at most ${file.size}, the file's size`);
    tensors.set(name, { name, type, shape, file: file.path, offset: dataStart + Number(relative), byteLength });
  }
  refuseOverlap(file.path, tensors);
  return tensors;
}

function refuseOverlap(path: string, tensors: ReadonlyMap<string, TensorInfo>): void {
  const inOrder = [...tensors.values()].filter((tensor) => tensor.byteLength > 0).sort((a, b) => a.offset - b.offset);
  for (const [i, tensor] of inOrder.entries()) {
    const before = inOrder[i - 1];
    if (!before || tensor.offset >= before.offset + before.byteLength) continue;
    const what = `tensors ${quoted(before.name)} and ${quoted(tensor.name)} overlap`;
    throw badGguf(path, what, `start at ${tensor.offset}`, `${before.offset + before.byteLength} or later`);
  }
}
