// Reads the header of a safetensors file: metadata, and where each tensor lies; the data must be covered exactly.
// It reads no tensor data. Format: https://github.com/huggingface/safetensors#format

import { z } from "zod";
import { IroriError } from "../base/mod.ts";
import { blockTypes } from "./block-types.ts";
import { duplicateKey, parseJson } from "./json.ts";
import type { ModelFile } from "./model-file.ts";
import { printable, quoted } from "./quoted.ts";
import type { Header, TensorInfo } from "./tensor-info.ts";

const mostHeaderBytes = 100_000_000; // the limit of the format's own reader

/** GGUF's spelling is the same for all of these. */
const readTypes = new Set(["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"]);
const unreadTypes = new Set(["F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4", "C64"]);

const offset = z.int().nonnegative();
const entryShape = z.strictObject({
  dtype: z.string(),
  shape: z.array(offset),
  data_offsets: z.tuple([offset, offset]),
});
const metadataShape = z.record(z.string(), z.string());

export async function readSafetensorsHeader(file: ModelFile): Promise<Header> {
  if (file.size < 8) throw bad(file.path, "the file is cut", `${file.size} bytes`, "at least 8");
  const start = await file.read(0, 8);
  const length = new DataView(start.buffer).getBigUint64(0, true);
  const most = Math.min(mostHeaderBytes, file.size - 8);
  if (length > most) throw bad(file.path, "the header's length", length, `at most ${most}`);
  const json = parseHeader(file.path, await file.read(8, Number(length)));
  const metadata = parseEntry(file.path, "__metadata__", metadataShape, json.__metadata__ ?? {});
  const dataStart = 8 + Number(length);
  const tensors = new Map<string, TensorInfo>();
  for (const [name, value] of Object.entries(json)) {
    if (name !== "__metadata__") tensors.set(name, readEntry(file, dataStart, name, value));
  }
  requireExactCover(file, dataStart, tensors);
  return { metadata: new Map(Object.entries(metadata)), tensors };
}

function parseHeader(path: string, bytes: Uint8Array): Record<string, unknown> {
  if (bytes[0] !== 0x7b) throw bad(path, "the header's first byte", bytes[0] ?? "nothing", "{");
  const { text, value } = parseJson(`${path}: the header`, bytes);
  const twice = duplicateKey(text);
  if (twice !== undefined) throw bad(path, "the header", `${quoted(twice)} twice`, "each name once");
  return value as Record<string, unknown>; // an object: it began with { and parsed
}

function parseEntry<T>(path: string, name: string, shape: z.ZodType<T>, value: unknown): T {
  const result = shape.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const where = [quoted(name), ...(issue?.path ?? []).map((step) => quoted(String(step)))].join(", ");
  const what = `${path}: the header's entry ${where}`;
  throw new IroriError("bad-file", {
    what,
    got: printable(issue?.message ?? ""),
    next: "fetch it again",
    cause: result.error,
  });
}

function readEntry(file: ModelFile, dataStart: number, name: string, value: unknown): TensorInfo {
  const { dtype, shape, data_offsets } = parseEntry(file.path, name, entryShape, value);
  const [begin, end] = data_offsets;
  const what = `tensor ${quoted(name)}`;
  if (unreadTypes.has(dtype)) {
    throw new IroriError("unsupported", { what: `${file.path}: ${what} has type ${dtype}, which Irori does not read` });
  }
  const type = readTypes.has(dtype) ? blockTypes.get(dtype) : undefined;
  if (!type) throw bad(file.path, `the type of ${what}`, quoted(dtype, 40), "a safetensors type");
  let elements = 1n;
  for (const size of shape) {
    elements *= BigInt(size);
    if (elements > Number.MAX_SAFE_INTEGER) throw bad(file.path, `the size of ${what}`, elements, "less than 2^53");
  }
  const byteLength = Number(elements) * type.blockBytes;
  if (begin > end || end - begin !== byteLength) {
    throw bad(file.path, `the data of ${what}`, `bytes ${begin} to ${end}`, `${byteLength} bytes for its shape`);
  }
  return { name, type: type.name, shape, file: file.path, offset: dataStart + begin, byteLength };
}

function requireExactCover(file: ModelFile, dataStart: number, tensors: ReadonlyMap<string, TensorInfo>): void {
  const inOrder = [...tensors.values()].sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
  let position = dataStart;
  for (const { name, offset, byteLength } of inOrder) {
    const what = `tensor ${quoted(name)}: a hole or an overlap before it`;
    if (offset !== position) throw bad(file.path, what, `start at byte ${offset}`, position);
    position += byteLength;
  }
  if (position !== file.size)
    throw bad(file.path, "the end of the last tensor", position, `${file.size}, the file's size`);
}

function bad(path: string, what: string, got: string | number | bigint, wanted: string | number): IroriError {
  const next = "the file is damaged or cut: fetch it again";
  return new IroriError("bad-file", { what: `${path}: ${what}`, got, wanted, next });
}
